/**
 * Frame → flow key: the same walk as `weft_parse` in the C programs, byte for byte (a differential test holds the two
 * together). Allocates nothing; every loop is bounded by MAX_EXTENSION_HEADERS.
 */
import {
  FRAG_FIRST,
  FRAG_LATER,
  isV4Mapped,
  K_ARP_OP,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TOS,
  K_IP_TTL,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  KEY_SIZE,
  readU16,
  setKeyInPort,
  VLAN_PRESENT,
  writeU16,
} from './key.ts';

/** IPv6 extension headers walked before a packet counts as malformed. */
export const MAX_EXTENSION_HEADERS = 8;

/** Where the headers stand in the frame last extracted; offsets in bytes from the frame's first byte. */
export interface FrameLayout {
  /** First byte behind Ethernet and the tag in the bytes. */
  l3: number;
  /** First byte of the transport header; 0 if there is none (not IP, a later fragment). */
  l4: number;
  /** Length in bytes by the IP header (IPv4 total length; IPv6 payload + 40), else the frame's rest. */
  l3Length: number;
  /** First byte of the identification that all fragments of the packet share (IPv4: 2 bytes, IPv6: 4); 0 if it is no fragment. */
  fragmentId: number;
}

export function newFrameLayout(): FrameLayout {
  return { l3: 0, l4: 0, l3Length: 0, fragmentId: 0 };
}

/**
 * Fills `out[outBase … +64]` with the key of `frame[0 … length]`.
 * @param vlan TCI with VLAN_PRESENT of a tag that the kernel keeps beside the bytes, or 0.
 * @param length of the whole packet in bytes; `frame` may hold only its head, then headers must be in the head.
 * @returns false if the packet is malformed: truncated header, bad version or length, too many extension headers, an IPv6
 * packet with an IPv4-mapped address (it would pass for IPv4 in the key; no host may send one, RFC 4942 §2.2).
 */
export function extractKey(
  frame: Uint8Array,
  length: number,
  inPort: number,
  vlan: number,
  out: Uint8Array,
  outBase: number,
  layout: FrameLayout,
): boolean {
  out.fill(0, outBase, outBase + KEY_SIZE);
  setKeyInPort(out, inPort, outBase);
  const have = Math.min(frame.length, length);
  if (have < 14) return false;
  // Destination stands first on the wire, source first in the key.
  for (let i = 0; i < 6; i++) {
    out[outBase + K_ETH_SRC + i] = frame[6 + i];
    out[outBase + K_ETH_SRC + 6 + i] = frame[i];
  }
  let l3 = 14;
  let type = readU16(frame, 12);
  let tag = vlan;
  if (tag === 0 && (type === 0x8100 || type === 0x88a8)) {
    if (have < 18) return false;
    tag = readU16(frame, 14) | VLAN_PRESENT;
    type = readU16(frame, 16);
    l3 = 18;
  }
  writeU16(out, outBase + K_VLAN, tag);
  writeU16(out, outBase + K_ETHER_TYPE, type);
  layout.l3 = l3;
  layout.l4 = 0;
  layout.l3Length = length - l3;
  layout.fragmentId = 0;
  if (type === 0x0800) return extractIpv4(frame, have, length, out, outBase, layout);
  if (type === 0x86dd) return extractIpv6(frame, have, length, out, outBase, layout);
  if (type === 0x0806) extractArp(frame, have, out, outBase, l3);
  return true;
}

/** An ARP packet that is not Ethernet/IPv4 keeps operation 0: it is carried like any other ethertype. */
function extractArp(frame: Uint8Array, have: number, out: Uint8Array, o: number, l3: number): void {
  if (have < l3 + 28) return;
  if (readU16(frame, l3) !== 1 || readU16(frame, l3 + 2) !== 0x0800 || frame[l3 + 4] !== 6 || frame[l3 + 5] !== 4)
    return;
  out[o + K_ARP_OP] = frame[l3 + 7];
  copyV4(frame, l3 + 14, out, o + K_IP_SRC);
  copyV4(frame, l3 + 24, out, o + K_IP_DST);
}

function copyV4(frame: Uint8Array, from: number, out: Uint8Array, to: number): void {
  out[to + 10] = 0xff;
  out[to + 11] = 0xff;
  for (let i = 0; i < 4; i++) out[to + 12 + i] = frame[from + i];
}

