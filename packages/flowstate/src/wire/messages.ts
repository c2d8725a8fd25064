/**
 * The bodies without records. A `write…` function returns the size of the body (`header.bodySize`), which stands behind the place of
 * the header; a `read…` function returns WIRE_OK or one of WIRE_…, whatever the bytes.
 */
import { DIGEST_BUCKETS, DIGEST_WORDS } from '../digest.ts';
import {
  KIND_LAST,
  T_DST,
  T_PORTS,
  T_SRC,
  TUPLE_WORDS,
  tupleDevice,
  tupleKind,
  tupleMeta,
  tupleProtocol,
} from '../tuple.ts';
import type { UuidTable } from '../uuid-table.ts';
import {
  BODY_SIZE,
  getAddress,
  getU32,
  HEADER_SIZE,
  putAddress,
  putU32,
  readSequence,
  WIRE_FIELD,
  WIRE_LENGTH,
  WIRE_OK,
  type WireHeader,
  writeSequence,
} from './header.ts';

const BODY = HEADER_SIZE;

function fits(bytes: Uint8Array, header: WireHeader, size: number): boolean {
  return header.bodySize === size && BODY + size <= bytes.length;
}

/* MSG_DIGEST: how many records, then the sums. */

const DIGEST_SIZE = 4 + DIGEST_WORDS * 4;

export function writeDigest(bytes: Uint8Array, count: number, sums: Int32Array): number {
  putU32(bytes, BODY, count);
  for (let i = 0; i < DIGEST_WORDS; i++) putU32(bytes, BODY + 4 + i * 4, sums[i]);
  return DIGEST_SIZE;
}

/** @param sums DIGEST_WORDS words, filled */
export function readDigest(bytes: Uint8Array, header: WireHeader, sums: Int32Array): number {
  if (!fits(bytes, header, DIGEST_SIZE)) return WIRE_LENGTH;
  for (let i = 0; i < DIGEST_WORDS; i++) sums[i] = getU32(bytes, BODY + 4 + i * 4);
  return WIRE_OK;
}

/** How many records the sender of a digest has; after {@link readDigest}. */
export function digestCount(bytes: Uint8Array): number {
  return getU32(bytes, BODY);
}

/* MSG_LIST_REQUEST: a bit per bucket. */

const BITSET_SIZE = DIGEST_BUCKETS / 8;

/** @param buckets two words, as of {@link differingBuckets} */
export function writeListRequest(bytes: Uint8Array, buckets: Int32Array): number {
  putU32(bytes, BODY, buckets[0]);
  putU32(bytes, BODY + 4, buckets[1]);
  return BITSET_SIZE;
}

export function readListRequest(bytes: Uint8Array, header: WireHeader, buckets: Int32Array): number {
  if (!fits(bytes, header, BITSET_SIZE)) return WIRE_LENGTH;
  buckets[0] = getU32(bytes, BODY);
  buckets[1] = getU32(bytes, BODY + 4);
  return WIRE_OK;
}

/*
 * Rows of words: MSG_LIST (name, epoch, version: 4 words a row), MSG_WANT (name: 2 words a row). `header.count` is the number
 * of rows.
 */

export const LIST_ROW = 4;
export const WANT_ROW = 2;

/** How many rows of `rowWords` words a datagram holds. */
export function rowsPerDatagram(rowWords: number): number {
  return Math.floor(BODY_SIZE / (rowWords * 4));
}

/** @param rows `count` rows at `from`; at most {@link rowsPerDatagram} */
export function writeRows(bytes: Uint8Array, rowWords: number, rows: Int32Array, from: number, count: number): number {
  const n = count * rowWords;
  for (let i = 0; i < n; i++) putU32(bytes, BODY + i * 4, rows[from + i]);
  return n * 4;
}

/** @param rows filled from its start; holds {@link rowsPerDatagram} rows */
export function readRows(bytes: Uint8Array, header: WireHeader, rowWords: number, rows: Int32Array): number {
  const n = header.count * rowWords;
  if (!fits(bytes, header, n * 4) || n > rows.length) return WIRE_LENGTH;
  for (let i = 0; i < n; i++) rows[i] = getU32(bytes, BODY + i * 4);
  return WIRE_OK;
}

