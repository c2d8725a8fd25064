import { setU16, setU32, u16, u32 } from './bytes.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED, needRange, needSpace, orThrow } from './errors.ts';

/* GRE (RFC 2784) with key and sequence number (RFC 2890). */

/** Bytes of a header without optional fields. */
export const GRE_MIN_SIZE = 4;
export const GRE_FLAGS = 0;
export const GRE_PROTOCOL = 2;

export const GRE_CHECKSUM_PRESENT = 0x8000;
export const GRE_KEY_PRESENT = 0x2000;
export const GRE_SEQUENCE_PRESENT = 0x1000;
/** Bits 1 (routing, RFC 1701), 4, 5 (reserved 0) and the version: a receiver must refuse them. Bits 6–12 it ignores. */
const GRE_REFUSED = 0x4000 | 0x0c00 | 0x0007;

/** Size of the header at `off` with the optional fields that its flags announce, or a FAULT. */
export function greCheck(buf: Uint8Array, off: number, end: number): number {
  if (end - off < GRE_MIN_SIZE) return FAULT_TRUNCATED;
  const flags = u16(buf, off);
  if ((flags & GRE_REFUSED) !== 0) return FAULT_MALFORMED;
  const size = greHeaderSize(flags);
  return end - off < size ? FAULT_TRUNCATED : size;
}

/** Bytes of a header with these flags. */
export function greHeaderSize(flags: number): number {
  return (
    GRE_MIN_SIZE +
    (flags & GRE_CHECKSUM_PRESENT ? 4 : 0) +
    (flags & GRE_KEY_PRESENT ? 4 : 0) +
    (flags & GRE_SEQUENCE_PRESENT ? 4 : 0)
  );
}

/** Flags and version. */
export function greFlags(buf: Uint8Array, off: number): number {
  return u16(buf, off + GRE_FLAGS);
}

/** Ethertype of the payload. */
export function greProtocol(buf: Uint8Array, off: number): number {
  return u16(buf, off + GRE_PROTOCOL);
}

/** Key in [0, 2^32), or -1 without one. */
export function greKey(buf: Uint8Array, off: number): number {
  const flags = u16(buf, off);
  if ((flags & GRE_KEY_PRESENT) === 0) return -1;
  return u32(buf, off + GRE_MIN_SIZE + (flags & GRE_CHECKSUM_PRESENT ? 4 : 0));
}

/** A GRE header, taken apart. Checksums are read over, never written (tunnels rely on the inner ones). */
export interface GreRepr {
  /** ethertype of the payload */
  protocol: number;
  /** in [0, 2^32), or null */
  key: number | null;
  /** in [0, 2^32), or null */
  sequence: number | null;
}

/** @throws PacketError */
export function greParse(buf: Uint8Array, off: number, end = buf.length): GreRepr {
  const size = orThrow(greCheck(buf, off, end), 'gre', off);
  const key = greKey(buf, off);
  return {
    protocol: greProtocol(buf, off),
    key: key < 0 ? null : key,
    sequence: greFlags(buf, off) & GRE_SEQUENCE_PRESENT ? u32(buf, off + size - 4) : null,
  };
}

/** Bytes that {@link greEmit} writes. */
export function greSize(repr: GreRepr): number {
  return GRE_MIN_SIZE + (repr.key === null ? 0 : 4) + (repr.sequence === null ? 0 : 4);
}

/** Writes the header at `off`; returns its size. @throws PacketError */
export function greEmit(repr: GreRepr, buf: Uint8Array, off: number): number {
  const size = greSize(repr);
  needSpace(buf, off, size, 'gre');
  needRange(repr.protocol, 0xffff, 'gre', 'protocol', off);
  let flags = 0;
  let at = off + GRE_MIN_SIZE;
  if (repr.key !== null) {
    needRange(repr.key, 0xffff_ffff, 'gre', 'key', off);
    flags |= GRE_KEY_PRESENT;
    setU32(buf, at, repr.key);
    at += 4;
  }
  if (repr.sequence !== null) {
    needRange(repr.sequence, 0xffff_ffff, 'gre', 'sequence', off);
    flags |= GRE_SEQUENCE_PRESENT;
    setU32(buf, at, repr.sequence);
  }
  setU16(buf, off + GRE_FLAGS, flags);
  setU16(buf, off + GRE_PROTOCOL, repr.protocol);
  return size;
}

/** 'GRE key N' of a checked header. */
export function greFormat(buf: Uint8Array, off: number): string {
  const key = greKey(buf, off);
  return key < 0 ? 'GRE' : `GRE key ${key}`;
}
