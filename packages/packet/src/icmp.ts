import { setU16, setU32, u16, u32 } from './bytes.ts';
import { FAULT_TRUNCATED, needRange, needSpace, orThrow } from './errors.ts';

/* ICMP (RFC 792); the same eight-byte header serves ICMPv6 (RFC 4443 §2.1), whose numbers stand in icmpv6.ts. */

/** Bytes of the header: type, code, checksum and four bytes that depend on the type. */
export const ICMP_SIZE = 8;
export const ICMP_TYPE = 0;
export const ICMP_CODE = 1;
export const ICMP_CHECKSUM = 2;
/** Echo: identifier and sequence. */
export const ICMP_ECHO_ID = 4;
export const ICMP_ECHO_SEQ = 6;
/** "Fragmentation needed": next-hop MTU (RFC 1191 §4). */
export const ICMP_NEXT_HOP_MTU = 6;
/** Errors: the packet that they are about. */
export const ICMP_QUOTE = 8;

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_SOURCE_QUENCH = 4;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;

/* Codes of ICMP_UNREACHABLE. */
export const ICMP_UNREACHABLE_NET = 0;
export const ICMP_UNREACHABLE_HOST = 1;
export const ICMP_UNREACHABLE_PROTOCOL = 2;
export const ICMP_UNREACHABLE_PORT = 3;
export const ICMP_FRAGMENTATION_NEEDED = 4;
/** Communication administratively prohibited (RFC 1812 §5.2.7.1). */
export const ICMP_PROHIBITED = 13;
/* Codes of ICMP_TIME_EXCEEDED. */
export const ICMP_TTL_EXCEEDED = 0;
export const ICMP_REASSEMBLY_EXCEEDED = 1;

/** Size of the header at `off` (8), or a FAULT. */
export function icmpCheck(_buf: Uint8Array, off: number, end: number): number {
  return end - off < ICMP_SIZE ? FAULT_TRUNCATED : ICMP_SIZE;
}

/** Type (also of ICMPv6). */
export function icmpType(buf: Uint8Array, off: number): number {
  return buf[off + ICMP_TYPE];
}

/** Code (also of ICMPv6). */
export function icmpCode(buf: Uint8Array, off: number): number {
  return buf[off + ICMP_CODE];
}

/** Checksum as it stands (also of ICMPv6). */
export function icmpChecksum(buf: Uint8Array, off: number): number {
  return u16(buf, off + ICMP_CHECKSUM);
}

/** Writes the checksum (also of ICMPv6). */
export function icmpSetChecksum(buf: Uint8Array, off: number, check: number): void {
  setU16(buf, off + ICMP_CHECKSUM, check);
}

/** Identifier of an echo (also of ICMPv6). */
export function icmpId(buf: Uint8Array, off: number): number {
  return u16(buf, off + ICMP_ECHO_ID);
}

/** Sequence number of an echo (also of ICMPv6). */
export function icmpSeq(buf: Uint8Array, off: number): number {
  return u16(buf, off + ICMP_ECHO_SEQ);
}

/** Next-hop MTU of "fragmentation needed"; 0 from routers older than RFC 1191. */
export function icmpMtu(buf: Uint8Array, off: number): number {
  return u16(buf, off + ICMP_NEXT_HOP_MTU);
}

/** Whether a type has an identifier where echoes have it (echo, timestamp, information, address mask). */
export function icmpHasId(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY || (type >= 13 && type <= 18);
}

/** Whether a type is an error, that is quotes a packet and must never be answered by an error (RFC 1122 §3.2.2). */
export function icmpIsError(type: number): boolean {
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
}

/** An ICMP or ICMPv6 header, taken apart. */
export interface IcmpRepr {
  type: number;
  code: number;
  /** the four bytes behind the checksum, as an integer: id << 16 | seq, or an MTU */
  rest: number;
}

/** @throws PacketError */
export function icmpParse(buf: Uint8Array, off: number, end = buf.length): IcmpRepr {
  orThrow(icmpCheck(buf, off, end), 'icmp', off);
  return { type: icmpType(buf, off), code: icmpCode(buf, off), rest: u32(buf, off + ICMP_ECHO_ID) };
}

/** Writes the header at `off` with checksum 0; returns its size. The checksum needs the payload: l4FillChecksum. @throws PacketError */
export function icmpEmit(repr: IcmpRepr, buf: Uint8Array, off: number): number {
  needSpace(buf, off, ICMP_SIZE, 'icmp');
  needRange(repr.type, 255, 'icmp', 'type', off);
  needRange(repr.code, 255, 'icmp', 'code', off);
  needRange(repr.rest, 0xffff_ffff, 'icmp', 'rest of header', off);
  buf[off + ICMP_TYPE] = repr.type;
  buf[off + ICMP_CODE] = repr.code;
  setU16(buf, off + ICMP_CHECKSUM, 0);
  setU32(buf, off + ICMP_ECHO_ID, repr.rest);
  return ICMP_SIZE;
}

const UNREACHABLE = ['net unreachable', 'host unreachable', 'protocol unreachable', 'port unreachable'];

/** One line for a checked header. */
export function icmpFormat(buf: Uint8Array, off: number): string {
  const type = icmpType(buf, off);
  const code = icmpCode(buf, off);
  if (type === ICMP_ECHO_REQUEST) return `ICMP echo request id ${icmpId(buf, off)} seq ${icmpSeq(buf, off)}`;
  if (type === ICMP_ECHO_REPLY) return `ICMP echo reply id ${icmpId(buf, off)} seq ${icmpSeq(buf, off)}`;
  if (type === ICMP_UNREACHABLE) {
    if (code === ICMP_FRAGMENTATION_NEEDED) return `ICMP fragmentation needed mtu ${icmpMtu(buf, off)}`;
    if (code === ICMP_PROHIBITED) return 'ICMP prohibited';
    return `ICMP ${UNREACHABLE[code] ?? `unreachable code ${code}`}`;
  }
  if (type === ICMP_TIME_EXCEEDED) return code === 0 ? 'ICMP time exceeded' : 'ICMP reassembly time exceeded';
  return `ICMP type ${type} code ${code}`;
}
