/**
 * Chain and Rule objects → one flat program of tests over the flow key. A rule is a run of tests, all of which must hold;
 * they stand in the order of what they cost the flow's mask (ports, then Ethernet, addresses, protocol, L4), so that a rule
 * that fails early has read little.
 */
import {
  F_ETH_DST,
  F_ETH_SRC,
  F_ETHER_TYPE,
  F_IP_DST,
  F_IP_PROTO,
  F_IP_SRC,
  F_IP_TOS,
  F_PAYLOAD,
  F_TP_DST,
  F_TP_SRC,
  F_VLAN,
  FRAG_FIRST,
  FRAG_LATER,
  FRAG_NONE,
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_IP_DST,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TOS,
  K_TP_DST,
  K_TP_SRC,
} from '@weft/flow';
import { cidrParse, macParse } from '@weft/packet';
import type { Rule } from '@weft/topology';
import type { Handles } from './handles.ts';
import { compileNat, type SimNat, sameNat } from './nat.ts';

export const ACTION_ACCEPT = 1;
export const ACTION_DROP = 2;
export const ACTION_REJECT = 3;
export const ACTION_RETURN = 4;
export const ACTION_JUMP = 5;
/** It decides nothing. */
export const ACTION_CONTINUE = 6;
/** Too many jumps: no rule says so, and the packet is dropped. */
export const ACTION_LIMIT = 7;
/** Translations: `SimChain.nats` says to what, and word 8 of the rule what follows. */
export const ACTION_SNAT = 8;
export const ACTION_DNAT = 9;
export const ACTION_REV_SNAT = 10;
export const ACTION_REV_DNAT = 11;
export const ACTION_MASQUERADE = 12;
/** Numbers of actions are below this. */
export const ACTIONS = 13;

const ACTION_OF: Record<string, number> = {
  accept: ACTION_ACCEPT,
  drop: ACTION_DROP,
  reject: ACTION_REJECT,
  return: ACTION_RETURN,
  jump: ACTION_JUMP,
  continue: ACTION_CONTINUE,
  snat: ACTION_SNAT,
  dnat: ACTION_DNAT,
  rev_snat: ACTION_REV_SNAT,
  rev_dnat: ACTION_REV_DNAT,
  masquerade: ACTION_MASQUERADE,
};

/** What may follow a translation. */
const ACTIONS_BEHIND: Record<string, number> = {
  accept: ACTION_ACCEPT,
  continue: ACTION_CONTINUE,
  return: ACTION_RETURN,
};

export const OP_IN_PORT = 1;
export const OP_OUT_PORT = 2;
export const OP_BYTES = 3;
export const OP_RANGE = 4;
export const OP_FRAGMENT = 5;
export const OP_VLAN = 6;
export const OP_UNTAGGED = 7;
/** Groups of the port of entry into the network, into the device, and of departure from it. */
export const OP_PORT_GROUP = 8;
export const OP_IN_PORT_GROUP = 9;
export const OP_OUT_PORT_GROUP = 10;
export const OP_TRAVERSED = 11;
export const OP_ADDRESS_GROUP = 12;
export const OP_DST_REWRITTEN = 13;
/** An address of the packet that an ICMP error quotes; the offset says which: `ICMP_DATA_…`. */
export const OP_ICMP_DATA = 14;
/** Direction within a connection: `a` = 1 an answer, 0 not. */
export const OP_RETURN_FLOW = 15;
export const ICMP_DATA_SRC = 0;
export const ICMP_DATA_DST = 1;

/** What a packet must be for the tested field to exist; without it the test fails (inverted: holds). */
export const NEEDS_NOTHING = 0;
export const NEEDS_IP = 1;
/** IPv4, or ARP, whose protocol addresses count as source and destination. */
export const NEEDS_IPV4 = 2;
export const NEEDS_IPV6 = 3;
/** A transport header with ports, or ICMP's type and code, in this packet. */
export const NEEDS_L4 = 4;
/** IPv4, IPv6 or ARP. */
export const NEEDS_ADDRESSES = 5;
/** As NEEDS_L4, or a later fragment whose first one's ports are known. */
export const NEEDS_FLOW = 6;

/**
 * Words of a rule: action, jump target, first entry of `order`, entries, inverted, fragment classes allowed (bits), handle, 1: connections
 * that it lets begin are to finish, what follows a translation (ACTION_…), index in `nats`.
 */
