/** The header rewrite of a compiled action, with the checksums that depend on it. */
import {
  A_CSUM_PAYLOAD,
  A_CSUM_PSEUDO,
  A_ETH_DST,
  A_ETH_SRC,
  A_ICMP_ID,
  A_IP_DST,
  A_IP_SRC,
  A_REWRITE,
  A_TOS,
  A_TP_DST,
  A_TP_SRC,
  A_TTL_DEC,
  A_VLAN_TCI,
  type FrameLayout,
  K_ETHER_TYPE,
  K_IP_PROTO,
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
  readU16,
} from '@weft/flow';
import { setU16le, u16le, type WorkFrame } from './frame.ts';

const RW_L3 = RW_DSCP | RW_TTL | RW_IP_SRC | RW_IP_DST;
const RW_L4 = RW_IP_SRC | RW_IP_DST | RW_TP_SRC | RW_TP_DST | RW_ICMP_ID;

/**
 * Checksum field after a delta in memory order: RFC 1624 eqn. 3 in the form of the kernel's csum_fold over a 32-bit sum,
 * whose upper half is never 0, so that the result is never 0xffff.
 */
function applyDelta(field: number, delta: number): number {
  let s = 0xffff + (~field & 0xffff) + delta;
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  return ~s & 0xffff;
}

/** Offset of the L4 checksum from the L4 header, or -1. */
export function checksumOffset(proto: number): number {
  if (proto === 6) return 16;
  if (proto === 17 || proto === 136) return 6;
  return proto === 1 || proto === 58 ? 2 : -1;
}

/**
 * Applies the rewrite of the action at `action[a]` to a frame that begins at its `start` with the given key and layout.
 * @returns false if the packet is too short to hold what must change; it is then half rewritten and must be dropped.
 */
export function applyRewrite(
  frame: WorkFrame,
  key: Uint8Array,
  layout: FrameLayout,
  action: Uint8Array,
  a = 0,
): boolean {
  const rewrite = u16le(action, a + A_REWRITE);
  if (rewrite === 0) return true;
  const b = frame.bytes;
  const at = frame.start;
  if (rewrite & RW_ETH_DST) for (let i = 0; i < 6; i++) b[at + i] = action[a + A_ETH_DST + i];
  if (rewrite & RW_ETH_SRC) for (let i = 0; i < 6; i++) b[at + 6 + i] = action[a + A_ETH_SRC + i];
  const etherType = readU16(key, K_ETHER_TYPE);
  if (etherType === 0x0800 || etherType === 0x86dd) {
    if (rewrite & RW_L4 && layout.l4 !== 0 && !rewriteL4(frame, key[K_IP_PROTO], layout, rewrite, action, a)) {
      return false;
    }
    if (rewrite & RW_L3) {
      if (etherType === 0x0800) rewriteIpv4(b, at + layout.l3, rewrite, action, a);
      else rewriteIpv6(b, at + layout.l3, rewrite, action, a);
    }
  }
  if (rewrite & (RW_VLAN_PUSH | RW_VLAN_POP)) rewriteVlan(frame, rewrite, u16le(action, a + A_VLAN_TCI));
  return true;
}

function rewriteIpv4(b: Uint8Array, l3: number, rewrite: number, action: Uint8Array, a: number): void {
  let delta = 0;
  if (rewrite & RW_DSCP) {
    const old = u16le(b, l3);
    b[l3 + 1] = (action[a + A_TOS] & 0xfc) | (b[l3 + 1] & 3);
    delta += (~old & 0xffff) + u16le(b, l3);
  }
  if (rewrite & RW_TTL) {
    const old = u16le(b, l3 + 8);
    b[l3 + 8] -= action[a + A_TTL_DEC];
    delta += (~old & 0xffff) + u16le(b, l3 + 8);
  }
  if (rewrite & RW_IP_SRC) delta += address4(b, l3 + 12, action, a + A_IP_SRC + 12);
  if (rewrite & RW_IP_DST) delta += address4(b, l3 + 16, action, a + A_IP_DST + 12);
  setU16le(b, l3 + 10, applyDelta(u16le(b, l3 + 10), delta));
}

