import { ip4Format, ip4FromWire, ip4WriteWire, needIp4 } from './addr/ip.ts';
import { setU16, u16, u32 } from './bytes.ts';
import { checksum, checksumUpdate } from './checksum.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED, needRange, needSpace, orThrow, PacketError } from './errors.ts';
import { FRAGMENT_FIRST, FRAGMENT_LATER, FRAGMENT_NONE, ipProtocolName } from './ip-protocol.ts';

/* IPv4 (RFC 791 §3.1). */

/** Bytes of a header without options. */
export const IPV4_MIN_SIZE = 20;
export const IPV4_VERSION_IHL = 0;
export const IPV4_TOS = 1;
export const IPV4_TOTAL_LENGTH = 2;
export const IPV4_ID = 4;
export const IPV4_FLAGS_FRAGMENT = 6;
export const IPV4_TTL = 8;
export const IPV4_PROTOCOL = 9;
export const IPV4_CHECKSUM = 10;
export const IPV4_SRC = 12;
export const IPV4_DST = 16;
export const IPV4_OPTIONS = 20;

export const IPV4_DF = 0x4000;
export const IPV4_MF = 0x2000;
/** Fragment offset, in units of 8 bytes. */
export const IPV4_OFFSET_MASK = 0x1fff;
/** Every host must take datagrams of this size (RFC 791 §3.1). */
export const IPV4_MIN_REASSEMBLY = 576;

export const IPV4_OPTION_END = 0;
export const IPV4_OPTION_NOP = 1;
export const IPV4_OPTION_RECORD_ROUTE = 7;
export const IPV4_OPTION_TIMESTAMP = 68;
export const IPV4_OPTION_LSRR = 131;
export const IPV4_OPTION_SSRR = 137;
export const IPV4_OPTION_ROUTER_ALERT = 148;

/**
 * Size of the header at `off`, options included, or a FAULT. Checks version, header length and total length against
 * `end`; not the checksum ({@link ipv4ChecksumOk}) nor the options ({@link ipv4Option}).
 * @param quoted the packet may be cut short, as in an ICMP error: total length is not held against `end`
 */
export function ipv4Check(buf: Uint8Array, off: number, end: number, quoted = false): number {
  if (end - off < IPV4_MIN_SIZE) return FAULT_TRUNCATED;
  const size = (buf[off] & 0x0f) << 2;
  if (buf[off] >>> 4 !== 4 || size < IPV4_MIN_SIZE) return FAULT_MALFORMED;
  if (end - off < size) return FAULT_TRUNCATED;
  const total = u16(buf, off + IPV4_TOTAL_LENGTH);
  if (total < size) return FAULT_MALFORMED;
  return total > end - off && !quoted ? FAULT_TRUNCATED : size;
}

/** Bytes of the header at `off`, options included. */
export function ipv4HeaderSize(buf: Uint8Array, off: number): number {
  return (buf[off] & 0x0f) << 2;
}

/** DSCP and ECN. */
export function ipv4Tos(buf: Uint8Array, off: number): number {
  return buf[off + IPV4_TOS];
}

/** Bytes of header and payload. */
export function ipv4TotalLength(buf: Uint8Array, off: number): number {
  return u16(buf, off + IPV4_TOTAL_LENGTH);
}

/** Identification. */
export function ipv4Id(buf: Uint8Array, off: number): number {
  return u16(buf, off + IPV4_ID);
}

/** Flags and fragment offset as they stand: IPV4_DF, IPV4_MF, IPV4_OFFSET_MASK. */
export function ipv4FlagsFragment(buf: Uint8Array, off: number): number {
  return u16(buf, off + IPV4_FLAGS_FRAGMENT);
}

/** FRAGMENT_NONE, FRAGMENT_FIRST or FRAGMENT_LATER. */
export function ipv4FragmentClass(buf: Uint8Array, off: number): number {
  const word = u16(buf, off + IPV4_FLAGS_FRAGMENT);
  if ((word & IPV4_OFFSET_MASK) !== 0) return FRAGMENT_LATER;
  return (word & IPV4_MF) !== 0 ? FRAGMENT_FIRST : FRAGMENT_NONE;
}

/** Offset of the fragment, in bytes. */
export function ipv4FragmentOffset(buf: Uint8Array, off: number): number {
  return (u16(buf, off + IPV4_FLAGS_FRAGMENT) & IPV4_OFFSET_MASK) << 3;
}

/** Time to live. */
export function ipv4Ttl(buf: Uint8Array, off: number): number {
  return buf[off + IPV4_TTL];
}

/** Protocol of the payload. */
export function ipv4Protocol(buf: Uint8Array, off: number): number {
  return buf[off + IPV4_PROTOCOL];
}

/** Source address as an integer in [0, 2^32). */
export function ipv4Src(buf: Uint8Array, off: number): number {
  return u32(buf, off + IPV4_SRC);
}

/** Destination address as an integer in [0, 2^32). */
export function ipv4Dst(buf: Uint8Array, off: number): number {
  return u32(buf, off + IPV4_DST);
}

/** Header checksum as it stands. */
export function ipv4Checksum(buf: Uint8Array, off: number): number {
  return u16(buf, off + IPV4_CHECKSUM);
}

/** Whether the header's checksum is right. */
export function ipv4ChecksumOk(buf: Uint8Array, off: number): boolean {
  return checksum(buf, off, ipv4HeaderSize(buf, off)) === 0;
}

/** Computes and writes the header's checksum. */
export function ipv4FillChecksum(buf: Uint8Array, off: number): void {
  setU16(buf, off + IPV4_CHECKSUM, 0);
  setU16(buf, off + IPV4_CHECKSUM, checksum(buf, off, ipv4HeaderSize(buf, off)));
}