export const RULE_STRIDE = 10;
/** Words of a test: op, inverted, key offset, a, b, the field it is about, needs, fields read before it is carried out. */
export const TEST_STRIDE = 8;

const FRAGMENT_BITS: Record<string, number> = {
  any: 7,
  nonheader: 1 << FRAG_LATER,
  header: (1 << FRAG_NONE) | (1 << FRAG_FIRST),
  unfragmented: 1 << FRAG_NONE,
};

/** Bits of `SimChain.logs`. */
export const LOG_ACCEPT = 1;
export const LOG_DROP = 2;

export interface SimChain {
  readonly handle: number;
  readonly id: string;
  readonly ruleCount: number;
  /** Which decisions a logger wants to know: LOG_…. */
  readonly logs: number;
  readonly rules: Int32Array;
  /** Numbers of the tests of each rule, in their order. */
  readonly order: Int32Array;
  readonly tests: Int32Array;
  /** Port handles of the port sets, each run ascending. */
  readonly sets: Int32Array;
  /** Values and masks of OP_BYTES. */
  readonly values: Uint8Array;
  readonly masks: Uint8Array;
  readonly nats: readonly SimNat[];
  /** By test: the last evaluation that carried it out, and whether it let the rule go on. Working memory of the simulator. */
  readonly evaluated: Float64Array;
  readonly passed: Uint8Array;
}

/** Tests that read no more than they have to, by themselves. */
const READS_ITSELF: ReadonlySet<number> = new Set([OP_ADDRESS_GROUP, OP_ICMP_DATA, OP_RETURN_FLOW]);

class Program {
  readonly rules: number[] = [];
  readonly order: number[] = [];
  readonly tests: number[] = [];
  readonly sets: number[] = [];
  readonly values: number[] = [];
  readonly masks: number[] = [];
  readonly nats: SimNat[] = [];
  /** Rules of a chain resemble each other: what is the same is there, and is carried out, once. */
  private readonly known = new Map<string, number>();

  /** Where a run of `values` (or `sets`) with this content starts. */
  private intern(kind: string, content: readonly number[], append: () => number): number {
    const key = `${kind} ${content}`;
    let at = this.known.get(key);
    if (at === undefined) this.known.set(key, (at = append()));
    return at;
  }

  test(
    op: number,
    inverted: boolean | undefined,
    offset: number,
    a: number,
    b: number,
    fields: number,
    needs: number,
  ): void {
    const words = [op, inverted ? 1 : 0, offset, a, b, fields, needs, READS_ITSELF.has(op) ? 0 : fields];
    this.order.push(this.intern('test', words, () => this.tests.push(...words) / TEST_STRIDE - 1));
  }

  /** Compares `count` key bytes under a mask. */
  bytes(
    inverted: boolean | undefined,
    offset: number,
    value: Uint8Array,
    mask: Uint8Array,
    fields: number,
    needs: number,
  ): void {
    let count = value.length;
    while (count > 0 && mask[count - 1] === 0) count--;
    const at = this.masked(value.subarray(0, count), mask.subarray(0, count));
    this.test(OP_BYTES, inverted, offset, at, count, count === 0 ? 0 : fields, needs);
  }

  private masked(value: Uint8Array, mask: Uint8Array): number {
    return this.intern('bytes', [...value, ...mask], () => {
      this.masks.push(...mask);
      return this.values.push(...value.map((byte, i) => byte & mask[i])) - value.length;
    });
  }

  ports(op: number, ids: readonly string[] | undefined, inverted: boolean | undefined, handles: Handles): void {
    // An empty list matches: it says nothing.
    if (ids === undefined || ids.length === 0) return;
    const set = ids.map((id) => handles.of(id)).sort((a, b) => a - b);
    const at = this.intern('set', set, () => {
      const from = this.sets.length;
      for (const handle of set) this.sets.push(handle);
      return from;
    });
    this.test(op, inverted, 0, at, ids.length, 0, NEEDS_NOTHING);
  }

  /** Compares a handle with something of the packet's way. */
  way(op: number, id: string | undefined, inverted: boolean | undefined, handles: Handles): void {
    if (id !== undefined) this.test(op, inverted, 0, handles.of(id), 0, 0, NEEDS_NOTHING);
  }

  addressGroup(
    id: string | undefined,
    inverted: boolean | undefined,
    offset: number,
    fields: number,
    handles: Handles,
  ): void {
    if (id !== undefined) this.test(OP_ADDRESS_GROUP, inverted, offset, handles.of(id), 0, fields, NEEDS_ADDRESSES);
  }

