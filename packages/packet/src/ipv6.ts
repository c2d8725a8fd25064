import { ipCopy } from './addr/ip.ts';
import { ip6Format } from './addr/ip6-text.ts';
import { setU16, setU32, u16, u32 } from './bytes.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED, needRange, needSpace, orThrow } from './errors.ts';
import { ipProtocolName } from './ip-protocol.ts';

/* IPv6 fixed header (RFC 8200 §3); ipv6-ext.ts walks what follows it. */

/** Bytes of the fixed header. */
export const IPV6_SIZE = 40;
export const IPV6_PAYLOAD_LENGTH = 4;
export const IPV6_NEXT_HEADER = 6;
export const IPV6_HOP_LIMIT = 7;
export const IPV6_SRC = 8;
export const IPV6_DST = 24;
/** Every link carries packets of this size (RFC 8200 §5). */
export const IPV6_MIN_MTU = 1280;

/**
 * Size of the fixed header at `off` (40), or a FAULT. Checks version and payload length against `end`. Jumbograms
 * (RFC 2675) are not known: their payload length of 0 means that nothing follows.
 * @param quoted the packet may be cut short, as in an ICMPv6 error
 */
export function ipv6Check(buf: Uint8Array, off: number, end: number, quoted = false): number {
  if (end - off < IPV6_SIZE) return FAULT_TRUNCATED;
  if (buf[off] >>> 4 !== 6) return FAULT_MALFORMED;
  return u16(buf, off + IPV6_PAYLOAD_LENGTH) > end - off - IPV6_SIZE && !quoted ? FAULT_TRUNCATED : IPV6_SIZE;
}

/** DSCP and ECN. */
export function ipv6TrafficClass(buf: Uint8Array, off: number): number {
  return (u16(buf, off) >>> 4) & 0xff;
}

/** Flow label. */
export function ipv6FlowLabel(buf: Uint8Array, off: number): number {
  return u32(buf, off) & 0xf_ffff;
}

/** Bytes behind the fixed header. */
export function ipv6PayloadLength(buf: Uint8Array, off: number): number {
  return u16(buf, off + IPV6_PAYLOAD_LENGTH);
}

/** Next header of the fixed header: an extension header or the L4 protocol. */
export function ipv6NextHeader(buf: Uint8Array, off: number): number {
  return buf[off + IPV6_NEXT_HEADER];
}

/** Hop limit. */
export function ipv6HopLimit(buf: Uint8Array, off: number): number {
  return buf[off + IPV6_HOP_LIMIT];
}

/** Writes the hop limit (IPv6 has no header checksum). */
export function ipv6SetHopLimit(buf: Uint8Array, off: number, hopLimit: number): void {
  buf[off + IPV6_HOP_LIMIT] = hopLimit;
}

/** Writes the traffic class. */
export function ipv6SetTrafficClass(buf: Uint8Array, off: number, trafficClass: number): void {
  setU16(buf, off, (u16(buf, off) & 0xf00f) | (trafficClass << 4));
}

/** An IPv6 header, taken apart. */
export interface Ipv6Repr {
  /** 16 bytes */
  src: Uint8Array;
  /** 16 bytes */
  dst: Uint8Array;
  nextHeader: number;
  hopLimit: number;
  trafficClass: number;
  flowLabel: number;
  /** bytes behind the fixed header, extension headers included */
  payloadLength: number;
}

/** @throws PacketError */
export function ipv6Parse(buf: Uint8Array, off: number, end = buf.length): Ipv6Repr {
  orThrow(ipv6Check(buf, off, end), 'ipv6', off);
  return {
    src: buf.slice(off + IPV6_SRC, off + IPV6_SRC + 16),
    dst: buf.slice(off + IPV6_DST, off + IPV6_DST + 16),
    nextHeader: ipv6NextHeader(buf, off),
    hopLimit: ipv6HopLimit(buf, off),
    trafficClass: ipv6TrafficClass(buf, off),
    flowLabel: ipv6FlowLabel(buf, off),
    payloadLength: ipv6PayloadLength(buf, off),
  };
}

/** Writes the header at `off`; returns its size. @throws PacketError */
export function ipv6Emit(repr: Ipv6Repr, buf: Uint8Array, off: number): number {
  needSpace(buf, off, IPV6_SIZE, 'ipv6');
  needRange(repr.payloadLength, 0xffff, 'ipv6', 'payload length', off);
  needRange(repr.nextHeader, 255, 'ipv6', 'next header', off);
  needRange(repr.hopLimit, 255, 'ipv6', 'hop limit', off);
  needRange(repr.trafficClass, 255, 'ipv6', 'traffic class', off);
  needRange(repr.flowLabel, 0xf_ffff, 'ipv6', 'flow label', off);
  setU32(buf, off, 0x6000_0000 | (repr.trafficClass << 20) | repr.flowLabel);
  setU16(buf, off + IPV6_PAYLOAD_LENGTH, repr.payloadLength);
  buf[off + IPV6_NEXT_HEADER] = repr.nextHeader;
  buf[off + IPV6_HOP_LIMIT] = repr.hopLimit;
  ipCopy(repr.src, 0, buf, off + IPV6_SRC);
  ipCopy(repr.dst, 0, buf, off + IPV6_DST);
  return IPV6_SIZE;
}

/** 'src > dst proto' of a checked header. */
export function ipv6Format(buf: Uint8Array, off: number): string {
  return `${ip6Format(buf, off + IPV6_SRC)} > ${ip6Format(buf, off + IPV6_DST)} ${ipProtocolName(ipv6NextHeader(buf, off))}`;
}
