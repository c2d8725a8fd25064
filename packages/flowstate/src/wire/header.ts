/**
 * The header of a datagram between two hosts. All numbers in network byte order.
 *
 *    0  'W' 'F'                  24  incarnation of the sender
 *    2  version of the format    28  incarnation of the receiver, as the sender knows it; 0: unknown
 *    3  type                     32  sequence number, 64 bits: grows with each datagram to this receiver
 *    4  count of what follows    40  body
 *    6  bytes of the body        behind it 16 bytes of authentication over all before
 *    8  UUID of the sender
 */
import { putWord, wordAt } from '../words.ts';

export const WIRE_VERSION = 1;
export const HEADER_SIZE = 40;
export const TAG_SIZE = 16;
/** Most bytes of a datagram: with tunnel headers it passes an underlay of 1,500. */
export const DATAGRAM_SIZE = 1400;
/** Most bytes of a body. */
export const BODY_SIZE = DATAGRAM_SIZE - HEADER_SIZE - TAG_SIZE;

/** "I am here, with this incarnation": no body. */
export const MSG_HELLO = 1;
/** Records and tombstones that changed. */
export const MSG_STATE = 2;
/** Records of a full synchronisation. */
export const MSG_SYNC_DATA = 3;
/** Answer to an ask: the records found, or none. */
export const MSG_ANSWER = 4;
/** "Send me all that I should have." */
export const MSG_SYNC_REQUEST = 5;
/** "That was all." */
export const MSG_SYNC_END = 6;
/** The 64 sums over the sender's own records that the receiver should have. */
export const MSG_DIGEST = 7;
/** "Which versions do you have in these buckets?" */
export const MSG_LIST_REQUEST = 8;
/** Names and versions of the records in some buckets. */
export const MSG_LIST = 9;
/** "Send me the records with these names." */
export const MSG_WANT = 10;
/** "Send me again what was in these datagrams." */
export const MSG_RESEND = 11;
/** "Who knows this tuple?" */
export const MSG_ASK = 12;
const MSG_LAST = 12;

/* Why a datagram was not understood. */

export const WIRE_OK = 0;
/** It ends too early. */
export const WIRE_TRUNCATED = -1;
/** It is none of ours. */
export const WIRE_NOT_OURS = -2;
/** Its format is another version: upgrade this host, or the sender. */
export const WIRE_OTHER_VERSION = -3;
/** A type that is not known. */
export const WIRE_TYPE = -4;
/** Its lengths contradict each other. */
export const WIRE_LENGTH = -5;
/** A field has a value that it cannot have. */
export const WIRE_FIELD = -6;
/** It names more devices, ports and hosts than this host can know. */
export const WIRE_NO_ROOM = -7;

const WORDS: readonly string[] = [
  'understood',
  'truncated',
  'not a flow-state datagram',
  'of another version',
  'of an unknown type',
  'of a wrong length',
  'with an impossible field',
  'with more names than there is room for',
];

/** A result of the functions that read datagrams, in words. */
export function wireResultText(result: number): string {
  return WORDS[-result] ?? `result ${result}`;
}

/** A header, taken apart. Make one, use it again. */
export class WireHeader {
  type = 0;
  count = 0;
  /** Bytes of the body. */
  bodySize = 0;
  readonly sender = new Uint8Array(16);
  senderIncarnation = 0;
  receiverIncarnation = 0;
  /** Below 2^53. */
  sequence = 0;
}

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function getU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function getU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** Writes a header at the start of a datagram. Numbers are unsigned; `sequence` is below 2^53. */
export function writeHeader(header: WireHeader, bytes: Uint8Array): void {
  bytes[0] = 0x57;
  bytes[1] = 0x46;
  bytes[2] = WIRE_VERSION;
  bytes[3] = header.type;
  putU16(bytes, 4, header.count);
  putU16(bytes, 6, header.bodySize);
  bytes.set(header.sender, 8);
  putU32(bytes, 24, header.senderIncarnation);
  putU32(bytes, 28, header.receiverIncarnation);
  writeSequence(bytes, 32, header.sequence);
}

/**
 * Reads the header of a datagram of `length` bytes, authentication included. It says nothing of its truth: check the
 * authentication next ({@link PeerKeys.verify}), then the session ({@link PeerSession.accept}).
 * @returns WIRE_OK or one of WIRE_…
 */
export function readHeader(bytes: Uint8Array, length: number, out: WireHeader): number {
  if (length < HEADER_SIZE + TAG_SIZE || length > bytes.length) return WIRE_TRUNCATED;
  if (bytes[0] !== 0x57 || bytes[1] !== 0x46) return WIRE_NOT_OURS;
  if (bytes[2] !== WIRE_VERSION) return WIRE_OTHER_VERSION;
  out.type = bytes[3];
  if (out.type === 0 || out.type > MSG_LAST) return WIRE_TYPE;
  out.count = getU16(bytes, 4);
  out.bodySize = getU16(bytes, 6);
  if (HEADER_SIZE + out.bodySize + TAG_SIZE !== length || length > DATAGRAM_SIZE) return WIRE_LENGTH;
  for (let i = 0; i < 16; i++) out.sender[i] = bytes[8 + i];
  out.senderIncarnation = getU32(bytes, 24);
  out.receiverIncarnation = getU32(bytes, 28);
  if (out.senderIncarnation === 0 || bytes[32] !== 0 || bytes[33] > 0x1f) return WIRE_FIELD;
  out.sequence = readSequence(bytes, 32);
  return WIRE_OK;
}

/** A sequence number as 64 bits. */
export function writeSequence(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, Math.floor(value / 0x1_0000_0000));
  putU32(bytes, at + 4, value >>> 0);
}

/** Exact below 2^53; larger numbers are rounded. */
export function readSequence(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) * 0x1_0000_0000 + getU32(bytes, at + 4);
}

/** Copies a table's address, four words at `from`, to bytes: all 16, or the last four of an IPv4 address. */
export function putAddress(words: Int32Array, from: number, bytes: Uint8Array, at: number, v6: boolean): number {
  if (!v6) {
    putWord(bytes, at, words[from + 3]);
    return at + 4;
  }
  for (let i = 0; i < 4; i++) putWord(bytes, at + i * 4, words[from + i]);
  return at + 16;
}

/** The inverse of {@link putAddress}. */
export function getAddress(bytes: Uint8Array, at: number, words: Int32Array, to: number, v6: boolean): number {
  if (!v6) {
    words[to] = 0;
    words[to + 1] = 0;
    words[to + 2] = 0xffff0000 | 0;
    words[to + 3] = wordAt(bytes, at);
    return at + 4;
  }
  for (let i = 0; i < 4; i++) words[to + i] = wordAt(bytes, at + i * 4);
  return at + 16;
}
