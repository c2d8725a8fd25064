import { u32 } from './bytes.ts';
import { icmpCode, icmpId, icmpSeq, icmpType } from './icmp.ts';

/* ICMPv6 (RFC 4443). The header is read and written by icmp.ts; neighbour discovery stands in nd.ts. */

/** "Packet too big": MTU. */
export const ICMPV6_MTU = 4;
/** "Parameter problem": offset of the fault in the quoted packet. */
export const ICMPV6_POINTER = 4;

export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_PACKET_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_PARAMETER_PROBLEM = 4;
export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
export const ICMPV6_MLD_QUERY = 130;
export const ICMPV6_MLD_REPORT = 131;
export const ICMPV6_MLD_DONE = 132;
export const ICMPV6_ROUTER_SOLICIT = 133;
export const ICMPV6_ROUTER_ADVERT = 134;
export const ICMPV6_NEIGHBOR_SOLICIT = 135;
export const ICMPV6_NEIGHBOR_ADVERT = 136;
export const ICMPV6_REDIRECT = 137;
export const ICMPV6_MLDV2_REPORT = 143;

/* Codes of ICMPV6_UNREACHABLE. */
export const ICMPV6_UNREACHABLE_NO_ROUTE = 0;
export const ICMPV6_UNREACHABLE_PROHIBITED = 1;
export const ICMPV6_UNREACHABLE_SCOPE = 2;
export const ICMPV6_UNREACHABLE_ADDRESS = 3;
export const ICMPV6_UNREACHABLE_PORT = 4;
export const ICMPV6_UNREACHABLE_POLICY = 5;
export const ICMPV6_UNREACHABLE_REJECT = 6;
/* Codes of ICMPV6_TIME_EXCEEDED. */
export const ICMPV6_HOP_LIMIT_EXCEEDED = 0;
export const ICMPV6_REASSEMBLY_EXCEEDED = 1;
/* Codes of ICMPV6_PARAMETER_PROBLEM. */
export const ICMPV6_UNRECOGNIZED_NEXT_HEADER = 1;
export const ICMPV6_UNRECOGNIZED_OPTION = 2;

/** MTU of "packet too big". */
export function icmpv6Mtu(buf: Uint8Array, off: number): number {
  return u32(buf, off + ICMPV6_MTU);
}

/** Whether a type is an error (types below 128, RFC 4443 §2.1). */
export function icmpv6IsError(type: number): boolean {
  return type < 128;
}

/** Whether a type has an identifier: echo. */
export function icmpv6HasId(type: number): boolean {
  return type === ICMPV6_ECHO_REQUEST || type === ICMPV6_ECHO_REPLY;
}

const UNREACHABLE = [
  'no route',
  'prohibited',
  'beyond scope',
  'address unreachable',
  'port unreachable',
  'failed policy',
  'reject route',
];

/** One line for a checked header, without what neighbour discovery adds (ndFormat). */
export function icmpv6Format(buf: Uint8Array, off: number): string {
  const type = icmpType(buf, off);
  const code = icmpCode(buf, off);
  if (type === ICMPV6_ECHO_REQUEST) return `ICMP6 echo request id ${icmpId(buf, off)} seq ${icmpSeq(buf, off)}`;
  if (type === ICMPV6_ECHO_REPLY) return `ICMP6 echo reply id ${icmpId(buf, off)} seq ${icmpSeq(buf, off)}`;
  if (type === ICMPV6_UNREACHABLE) return `ICMP6 ${UNREACHABLE[code] ?? `unreachable code ${code}`}`;
  if (type === ICMPV6_PACKET_TOO_BIG) return `ICMP6 packet too big mtu ${icmpv6Mtu(buf, off)}`;
  if (type === ICMPV6_TIME_EXCEEDED) return code === 0 ? 'ICMP6 time exceeded' : 'ICMP6 reassembly time exceeded';
  if (type === ICMPV6_ROUTER_SOLICIT) return 'ICMP6 router solicitation';
  if (type === ICMPV6_ROUTER_ADVERT) return 'ICMP6 router advertisement';
  if (type === ICMPV6_MLDV2_REPORT) return 'ICMP6 multicast listener report';
  return `ICMP6 type ${type} code ${code}`;
}
