/**
 * From a decision to a compiled action: what differs between the packet's key on arrival and the key it is to leave with
 * becomes the rewrite, and the two checksum deltas that go with it.
 *
 * The deltas are kept apart because a packet with a partial checksum (CHECKSUM_PARTIAL) holds only the pseudo-header's sum
 * in its field: addresses must be folded into it, ports and the ICMP identifier must not.
 */
import {
  A_COUNTER_SLOT,
  A_CSUM_PAYLOAD,
  A_CSUM_PSEUDO,
  A_ETH_DST,
  A_ETH_SRC,
  A_FLAGS,
  A_ICMP_ID,
  A_ID_HEAD,
  A_ID_TAIL,
  A_IP_DST,
  A_IP_SRC,
  A_MTU,
  A_OUT_PORT,
  A_OUTPUT,
  A_OWNER_CLASS,
  A_OWNER_PORT,
  A_REASON,
  A_REWRITE,
  A_TOS,
  A_TP_DST,
  A_TP_SRC,
  A_TTL_DEC,
  A_TUNNEL_KEY,
  A_VLAN_TCI,
  ACTION_SIZE,
  dropReason,
  OUT_DROP,
  RW_DSCP,
  RW_ETH_DST,
  RW_ETH_SRC,
  RW_ICMP_ID,
  RW_IP_DST,
  RW_IP_SRC,
  RW_TP_DST,
  RW_TP_SRC,
  RW_TTL,
  RW_VLAN_POP,
  RW_VLAN_PUSH,
} from './action.ts';
import {
  F_ICMP_ID,
  F_IP_DST,
  F_IP_FRAG,
  F_IP_PROTO,
  F_IP_SRC,
  F_TP_DST,
  F_TP_SRC,
  F_VLAN,
  FRAG_LATER,
  isV4Mapped,
  K_ARP_OP,
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TOS,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  readU16,
} from './key.ts';

/** What the packet's keys do not say. Fields left out are 0. */
export interface ActionOptions {
  /** OUT_… */
  readonly output: number;
  /** By `output`: ifindex, peer number or list id. */
  readonly outPort?: number;
  /** OUT_TUNNEL: tunnel key of the egress port. */
  readonly tunnelKey?: number;
  /** Below 2^53 and never 0 for an installed flow. */
  readonly flowId?: number;
  /** Ingress port and mask class of the flow that the action will belong to. */
  readonly ownerPort?: number;
  readonly ownerClass?: number;
  readonly counterSlot?: number;
  /** Routers traversed: by how much TTL or hop limit falls. The keys' TTL is not looked at. */
  readonly ttlDec?: number;
  /** Largest L3 packet in bytes; 0: no limit of the flow's own. */
  readonly mtu?: number;
  /** AF_… */
  readonly flags?: number;
  /** OUT_DROP: index of DROP_REASONS. */
  readonly reason?: number;
}

const REWRITE_FAILED = dropReason('rewrite_failed');

/** Writes a 32-bit number in host order (little endian). */
export function writeU32le(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value >>> 16;
  bytes[offset + 3] = value >>> 24;
}

/** Reads a 32-bit number in host order (little endian), unsigned. */
export function readU32le(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24)) >>> 0;
}

/** Sets the flow id (below 2^53) at both ends of the action at `base`. */
export function setActionId(action: Uint8Array, flowId: number, base = 0): void {
  const low = flowId >>> 0;
  const high = Math.floor(flowId / 0x1_0000_0000);
  writeU32le(action, base + A_ID_HEAD, low);
  writeU32le(action, base + A_ID_HEAD + 4, high);
  writeU32le(action, base + A_ID_TAIL, low);
  writeU32le(action, base + A_ID_TAIL + 4, high);
}

/** Flow id in the head of the action at `base`. */
export function actionId(action: Uint8Array, base = 0): number {
  return readU32le(action, base + A_ID_HEAD) + readU32le(action, base + A_ID_HEAD + 4) * 0x1_0000_0000;
}

/** True if both ends of the action carry the same flow id. */
export function actionIntact(action: Uint8Array, base = 0): boolean {
  for (let i = 0; i < 8; i++) if (action[base + A_ID_HEAD + i] !== action[base + A_ID_TAIL + i]) return false;
  return true;
}

function equal(a: Uint8Array, b: Uint8Array, offset: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[offset + i] !== b[offset + i]) return false;
  return true;
}

/**
 * One's complement sum of (new − old) over the bytes' 16-bit words *as they stand in memory* (little endian): the number
 * that bpf_csum_diff returns and bpf_l4_csum_replace(from = 0, size 0) takes, folded to 16 bits.
 */