/** Writes TTL and updates the checksum incrementally. */
export function ipv4SetTtl(buf: Uint8Array, off: number, ttl: number): void {
  const old = u16(buf, off + IPV4_TTL);
  buf[off + IPV4_TTL] = ttl;
  setU16(buf, off + IPV4_CHECKSUM, checksumUpdate(ipv4Checksum(buf, off), old, u16(buf, off + IPV4_TTL)));
}

/** Writes TOS and updates the checksum incrementally. */
export function ipv4SetTos(buf: Uint8Array, off: number, tos: number): void {
  const old = u16(buf, off);
  buf[off + IPV4_TOS] = tos;
  setU16(buf, off + IPV4_CHECKSUM, checksumUpdate(ipv4Checksum(buf, off), old, u16(buf, off)));
}

/**
 * Offset of the first option of a kind in a checked header, or -1, or a FAULT below -1 (FAULT_MALFORMED) when the
 * options before it are broken. Bounded by the 40 bytes that options can have.
 */
export function ipv4Option(buf: Uint8Array, off: number, kind: number): number {
  const end = off + ipv4HeaderSize(buf, off);
  let at = off + IPV4_OPTIONS;
  while (at < end) {
    const k = buf[at];
    if (k === kind) return at;
    if (k === IPV4_OPTION_END) return -1;
    if (k === IPV4_OPTION_NOP) {
      at++;
      continue;
    }
    const size = at + 1 < end ? buf[at + 1] : 0;
    if (size < 2 || at + size > end) return FAULT_MALFORMED;
    at += size;
  }
  return -1;
}

/** An IPv4 header, taken apart. */
export interface Ipv4Repr {
  /** 16-byte form */
  src: Uint8Array;
  /** 16-byte form */
  dst: Uint8Array;
  protocol: number;
  ttl: number;
  tos: number;
  id: number;
  dontFragment: boolean;
  moreFragments: boolean;
  /** bytes, a multiple of 8 */
  fragmentOffset: number;
  /** as they stand, padded to a multiple of 4; at most 40 bytes */
  options: Uint8Array;
  /** bytes behind the header */
  payloadLength: number;
}

/** @throws PacketError */
export function ipv4Parse(buf: Uint8Array, off: number, end = buf.length): Ipv4Repr {
  const size = orThrow(ipv4Check(buf, off, end), 'ipv4', off);
  const flags = ipv4FlagsFragment(buf, off);
  return {
    src: ip4FromWire(buf, off + IPV4_SRC),
    dst: ip4FromWire(buf, off + IPV4_DST),
    protocol: ipv4Protocol(buf, off),
    ttl: ipv4Ttl(buf, off),
    tos: ipv4Tos(buf, off),
    id: ipv4Id(buf, off),
    dontFragment: (flags & IPV4_DF) !== 0,
    moreFragments: (flags & IPV4_MF) !== 0,
    fragmentOffset: ipv4FragmentOffset(buf, off),
    options: buf.slice(off + IPV4_OPTIONS, off + size),
    payloadLength: ipv4TotalLength(buf, off) - size,
  };
}

/** Bytes of the header that {@link ipv4Emit} writes. */
export function ipv4Size(repr: Ipv4Repr): number {
  return IPV4_MIN_SIZE + ((repr.options.length + 3) & ~3);
}

/** Writes the header at `off`, checksum included; returns its size. @throws PacketError */
export function ipv4Emit(repr: Ipv4Repr, buf: Uint8Array, off: number): number {
  const size = ipv4Size(repr);
  needRange(size, 60, 'ipv4', 'header size', off);
  needSpace(buf, off, size, 'ipv4');
  needRange(repr.payloadLength, 0xffff - size, 'ipv4', 'payload length', off);
  needRange(repr.protocol, 255, 'ipv4', 'protocol', off);
  needRange(repr.ttl, 255, 'ipv4', 'ttl', off);
  needRange(repr.tos, 255, 'ipv4', 'tos', off);
  needRange(repr.id, 0xffff, 'ipv4', 'id', off);
  needRange(repr.fragmentOffset, 0xfff8, 'ipv4', 'fragment offset', off);
  needIp4(repr.src, 'ipv4', off);
  needIp4(repr.dst, 'ipv4', off);
  if (repr.fragmentOffset & 7) {
    throw new PacketError('WEFT_PACKET_FIELD', 'ipv4', off, 'ipv4: a fragment offset is a multiple of 8 bytes.');
  }
  buf.fill(0, off, off + size);
  buf[off] = 0x40 | (size >>> 2);
  buf[off + IPV4_TOS] = repr.tos;
  setU16(buf, off + IPV4_TOTAL_LENGTH, size + repr.payloadLength);
  setU16(buf, off + IPV4_ID, repr.id);
  const flags = (repr.dontFragment ? IPV4_DF : 0) | (repr.moreFragments ? IPV4_MF : 0);
  setU16(buf, off + IPV4_FLAGS_FRAGMENT, flags | (repr.fragmentOffset >>> 3));
  buf[off + IPV4_TTL] = repr.ttl;
  buf[off + IPV4_PROTOCOL] = repr.protocol;
  ip4WriteWire(repr.src, 0, buf, off + IPV4_SRC);
  ip4WriteWire(repr.dst, 0, buf, off + IPV4_DST);
  buf.set(repr.options, off + IPV4_OPTIONS);
  ipv4FillChecksum(buf, off);
  return size;
}

/** 'src > dst proto' of a checked header. */
export function ipv4Format(buf: Uint8Array, off: number): string {
  return `${ip4Format(buf, off + IPV4_SRC)} > ${ip4Format(buf, off + IPV4_DST)} ${ipProtocolName(ipv4Protocol(buf, off))}`;
}