  icmpData(text: string | undefined, inverted: boolean | undefined, which: number): void {
    if (text === undefined) return;
    const { value, mask } = parsePrefix(text);
    const at = this.masked(value, mask);
    this.test(OP_ICMP_DATA, inverted, which, at, value.length, F_PAYLOAD, NEEDS_NOTHING);
  }

  prefix(text: string | undefined, inverted: boolean | undefined, offset: number, fields: number): void {
    if (text === undefined) return;
    const { value, mask } = parsePrefix(text);
    // The first 12 bytes of an IPv4 address are known from the ethertype.
    const v4 = value.length === 4;
    this.bytes(inverted, v4 ? offset + 12 : offset, value, mask, fields, v4 ? NEEDS_IPV4 : NEEDS_IPV6);
  }

  mac(
    text: string | undefined,
    maskText: string | undefined,
    inverted: boolean | undefined,
    offset: number,
    fields: number,
  ): void {
    if (text === undefined) return;
    const mask = maskText === undefined ? new Uint8Array(6).fill(0xff) : macParse(maskText);
    this.bytes(inverted, offset, macParse(text), mask, fields, NEEDS_NOTHING);
  }

  byte(value: number | undefined, inverted: boolean | undefined, offset: number, fields: number): void {
    if (value !== undefined) this.bytes(inverted, offset, Uint8Array.of(value), Uint8Array.of(0xff), fields, NEEDS_IP);
  }

  range(
    range: { start: number; end: number } | undefined,
    inverted: boolean | undefined,
    offset: number,
    fields: number,
    needs: number,
  ): void {
    if (range !== undefined) this.test(OP_RANGE, inverted, offset, range.start, range.end, fields, needs);
  }

  rule(rule: Rule, handles: Handles): void {
    if (rule.type === 'jump' && rule.jumpChainId === undefined) throw new RangeError('a jump to nowhere');
    const nat = compileNat(rule);
    const first = this.order.length;
    const fragments = FRAGMENT_BITS[rule.fragmentPolicy ?? 'any'] ?? 7;
    this.ports(OP_IN_PORT, rule.inPorts, rule.invInPorts, handles);
    this.ports(OP_OUT_PORT, rule.outPorts, rule.invOutPorts, handles);
    this.way(OP_PORT_GROUP, rule.portGroup, rule.invPortGroup, handles);
    this.way(OP_IN_PORT_GROUP, rule.inPortGroup, rule.invInPortGroup, handles);
    this.way(OP_OUT_PORT_GROUP, rule.outPortGroup, rule.invOutPortGroup, handles);
    this.way(OP_TRAVERSED, rule.traversedDevice, rule.invTraversedDevice, handles);
    if (rule.dlType !== undefined) {
      const value = Uint8Array.of(rule.dlType >> 8, rule.dlType & 0xff);
      this.bytes(rule.invDlType, K_ETHER_TYPE, value, Uint8Array.of(0xff, 0xff), F_ETHER_TYPE, NEEDS_NOTHING);
    }
    if (rule.noVlan === true) this.test(OP_UNTAGGED, false, 0, 0, 0, F_VLAN, NEEDS_NOTHING);
    if (rule.vlan !== undefined) this.test(OP_VLAN, false, 0, rule.vlan, 0, F_VLAN, NEEDS_NOTHING);
    this.mac(rule.dlSrc, rule.dlSrcMask, rule.invDlSrc, K_ETH_SRC, F_ETH_SRC);
    this.mac(rule.dlDst, rule.dlDstMask, rule.invDlDst, K_ETH_DST, F_ETH_DST);
    this.prefix(rule.nwDst, rule.invNwDst, K_IP_DST, F_IP_DST);
    this.prefix(rule.nwSrc, rule.invNwSrc, K_IP_SRC, F_IP_SRC);
    this.addressGroup(rule.ipAddrGroupDst, rule.invIpAddrGroupDst, K_IP_DST, F_IP_DST, handles);
    this.addressGroup(rule.ipAddrGroupSrc, rule.invIpAddrGroupSrc, K_IP_SRC, F_IP_SRC, handles);
    if (rule.matchNwDstRewritten === true) this.test(OP_DST_REWRITTEN, false, 0, 0, 0, F_IP_DST, NEEDS_NOTHING);
    this.byte(rule.nwProto, rule.invNwProto, K_IP_PROTO, F_IP_PROTO);
    // The policy is outside the inversion of the whole: there it is tested last, by itself.
    if (fragments !== 7 && !rule.conjunctionInv) {
      this.test(OP_FRAGMENT, false, 0, fragments, 0, 0, NEEDS_NOTHING);
    }
    const ports = fragments === 7 ? NEEDS_FLOW : NEEDS_L4;
    this.range(rule.tpDst, rule.invTpDst, K_TP_DST, F_TP_DST, ports);
    this.range(rule.tpSrc, rule.invTpSrc, K_TP_SRC, F_TP_SRC, ports);
    this.byte(rule.nwTos, rule.invNwTos, K_IP_TOS, F_IP_TOS);
    // These read all that a connection is known by.
    if (rule.matchReturnFlow === true) this.test(OP_RETURN_FLOW, false, 0, 1, 0, 0, NEEDS_NOTHING);
    if (rule.matchForwardFlow === true) this.test(OP_RETURN_FLOW, true, 0, 1, 0, 0, NEEDS_NOTHING);
    // Last: a verdict that stood on the payload cannot be cached.
    this.icmpData(rule.icmpDataDstIp, rule.invIcmpDataDstIp, ICMP_DATA_DST);
    this.icmpData(rule.icmpDataSrcIp, rule.invIcmpDataSrcIp, ICMP_DATA_SRC);
    this.rules.push(
      actionOf(rule.type),
      handles.of(rule.jumpChainId ?? ''),
      first,
      this.order.length - first,
      rule.conjunctionInv ? 1 : 0,
      fragments,
      handles.of(rule.id),
      rule.onChange === 'finish' ? 1 : 0,
      nat === undefined ? 0 : ACTIONS_BEHIND[rule.flowAction ?? 'accept'],
      nat === undefined ? 0 : this.nats.push(nat) - 1,
    );
  }
}