/*
 * MSG_RESEND: ranges of sequence numbers, first and last, 16 bytes each. The answer is MSG_STATE, about the low 32 bits of the
 * sequence number of the request.
 */

export const RESEND_RANGES = 32;
/** Most sequence numbers that a request names. */
export const RESEND_NUMBERS = 64;

/** @param ranges first and last of each, at most {@link RESEND_RANGES} */
export function writeResend(bytes: Uint8Array, ranges: Float64Array, count: number): number {
  for (let i = 0; i < count * 2; i++) writeSequence(bytes, BODY + i * 8, ranges[i]);
  return count * 16;
}

/** @param ranges two numbers for each of RESEND_RANGES, filled from the start */
export function readResend(bytes: Uint8Array, header: WireHeader, ranges: Float64Array): number {
  if (header.count > RESEND_RANGES || !fits(bytes, header, header.count * 16)) return WIRE_LENGTH;
  for (let i = 0; i < header.count * 2; i++) ranges[i] = readSequence(bytes, BODY + i * 8);
  let numbers = 0;
  for (let i = 0; i < header.count; i++) {
    if (ranges[i * 2] > ranges[i * 2 + 1] || ranges[i * 2 + 1] > Number.MAX_SAFE_INTEGER) return WIRE_FIELD;
    numbers += ranges[i * 2 + 1] - ranges[i * 2] + 1;
  }
  return numbers > RESEND_NUMBERS ? WIRE_FIELD : WIRE_OK;
}

/* MSG_SYNC_REQUEST: number of the synchronisation. MSG_SYNC_END: the number, and how many records were sent. */

export function writeSync(bytes: Uint8Array, sync: number, records: number): number {
  putU32(bytes, BODY, sync);
  putU32(bytes, BODY + 4, records);
  return 8;
}

/** @param out [number of the synchronisation, records], filled */
export function readSync(bytes: Uint8Array, header: WireHeader, out: Float64Array): number {
  if (!fits(bytes, header, 8)) return WIRE_LENGTH;
  out[0] = getU32(bytes, BODY);
  out[1] = getU32(bytes, BODY + 4);
  return WIRE_OK;
}

/* MSG_ASK: number of the ask, kind, protocol, UUID of the device, addresses of 16 bytes, ports. */

const ASK_SIZE = 4 + 4 + 16 + 32 + 4;

/** @param words tuple of the packet that missed */
export function writeAsk(bytes: Uint8Array, ask: number, words: Int32Array, at: number, uuids: UuidTable): number {
  putU32(bytes, BODY, ask);
  bytes.fill(0, BODY + 4, BODY + 8);
  bytes[BODY + 4] = tupleKind(words[at]);
  bytes[BODY + 5] = tupleProtocol(words[at]);
  uuids.write(tupleDevice(words[at]), bytes, BODY + 8);
  putAddress(words, at + T_SRC, bytes, BODY + 24, true);
  putAddress(words, at + T_DST, bytes, BODY + 40, true);
  putU32(bytes, BODY + 56, words[at + T_PORTS]);
  return ASK_SIZE;
}

/** What a peer asks. */
export class Ask {
  /** To be given back in the answer. */
  number = 0;
  readonly words = new Int32Array(TUPLE_WORDS);
  /** Whether this host has ever heard of the device: if not, nothing is known. */
  deviceKnown = false;
}

export function readAsk(bytes: Uint8Array, header: WireHeader, uuids: UuidTable, out: Ask): number {
  if (!fits(bytes, header, ASK_SIZE)) return WIRE_LENGTH;
  const kind = bytes[BODY + 4];
  if (kind === 0 || kind > KIND_LAST || bytes[BODY + 6] !== 0 || bytes[BODY + 7] !== 0) return WIRE_FIELD;
  // Asks make no names: a peer cannot fill the table with them.
  const device = uuids.find(bytes, BODY + 8);
  out.number = getU32(bytes, BODY);
  out.deviceKnown = device !== 0;
  out.words[0] = tupleMeta(kind, device, bytes[BODY + 5]);
  getAddress(bytes, BODY + 24, out.words, T_SRC, true);
  getAddress(bytes, BODY + 40, out.words, T_DST, true);
  out.words[T_PORTS] = getU32(bytes, BODY + 56);
  return WIRE_OK;
}
