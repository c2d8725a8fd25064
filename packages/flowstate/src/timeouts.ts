/**
 * What has been seen of a connection, and how long it may be idle therefore. Bits are only ever added while a record keeps
 * its version, so hosts that see one direction each come to the same state by joining theirs.
 */
import {
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '@weft/packet';
import { FlowStateError } from './errors.ts';
import { KIND_STICKY } from './tuple.ts';

/** A packet of the return direction has been seen. */
export const SEEN_REPLY = 1;
/** TCP: a SYN of the forward direction. */
export const SEEN_SYN = 2;
/** TCP: the forward direction went on after a reply: the handshake is through, or the connection was older than its record. */
export const SEEN_ESTABLISHED = 4;
export const SEEN_FIN_FORWARD = 8;
export const SEEN_FIN_RETURN = 16;
export const SEEN_RST = 32;
export const SEEN_ALL = 63;

/** State of a connection, derived from protocol and bits. */
export type ConnectionState =
  | 'syn'
  | 'established'
  | 'closing'
  | 'closed'
  | 'reset'
  | 'unreplied'
  | 'replied'
  | 'icmp'
  | 'other'
  | 'sticky'
  | 'tombstone';

/** Idle times in milliseconds. */
export interface Timeouts {
  /** TCP, until the handshake is through. */
  readonly tcpOpening: number;
  /** RFC 5382 REQ-5 asks for 2 hours 4 minutes at least. */
  readonly tcpEstablished: number;
  /** One side has sent its FIN: the other may go on for long. */
  readonly tcpClosing: number;
  /** Both have: as long as late segments may come. */
  readonly tcpClosed: number;
  readonly tcpReset: number;
  readonly udpUnreplied: number;
  /** RFC 4787 REQ-5 asks for 2 minutes at least. */
  readonly udpReplied: number;
  /** RFC 5508 REQ-2 asks for 60 seconds at least. */
  readonly icmp: number;
  readonly other: number;
  /** How long a client keeps its target without connections. */
  readonly sticky: number;
  /** How long a removal is remembered, so that late news of the removed do not bring it back. */
  readonly tombstone: number;
}

export const DEFAULT_TIMEOUTS: Timeouts = {
  tcpOpening: 120_000,
  tcpEstablished: 7_440_000,
  tcpClosing: 240_000,
  tcpClosed: 120_000,
  tcpReset: 10_000,
  udpUnreplied: 30_000,
  udpReplied: 180_000,
  icmp: 60_000,
  other: 600_000,
  sticky: 1_800_000,
  tombstone: 120_000,
};

const NAMES = Object.keys(DEFAULT_TIMEOUTS) as readonly (keyof Timeouts)[];
/** States of live connections, in the order of the classes of {@link timeoutClass}. */
export const LIVE_STATES: readonly ConnectionState[] = [
  'syn',
  'established',
  'closing',
  'closed',
  'reset',
  'unreplied',
  'replied',
  'icmp',
  'other',
  'sticky',
];
const STATES: readonly ConnectionState[] = [...LIVE_STATES, 'tombstone'];
const TOMBSTONE_CLASS = 10;

/** Longest timeout accepted: what a u32 of milliseconds on the wire can say, less a margin (24 days). */
const MAX_TIMEOUT = 0x7fffffff;

/** The timeouts as numbers in the order of the classes of {@link timeoutClass}. @throws FlowStateError */
export function timeoutList(given: Partial<Timeouts> = {}): Float64Array {
  return Float64Array.from(NAMES, (name) => {
    const value = given[name] ?? DEFAULT_TIMEOUTS[name];
    if (!(value >= 1 && value <= MAX_TIMEOUT)) {
      throw new FlowStateError(
        'WEFT_FLOWSTATE_CONFIG',
        `The timeout ${name} must be from 1 to ${MAX_TIMEOUT} ms, not ${value}.`,
      );
    }
    return value;
  });
}

/** Index of the timeout (and state) of a connection. */
export function timeoutClass(kind: number, protocol: number, bits: number, tombstone: boolean): number {
  if (tombstone) return TOMBSTONE_CLASS;
  if (kind === KIND_STICKY) return 9;
  if (protocol === IPPROTO_TCP) {
    if (bits & SEEN_RST) return 4;
    const fins = bits & (SEEN_FIN_FORWARD | SEEN_FIN_RETURN);
    if (fins === (SEEN_FIN_FORWARD | SEEN_FIN_RETURN)) return 3;
    if (fins !== 0) return 2;
    return bits & SEEN_ESTABLISHED ? 1 : 0;
  }
  if (protocol === IPPROTO_UDP || protocol === IPPROTO_UDPLITE) return bits & SEEN_REPLY ? 6 : 5;
  return protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6 ? 7 : 8;
}

export function connectionState(kind: number, protocol: number, bits: number, tombstone: boolean): ConnectionState {
  return STATES[timeoutClass(kind, protocol, bits, tombstone)];
}

/**
 * The bits after a packet.
 * @param isReturn it went in the return direction
 * @param tcpFlags flags of its TCP header (TCP_… of `@weft/packet`); 0 if it is not TCP or the flags are not known
 */
export function bitsAfter(bits: number, protocol: number, isReturn: boolean, tcpFlags: number): number {
  let after = isReturn ? bits | SEEN_REPLY : bits;
  if (protocol !== IPPROTO_TCP) return after;
  const isSyn = (tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
  if (isReturn) {
    // A reply that is neither SYN nor RST: the connection was there before its record.
    if ((bits & SEEN_SYN) === 0 && (tcpFlags & (TCP_SYN | TCP_RST)) === 0) after |= SEEN_ESTABLISHED;
  } else if (isSyn) after |= SEEN_SYN;
  else if (bits & SEEN_REPLY && (tcpFlags & TCP_RST) === 0) after |= SEEN_ESTABLISHED;
  if (tcpFlags & TCP_FIN) after |= isReturn ? SEEN_FIN_RETURN : SEEN_FIN_FORWARD;
  if (tcpFlags & TCP_RST) after |= SEEN_RST;
  return after;
}