/** 4 or 16 bytes under a mask, by the family. */
function parsePrefix(text: string): { value: Uint8Array; mask: Uint8Array } {
  const cidr = cidrParse(text, 'clear');
  const mask = new Uint8Array(16);
  for (let i = 0; i < 16; i++) mask[i] = 0xff00 >> Math.min(8, Math.max(0, cidr.bits - 8 * i));
  const from = cidr.family === 4 ? 12 : 0;
  return { value: cidr.ip.subarray(from), mask: mask.subarray(from) };
}

/** @throws for what a newer version may have stored */
function actionOf(type: string): number {
  const action = ACTION_OF[type];
  if (action === undefined) throw new RangeError(`unknown rule type ${type}`);
  return action;
}

/** Compiles a chain of rules in their order. @param logs LOG_… bits */
export function compileChain(
  id: string,
  rules: readonly Record<string, unknown>[],
  logs: number,
  handles: Handles,
): SimChain {
  const program = new Program();
  for (const value of rules) {
    const rule = value as unknown as Rule;
    const tests = program.order.length;
    try {
      program.rule(rule, handles);
    } catch {
      program.order.length = tests;
      // The store validated it, so this is a newer version's rule: a filter that is not understood lets nothing through.
      program.rule({ id: rule.id, chainId: id, type: 'drop', fragmentPolicy: 'any' }, handles);
    }
  }
  const testCount = program.tests.length / TEST_STRIDE;
  return {
    handle: handles.of(id),
    id,
    ruleCount: program.rules.length / RULE_STRIDE,
    logs,
    rules: Int32Array.from(program.rules),
    order: Int32Array.from(program.order),
    tests: Int32Array.from(program.tests),
    sets: Int32Array.from(program.sets),
    values: Uint8Array.from(program.values),
    masks: Uint8Array.from(program.masks),
    nats: program.nats,
    evaluated: new Float64Array(testCount),
    passed: new Uint8Array(testCount),
  };
}

/** Whether two compilations decide alike (handles are stable, so equal words mean equal programs). */
export function sameChain(a: SimChain, b: SimChain): boolean {
  return (
    a.logs === b.logs &&
    sameWords(a.rules, b.rules) &&
    sameWords(a.order, b.order) &&
    sameWords(a.tests, b.tests) &&
    sameWords(a.sets, b.sets) &&
    sameWords(a.values, b.values) &&
    sameWords(a.masks, b.masks) &&
    a.nats.length === b.nats.length &&
    a.nats.every((nat, i) => sameNat(nat, b.nats[i]))
  );
}

function sameWords(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
