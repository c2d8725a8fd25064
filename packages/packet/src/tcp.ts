import { setU16, setU32, u16, u32 } from './bytes.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED, needRange, needSpace, orThrow } from './errors.ts';

/* TCP (RFC 9293 §3.1). */

/** Bytes of a header without options. */
export const TCP_MIN_SIZE = 20;
export const TCP_SRC_PORT = 0;
export const TCP_DST_PORT = 2;
export const TCP_SEQ_NUMBER = 4;
export const TCP_ACK_NUMBER = 8;
export const TCP_OFFSET = 12;
export const TCP_FLAGS = 13;
export const TCP_WINDOW = 14;
export const TCP_CHECKSUM = 16;
export const TCP_URGENT = 18;
export const TCP_OPTIONS = 20;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_URG = 0x20;
export const TCP_ECE = 0x40;
export const TCP_CWR = 0x80;

export const TCP_OPTION_END = 0;
export const TCP_OPTION_NOP = 1;
export const TCP_OPTION_MSS = 2;
export const TCP_OPTION_WINDOW_SCALE = 3;
export const TCP_OPTION_SACK_PERMITTED = 4;
export const TCP_OPTION_SACK = 5;
export const TCP_OPTION_TIMESTAMPS = 8;

/**
 * Size of the header at `off`, options included, or a FAULT.
 * @param partial a quoted packet: only the first 8 bytes (ports, sequence number) need be there
 */
export function tcpCheck(buf: Uint8Array, off: number, end: number, partial = false): number {
  if (partial && end - off >= 8 && end - off < TCP_MIN_SIZE) return end - off;
  if (end - off < TCP_MIN_SIZE) return FAULT_TRUNCATED;
  const size = tcpHeaderSize(buf, off);
  if (size < TCP_MIN_SIZE) return FAULT_MALFORMED;
  return size > end - off && !partial ? FAULT_TRUNCATED : size;
}

/** Source port. */
export function tcpSrcPort(buf: Uint8Array, off: number): number {
  return u16(buf, off + TCP_SRC_PORT);
}

/** Destination port. */
export function tcpDstPort(buf: Uint8Array, off: number): number {
  return u16(buf, off + TCP_DST_PORT);
}

/** Sequence number. */
export function tcpSeq(buf: Uint8Array, off: number): number {
  return u32(buf, off + TCP_SEQ_NUMBER);
}

/** Acknowledgement number. */
export function tcpAck(buf: Uint8Array, off: number): number {
  return u32(buf, off + TCP_ACK_NUMBER);
}

/** Bytes of the header, options included. */
export function tcpHeaderSize(buf: Uint8Array, off: number): number {
  return (buf[off + TCP_OFFSET] >>> 4) << 2;
}

/** The eight flag bits, CWR to FIN. */
export function tcpFlags(buf: Uint8Array, off: number): number {
  return buf[off + TCP_FLAGS];
}

/** Window, unscaled. */
export function tcpWindow(buf: Uint8Array, off: number): number {
  return u16(buf, off + TCP_WINDOW);
}

/** Checksum as it stands. */
export function tcpChecksum(buf: Uint8Array, off: number): number {
  return u16(buf, off + TCP_CHECKSUM);
}

/** Writes the checksum. */
export function tcpSetChecksum(buf: Uint8Array, off: number, check: number): void {
  setU16(buf, off + TCP_CHECKSUM, check);
}

/**
 * Offset of the first option of a kind in a checked header, or -1, or FAULT_MALFORMED when the options before it are
 * broken. Bounded by the 40 bytes that options can have.
 */
export function tcpOption(buf: Uint8Array, off: number, kind: number): number {
  const end = off + tcpHeaderSize(buf, off);
  let at = off + TCP_OPTIONS;
  while (at < end) {
    const k = buf[at];
    if (k === TCP_OPTION_END) return -1;
    if (k === TCP_OPTION_NOP) {
      at++;
      continue;
    }
    const size = at + 1 < end ? buf[at + 1] : 0;
    if (size < 2 || at + size > end) return FAULT_MALFORMED;
    if (k === kind) return at;
    at += size;
  }
  return -1;
}

/** Maximum segment size announced by a checked header, or -1. */
export function tcpMss(buf: Uint8Array, off: number): number {
  const at = tcpOption(buf, off, TCP_OPTION_MSS);
  return at >= 0 && buf[at + 1] === 4 ? u16(buf, at + 2) : -1;
}