function address4(b: Uint8Array, at: number, action: Uint8Array, from: number): number {
  let delta = (~u16le(b, at) & 0xffff) + (~u16le(b, at + 2) & 0xffff);
  for (let i = 0; i < 4; i++) b[at + i] = action[from + i];
  delta += u16le(b, at) + u16le(b, at + 2);
  return delta;
}

function rewriteIpv6(b: Uint8Array, l3: number, rewrite: number, action: Uint8Array, a: number): void {
  if (rewrite & RW_DSCP) {
    const tos = (action[a + A_TOS] & 0xfc) | ((b[l3 + 1] >>> 4) & 3);
    b[l3] = 0x60 | (tos >>> 4);
    b[l3 + 1] = ((tos & 15) << 4) | (b[l3 + 1] & 15);
  }
  if (rewrite & RW_TTL) b[l3 + 7] -= action[a + A_TTL_DEC];
  if (rewrite & RW_IP_SRC) for (let i = 0; i < 16; i++) b[l3 + 8 + i] = action[a + A_IP_SRC + i];
  if (rewrite & RW_IP_DST) for (let i = 0; i < 16; i++) b[l3 + 24 + i] = action[a + A_IP_DST + i];
}

function rewriteL4(
  frame: WorkFrame,
  proto: number,
  layout: FrameLayout,
  rewrite: number,
  action: Uint8Array,
  a: number,
): boolean {
  const b = frame.bytes;
  const l4 = frame.start + layout.l4;
  const pseudo = u16le(action, a + A_CSUM_PSEUDO);
  const payload = u16le(action, a + A_CSUM_PAYLOAD);
  const offset = checksumOffset(proto);
  if (offset >= 0) {
    const field = l4 + offset;
    if (field + 2 > frame.end) return false;
    rewriteChecksum(b, field, frame.partial, pseudo, payload, proto === 17 || proto === 136);
  }
  if (proto === 6 || proto === 17 || proto === 136) {
    if (rewrite & RW_TP_SRC) for (let i = 0; i < 2; i++) b[l4 + i] = action[a + A_TP_SRC + i];
    if (rewrite & RW_TP_DST) for (let i = 0; i < 2; i++) b[l4 + 2 + i] = action[a + A_TP_DST + i];
  } else if (rewrite & RW_ICMP_ID && (proto === 1 || proto === 58)) {
    if (l4 + 6 > frame.end) return false;
    for (let i = 0; i < 2; i++) b[l4 + 4 + i] = action[a + A_ICMP_ID + i];
  }
  return true;
}

/** What bpf_l4_csum_replace does, twice: with BPF_F_PSEUDO_HDR, then without; for UDP with BPF_F_MARK_MANGLED_0. */
function rewriteChecksum(
  b: Uint8Array,
  field: number,
  partial: boolean,
  pseudo: number,
  payload: number,
  udp: boolean,
): void {
  let check = u16le(b, field);
  if (udp && check === 0) return;
  if (partial) {
    // An uncomplemented sum of the pseudo-header: addresses only.
    let s = check + pseudo;
    while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
    check = s;
  } else {
    if (pseudo !== 0) check = applyDelta(check, pseudo);
    if (payload !== 0) check = applyDelta(check, payload);
  }
  setU16le(b, field, udp && check === 0 ? 0xffff : check);
}

function rewriteVlan(frame: WorkFrame, rewrite: number, tci: number): void {
  if (rewrite & RW_VLAN_POP) {
    frame.tagTpid = 0;
    frame.tagTci = 0;
  }
  if (rewrite & RW_VLAN_PUSH) {
    // A packet that keeps its tag and gets another: the old one goes into the bytes.
    frame.insertTag();
    frame.tagTpid = 0x8100;
    frame.tagTci = tci;
  }
}