function addDiff(sum: number, from: Uint8Array, to: Uint8Array, offset: number, length: number): number {
  let s = sum;
  for (let i = offset; i < offset + length; i += 2) {
    s += (~(from[i] | (from[i + 1] << 8)) & 0xffff) + (to[i] | (to[i + 1] << 8));
  }
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  return s;
}

/** Protocols whose checksum covers the pseudo-header and lies where the datapath looks for it. */
function hasPseudoHeader(proto: number): boolean {
  return proto === 6 || proto === 17 || proto === 136 || proto === 58;
}

/**
 * Compiles the action that turns a packet of key `original` into one of key `final`, into `out[outBase … + ACTION_SIZE]`.
 * Ingress port, TTL and mask class of the keys are not compared.
 *
 * @returns false if no action can express the difference: another ethertype, protocol, fragment class, ARP field, ICMP
 * type or ECN, an address of the other family, or a port of SCTP (its CRC covers the whole packet). `out` then holds an action that
 * drops with reason rewrite_failed, so that installing it anyway is safe.
 */
export function compileAction(
  original: Uint8Array,
  final: Uint8Array,
  out: Uint8Array,
  options: ActionOptions,
  outBase = 0,
): boolean {
  const o = outBase;
  out.fill(0, o, o + ACTION_SIZE);
  setActionId(out, options.flowId ?? 0, o);
  writeU32le(out, o + A_OWNER_PORT, options.ownerPort ?? 0);
  out[o + A_OWNER_CLASS] = options.ownerClass ?? 0;
  writeU32le(out, o + A_COUNTER_SLOT, options.counterSlot ?? 0);
  const rewrite = writeRewrite(original, final, out, o, options.ttlDec ?? 0);
  if (rewrite < 0) {
    // Nothing of a half-compiled rewrite may survive.
    out.fill(0, o + A_OUTPUT, o + A_COUNTER_SLOT);
    out[o + A_OUTPUT] = OUT_DROP;
    writeU16le(out, o + A_REASON, REWRITE_FAILED);
    return false;
  }
  out[o + A_OUTPUT] = options.output;
  writeU16le(out, o + A_FLAGS, options.flags ?? 0);
  writeU16le(out, o + A_REWRITE, rewrite);
  writeU16le(out, o + A_MTU, Math.min(options.mtu ?? 0, 0xffff));
  writeU16le(out, o + A_REASON, options.reason ?? 0);
  writeU32le(out, o + A_OUT_PORT, options.outPort ?? 0);
  writeU32le(out, o + A_TUNNEL_KEY, options.tunnelKey ?? 0);
  return true;
}

/**
 * Fields of the original packet that a compiled rewrite depends on, as F_ bits: deltas are differences to the old values, so
 * a flow with this action must compare them. Add them to what the simulator read before choosing the mask class.
 */
export function actionReads(action: Uint8Array, base = 0): number {
  const rewrite = action[base + A_REWRITE] | (action[base + A_REWRITE + 1] << 8);
  const l4 = F_IP_PROTO | F_IP_FRAG;
  let reads = 0;
  if (rewrite & RW_IP_SRC) reads |= F_IP_SRC | l4;
  if (rewrite & RW_IP_DST) reads |= F_IP_DST | l4;
  if (rewrite & RW_TP_SRC) reads |= F_TP_SRC | l4;
  if (rewrite & RW_TP_DST) reads |= F_TP_DST | l4;
  // The type says that there is an identifier at all.
  if (rewrite & RW_ICMP_ID) reads |= F_ICMP_ID | F_TP_SRC | l4;
  if (rewrite & (RW_VLAN_PUSH | RW_VLAN_POP)) reads |= F_VLAN;
  return reads;
}

function writeU16le(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
}