function extractIpv4(
  f: Uint8Array,
  have: number,
  length: number,
  out: Uint8Array,
  o: number,
  layout: FrameLayout,
): boolean {
  const l3 = layout.l3;
  if (have < l3 + 20 || f[l3] >>> 4 !== 4) return false;
  const headerLength = (f[l3] & 15) * 4;
  const total = readU16(f, l3 + 2);
  if (headerLength < 20 || have < l3 + headerLength || total < headerLength || l3 + total > length) return false;
  layout.l3Length = total;
  out[o + K_IP_TOS] = f[l3 + 1];
  out[o + K_IP_TTL] = f[l3 + 8];
  const proto = f[l3 + 9];
  out[o + K_IP_PROTO] = proto;
  copyV4(f, l3 + 12, out, o + K_IP_SRC);
  copyV4(f, l3 + 16, out, o + K_IP_DST);
  const fragment = readU16(f, l3 + 6);
  if (fragment & 0x3fff) layout.fragmentId = l3 + 4;
  if (fragment & 0x1fff) {
    out[o + K_IP_FRAG] = FRAG_LATER;
    return true;
  }
  if (fragment & 0x2000) out[o + K_IP_FRAG] = FRAG_FIRST;
  return extractL4(f, have, proto, l3 + headerLength, l3 + total, out, o, layout);
}

function extractIpv6(
  f: Uint8Array,
  have: number,
  length: number,
  out: Uint8Array,
  o: number,
  layout: FrameLayout,
): boolean {
  const l3 = layout.l3;
  if (have < l3 + 40 || f[l3] >>> 4 !== 6) return false;
  const end = l3 + 40 + readU16(f, l3 + 4);
  if (end > length || isV4Mapped(f, l3 + 8) || isV4Mapped(f, l3 + 24)) return false;
  layout.l3Length = end - l3;
  out[o + K_IP_TOS] = ((f[l3] & 15) << 4) | (f[l3 + 1] >>> 4);
  out[o + K_IP_TTL] = f[l3 + 7];
  for (let i = 0; i < 16; i++) {
    out[o + K_IP_SRC + i] = f[l3 + 8 + i];
    out[o + K_IP_DST + i] = f[l3 + 24 + i];
  }
  let next = f[l3 + 6];
  let at = l3 + 40;
  for (let n = 0; n <= MAX_EXTENSION_HEADERS; n++) {
    const isFragment = next === 44;
    if (!isFragment && next !== 0 && next !== 43 && next !== 60 && next !== 51) {
      out[o + K_IP_PROTO] = next;
      return extractL4(f, have, next, at, end, out, o, layout);
    }
    if (n === MAX_EXTENSION_HEADERS || at + 8 > have || at + 8 > end) return false;
    if (isFragment) {
      const fragment = readU16(f, at + 2);
      // An atomic fragment (RFC 6946: offset 0, no more to come) is a whole packet.
      if (fragment & 0xfff9) layout.fragmentId = at + 4;
      next = f[at];
      at += 8;
      if (fragment & 0xfff8) {
        out[o + K_IP_PROTO] = next;
        out[o + K_IP_FRAG] = FRAG_LATER;
        return true;
      }
      if (fragment & 1) out[o + K_IP_FRAG] = FRAG_FIRST;
    } else {
      // RFC 4302 §2.2 counts AH in 4-byte words minus 2, RFC 8200 §4 the others in 8-byte words minus 1.
      const size = next === 51 ? (f[at + 1] + 2) * 4 : (f[at + 1] + 1) * 8;
      next = f[at];
      at += size;
    }
    if (at > have || at > end) return false;
  }
  return false;
}

function extractL4(
  f: Uint8Array,
  have: number,
  proto: number,
  l4: number,
  end: number,
  out: Uint8Array,
  o: number,
  layout: FrameLayout,
): boolean {
  layout.l4 = l4;
  const room = Math.min(have, end) - l4;
  if (proto === 6 || proto === 17 || proto === 132 || proto === 136) {
    if (room < 4) return false;
    for (let i = 0; i < 4; i++) out[o + K_TP_SRC + i] = f[l4 + i];
  } else if (proto === 1 || proto === 58) {
    if (room < 4) return false;
    out[o + K_TP_SRC + 1] = f[l4];
    out[o + K_TP_DST + 1] = f[l4 + 1];
    const echo = proto === 1 ? f[l4] === 0 || f[l4] === 8 : f[l4] === 128 || f[l4] === 129;
    if (echo) {
      if (room < 8) return false;
      out[o + K_ICMP_ID] = f[l4 + 4];
      out[o + K_ICMP_ID + 1] = f[l4 + 5];
    }
  }
  return true;
}
