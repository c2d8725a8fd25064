import { setU16, u16 } from './bytes.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED, needRange, needSpace, orThrow } from './errors.ts';

/* UDP (RFC 768). */

/** Bytes of the header. */
export const UDP_SIZE = 8;
export const UDP_SRC_PORT = 0;
export const UDP_DST_PORT = 2;
export const UDP_LENGTH = 4;
export const UDP_CHECKSUM = 6;

/**
 * Size of the header at `off` (8), or a FAULT. Checks the length field against `end`.
 * @param partial a first fragment or a quoted packet: the datagram may go on beyond `end`
 */
export function udpCheck(buf: Uint8Array, off: number, end: number, partial = false): number {
  if (end - off < UDP_SIZE) return FAULT_TRUNCATED;
  const length = u16(buf, off + UDP_LENGTH);
  if (length < UDP_SIZE) return FAULT_MALFORMED;
  return length > end - off && !partial ? FAULT_TRUNCATED : UDP_SIZE;
}

/** Source port. */
export function udpSrcPort(buf: Uint8Array, off: number): number {
  return u16(buf, off + UDP_SRC_PORT);
}

/** Destination port. */
export function udpDstPort(buf: Uint8Array, off: number): number {
  return u16(buf, off + UDP_DST_PORT);
}

/** Bytes of header and payload. */
export function udpLength(buf: Uint8Array, off: number): number {
  return u16(buf, off + UDP_LENGTH);
}

/** Checksum as it stands; 0 means none. */
export function udpChecksum(buf: Uint8Array, off: number): number {
  return u16(buf, off + UDP_CHECKSUM);
}

/** Writes the checksum. */
export function udpSetChecksum(buf: Uint8Array, off: number, check: number): void {
  setU16(buf, off + UDP_CHECKSUM, check);
}

/** A UDP header, taken apart. */
export interface UdpRepr {
  srcPort: number;
  dstPort: number;
  /** bytes behind the header */
  payloadLength: number;
}

/** @throws PacketError */
export function udpParse(buf: Uint8Array, off: number, end = buf.length): UdpRepr {
  orThrow(udpCheck(buf, off, end), 'udp', off);
  return {
    srcPort: udpSrcPort(buf, off),
    dstPort: udpDstPort(buf, off),
    payloadLength: udpLength(buf, off) - UDP_SIZE,
  };
}

/** Writes the header at `off` with checksum 0; returns its size. The checksum needs payload and addresses: l4FillChecksum. @throws PacketError */
export function udpEmit(repr: UdpRepr, buf: Uint8Array, off: number): number {
  needSpace(buf, off, UDP_SIZE, 'udp');
  needRange(repr.srcPort, 0xffff, 'udp', 'source port', off);
  needRange(repr.dstPort, 0xffff, 'udp', 'destination port', off);
  needRange(repr.payloadLength, 0xffff - UDP_SIZE, 'udp', 'payload length', off);
  setU16(buf, off + UDP_SRC_PORT, repr.srcPort);
  setU16(buf, off + UDP_DST_PORT, repr.dstPort);
  setU16(buf, off + UDP_LENGTH, UDP_SIZE + repr.payloadLength);
  setU16(buf, off + UDP_CHECKSUM, 0);
  return UDP_SIZE;
}

/** 'UDP len N' of a checked header. */
export function udpFormat(buf: Uint8Array, off: number): string {
  return `UDP len ${udpLength(buf, off) - UDP_SIZE}`;
}