/** Fills the rewrite's fields. @returns the RW_ bits, or -1 if the difference cannot be expressed. */
function writeRewrite(from: Uint8Array, to: Uint8Array, out: Uint8Array, o: number, ttlDec: number): number {
  const etherType = readU16(from, K_ETHER_TYPE);
  const isIp = etherType === 0x0800 || etherType === 0x86dd;
  if (readU16(to, K_ETHER_TYPE) !== etherType) return -1;
  if (!equal(from, to, K_ARP_OP, 1) || !equal(from, to, K_IP_PROTO, 1) || !equal(from, to, K_IP_FRAG, 1)) return -1;
  let rewrite = 0;
  if (!equal(from, to, K_ETH_DST, 6)) rewrite |= copy(to, K_ETH_DST, out, o + A_ETH_DST, 6, RW_ETH_DST);
  if (!equal(from, to, K_ETH_SRC, 6)) rewrite |= copy(to, K_ETH_SRC, out, o + A_ETH_SRC, 6, RW_ETH_SRC);
  rewrite |= vlanRewrite(readU16(from, K_VLAN), readU16(to, K_VLAN), out, o);
  if (!isIp) return ttlDec === 0 && equal(from, to, K_IP_SRC, 32) && equal(from, to, K_TP_SRC, 6) ? rewrite : -1;

  if (ttlDec < 0 || ttlDec > 255) return -1;
  if (ttlDec > 0) {
    out[o + A_TTL_DEC] = ttlDec;
    rewrite |= RW_TTL;
  }
  if (!equal(from, to, K_IP_TOS, 1)) {
    if ((from[K_IP_TOS] ^ to[K_IP_TOS]) & 3) return -1;
    out[o + A_TOS] = to[K_IP_TOS];
    rewrite |= RW_DSCP;
  }
  const addresses = addressRewrite(from, to, out, o, etherType === 0x0800);
  const ports = portRewrite(from, to, out, o);
  return addresses < 0 || ports < 0 ? -1 : rewrite | addresses | ports;
}

function copy(from: Uint8Array, at: number, out: Uint8Array, to: number, length: number, bit: number): number {
  for (let i = 0; i < length; i++) out[to + i] = from[at + i];
  return bit;
}

function vlanRewrite(from: number, to: number, out: Uint8Array, o: number): number {
  if (from === to) return 0;
  if (to === 0) return RW_VLAN_POP;
  writeU16le(out, o + A_VLAN_TCI, to & 0xefff);
  return from === 0 ? RW_VLAN_PUSH : RW_VLAN_PUSH | RW_VLAN_POP;
}

function addressRewrite(from: Uint8Array, to: Uint8Array, out: Uint8Array, o: number, v4: boolean): number {
  let bits = 0;
  if (!equal(from, to, K_IP_SRC, 16)) bits |= copy(to, K_IP_SRC, out, o + A_IP_SRC, 16, RW_IP_SRC);
  if (!equal(from, to, K_IP_DST, 16)) bits |= copy(to, K_IP_DST, out, o + A_IP_DST, 16, RW_IP_DST);
  if (bits === 0) return 0;
  if (v4 && !(isV4Mapped(to, K_IP_SRC) && isV4Mapped(to, K_IP_DST))) return -1;
  // A later fragment has no checksum field: the first one's carries the change for all.
  const proto = from[K_IP_PROTO];
  if (from[K_IP_FRAG] !== FRAG_LATER && hasPseudoHeader(proto) && !(v4 && proto === 58)) {
    let sum = 0;
    if (bits & RW_IP_SRC) sum = addDiff(sum, from, to, K_IP_SRC, 16);
    if (bits & RW_IP_DST) sum = addDiff(sum, from, to, K_IP_DST, 16);
    writeU32le(out, o + A_CSUM_PSEUDO, sum);
  }
  return bits;
}

function portRewrite(from: Uint8Array, to: Uint8Array, out: Uint8Array, o: number): number {
  // A later fragment carries no ports, whatever the keys say of them.
  if (from[K_IP_FRAG] === FRAG_LATER || equal(from, to, K_TP_SRC, 6)) return 0;
  const proto = from[K_IP_PROTO];
  let bits = 0;
  if (!equal(from, to, K_TP_SRC, 2)) bits |= copy(to, K_TP_SRC, out, o + A_TP_SRC, 2, RW_TP_SRC);
  if (!equal(from, to, K_TP_DST, 2)) bits |= copy(to, K_TP_DST, out, o + A_TP_DST, 2, RW_TP_DST);
  if (!equal(from, to, K_ICMP_ID, 2)) bits |= copy(to, K_ICMP_ID, out, o + A_ICMP_ID, 2, RW_ICMP_ID);
  const carriesPorts = proto === 6 || proto === 17 || proto === 136;
  if (carriesPorts ? bits & RW_ICMP_ID : bits !== RW_ICMP_ID || (proto !== 1 && proto !== 58)) return -1;
  let sum = 0;
  if (bits & RW_TP_SRC) sum = addDiff(sum, from, to, K_TP_SRC, 2);
  if (bits & RW_TP_DST) sum = addDiff(sum, from, to, K_TP_DST, 2);
  if (bits & RW_ICMP_ID) sum = addDiff(sum, from, to, K_ICMP_ID, 2);
  writeU32le(out, o + A_CSUM_PAYLOAD, sum);
  return bits;
}