/** A TCP header, taken apart. */
export interface TcpRepr {
  srcPort: number;
  dstPort: number;
  /** in [0, 2^32) */
  seq: number;
  /** in [0, 2^32) */
  ack: number;
  /** TCP_SYN | TCP_ACK | … */
  flags: number;
  window: number;
  urgent: number;
  /** as they stand, padded to a multiple of 4; at most 40 bytes */
  options: Uint8Array;
}

/** @throws PacketError */
export function tcpParse(buf: Uint8Array, off: number, end = buf.length): TcpRepr {
  const size = orThrow(tcpCheck(buf, off, end), 'tcp', off);
  return {
    srcPort: tcpSrcPort(buf, off),
    dstPort: tcpDstPort(buf, off),
    seq: tcpSeq(buf, off),
    ack: tcpAck(buf, off),
    flags: tcpFlags(buf, off),
    window: tcpWindow(buf, off),
    urgent: u16(buf, off + TCP_URGENT),
    options: buf.slice(off + TCP_OPTIONS, off + size),
  };
}

/** Bytes of the header that {@link tcpEmit} writes. */
export function tcpSize(repr: TcpRepr): number {
  return TCP_MIN_SIZE + ((repr.options.length + 3) & ~3);
}

/** Writes the header at `off` with checksum 0; returns its size. The checksum needs payload and addresses: l4FillChecksum. @throws PacketError */
export function tcpEmit(repr: TcpRepr, buf: Uint8Array, off: number): number {
  const size = tcpSize(repr);
  needRange(size, 60, 'tcp', 'header size', off);
  needSpace(buf, off, size, 'tcp');
  needRange(repr.srcPort, 0xffff, 'tcp', 'source port', off);
  needRange(repr.dstPort, 0xffff, 'tcp', 'destination port', off);
  needRange(repr.seq, 0xffff_ffff, 'tcp', 'sequence number', off);
  needRange(repr.ack, 0xffff_ffff, 'tcp', 'acknowledgement number', off);
  needRange(repr.flags, 0xff, 'tcp', 'flags', off);
  needRange(repr.window, 0xffff, 'tcp', 'window', off);
  needRange(repr.urgent, 0xffff, 'tcp', 'urgent pointer', off);
  buf.fill(0, off, off + size);
  setU16(buf, off + TCP_SRC_PORT, repr.srcPort);
  setU16(buf, off + TCP_DST_PORT, repr.dstPort);
  setU32(buf, off + TCP_SEQ_NUMBER, repr.seq);
  setU32(buf, off + TCP_ACK_NUMBER, repr.ack);
  buf[off + TCP_OFFSET] = size << 2;
  buf[off + TCP_FLAGS] = repr.flags;
  setU16(buf, off + TCP_WINDOW, repr.window);
  setU16(buf, off + TCP_URGENT, repr.urgent);
  buf.set(repr.options, off + TCP_OPTIONS);
  return size;
}

/** The MSS option, for {@link TcpRepr.options}. */
export function tcpMssOption(mss: number): Uint8Array {
  return Uint8Array.of(TCP_OPTION_MSS, 4, mss >>> 8, mss);
}

/** Flags as tcpdump writes them: 'S', 'S.', 'F.', 'R', 'P.', '.' or 'none'. */
export function tcpFormatFlags(flags: number): string {
  let s = '';
  if (flags & TCP_FIN) s += 'F';
  if (flags & TCP_SYN) s += 'S';
  if (flags & TCP_RST) s += 'R';
  if (flags & TCP_PSH) s += 'P';
  if (flags & TCP_URG) s += 'U';
  if (flags & TCP_ECE) s += 'E';
  if (flags & TCP_CWR) s += 'W';
  if (flags & TCP_ACK) s += '.';
  return s || 'none';
}

/** 'TCP [S.] seq 1 ack 2 win 3' of a checked header. */
export function tcpFormat(buf: Uint8Array, off: number): string {
  const flags = tcpFlags(buf, off);
  const ack = flags & TCP_ACK ? ` ack ${tcpAck(buf, off)}` : '';
  return `TCP [${tcpFormatFlags(flags)}] seq ${tcpSeq(buf, off)}${ack} win ${tcpWindow(buf, off)}`;
}
