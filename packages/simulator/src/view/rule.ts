/**
 * One Rule object → its tests. They are kept as long as the object is: when a rule of a chain changes, the others are only put together
 * again.
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
import {
  ACTION_ACCEPT,
  ACTION_CONTINUE,
  ACTION_DNAT,
  ACTION_DROP,
  ACTION_JUMP,
  ACTION_MASQUERADE,
  ACTION_REJECT,
  ACTION_RETURN,
  ACTION_REV_DNAT,
  ACTION_REV_SNAT,
  ACTION_SNAT,
  ICMP_DATA_DST,
  ICMP_DATA_SRC,
  NEEDS_ADDRESSES,
  NEEDS_FLOW,
  NEEDS_IP,
  NEEDS_IPV4,
  NEEDS_IPV6,
  NEEDS_L4,
  NEEDS_NOTHING,
  OP_ADDRESS_GROUP,
  OP_BYTES,
  OP_DST_REWRITTEN,
  OP_FRAGMENT,
  OP_ICMP_DATA,
  OP_IN_PORT,
  OP_IN_PORT_GROUP,
  OP_OUT_PORT,
  OP_OUT_PORT_GROUP,
  OP_PORT_GROUP,
  OP_RANGE,
  OP_RETURN_FLOW,
  OP_TRAVERSED,
  OP_UNTAGGED,
  OP_VLAN,
} from './chain-format.ts';
import type { Handles } from './handles.ts';
import { compileNat, type SimNat } from './nat.ts';

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

const FRAGMENT_BITS: Record<string, number> = {
  any: 7,
  nonheader: 1 << FRAG_LATER,
  header: (1 << FRAG_NONE) | (1 << FRAG_FIRST),
  unfragmented: 1 << FRAG_NONE,
};

/** Tests that read no more than they have to, by themselves. */
const READS_ITSELF: ReadonlySet<number> = new Set([OP_ADDRESS_GROUP, OP_ICMP_DATA, OP_RETURN_FLOW]);

/** Bytes that a test compares, or handles of which one has to be there, with what they are known by within a chain. */
export interface Content {
  readonly key: string;
  readonly bytes?: { readonly value: Uint8Array; readonly mask: Uint8Array };
  readonly handles?: readonly number[];
}

/** A test; `key`: equal for equal tests. Word `a` is that of `words`, or where `content` stands in its chain. */
export interface RuleTest {
  readonly key: string;
  readonly words: readonly number[];
  readonly content?: Content;
}

export interface CompiledRule {
  readonly tests: readonly RuleTest[];
  /** RULE_STRIDE of them; the first entry of `order` and the index in `nats` are the chain's to say. */
  readonly words: readonly number[];
  readonly nat: SimNat | undefined;
}

class RuleProgram {
  readonly tests: RuleTest[] = [];

  test(
    op: number,
    inverted: boolean | undefined,
    offset: number,
    a: number,
    b: number,
    fields: number,
    needs: number,
    content?: Content,
  ): void {
    const words = [op, inverted ? 1 : 0, offset, a, b, fields, needs, READS_ITSELF.has(op) ? 0 : fields];
    const key = content === undefined ? `${words}` : `${words} ${content.key}`;
    this.tests.push(content === undefined ? { key, words } : { key, words, content });
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
    const content = bytesContent(value.subarray(0, count), mask.subarray(0, count));
    this.test(OP_BYTES, inverted, offset, 0, count, count === 0 ? 0 : fields, needs, content);
  }

  ports(op: number, ids: readonly string[] | undefined, inverted: boolean | undefined, handles: Handles): void {
    // An empty list matches: it says nothing.
    if (ids === undefined || ids.length === 0) return;
    const set = ids.map((id) => handles.of(id)).sort((a, b) => a - b);
    this.test(op, inverted, 0, 0, ids.length, 0, NEEDS_NOTHING, { key: `set ${set}`, handles: set });
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
    this.test(OP_ICMP_DATA, inverted, which, 0, value.length, F_PAYLOAD, NEEDS_NOTHING, bytesContent(value, mask));
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

  rule(rule: Rule, handles: Handles): CompiledRule {
    if (rule.type === 'jump' && rule.jumpChainId === undefined) throw new RangeError('a jump to nowhere');
    const nat = compileNat(rule);
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
    const words = [
      actionOf(rule.type),
      handles.of(rule.jumpChainId ?? ''),
      0,
      this.tests.length,
      rule.conjunctionInv ? 1 : 0,
      fragments,
      handles.of(rule.id),
      rule.onChange === 'finish' ? 1 : 0,
      nat === undefined ? 0 : ACTIONS_BEHIND[rule.flowAction ?? 'accept'],
      0,
    ];
    return { tests: this.tests, words, nat };
  }
}

function bytesContent(value: Uint8Array, mask: Uint8Array): Content {
  return { key: `bytes ${value}/${mask}`, bytes: { value, mask } };
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

/** What rules were compiled to, by the handles that stand in it. */
const compiled = new WeakMap<Handles, WeakMap<object, CompiledRule>>();

/** The tests of a rule as it is stored. One that cannot be read drops what comes. */
export function compileRule(value: Record<string, unknown>, chainId: string, handles: Handles): CompiledRule {
  let known = compiled.get(handles);
  if (known === undefined) compiled.set(handles, (known = new WeakMap()));
  let made = known.get(value);
  if (made === undefined) known.set(value, (made = compileNew(value as unknown as Rule, chainId, handles)));
  return made;
}

function compileNew(rule: Rule, chainId: string, handles: Handles): CompiledRule {
  try {
    return new RuleProgram().rule(rule, handles);
  } catch {
    // The store validated it, so this is a newer version's rule: a filter that is not understood lets nothing through.
    return new RuleProgram().rule({ id: rule.id, chainId, type: 'drop', fragmentPolicy: 'any' }, handles);
  }
}
