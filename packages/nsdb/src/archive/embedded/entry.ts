/**
 * An entry of a port's log:
 *
 *   0  CRC-32 of all that follows       8  format (1)               16  boot, 48 bits          24  steady clock, ms, float64
 *   4  length of the whole              9  1: a removal             22  zero                   32  wall clock, ms, float64
 *                                      12  remaining lifetime, ms                              40  body (codec.ts)
 *
 * A log is read up to the first entry that is not whole: what follows it was being written when the machine or the disk failed.
 */
import { crc32 } from 'node:zlib';
import { decodeBody, MAX_BODY } from '../codec.ts';
import type { ArchivedRecord } from '../contract.ts';
import type { Stamp } from './clock.ts';

const FORMAT = 1;
const HEADER = 40;
export const MAX_ENTRY = HEADER + MAX_BODY;

export interface Entry {
  readonly removal: boolean;
  /** When `remaining` was right. */
  readonly stamp: Stamp;
  readonly remaining: number;
  readonly body: Buffer;
  readonly record: Omit<ArchivedRecord, 'remaining'>;
}

export function encodeEntry({ removal, stamp, remaining, body }: Omit<Entry, 'record'>): Buffer {
  const out = Buffer.alloc(HEADER + body.length);
  out.writeUInt32BE(out.length, 4);
  out[8] = FORMAT;
  out[9] = removal ? 1 : 0;
  out.writeUInt32BE(Math.max(0, Math.round(remaining)), 12);
  out.writeUIntBE(stamp.boot, 16, 6);
  out.writeDoubleBE(stamp.steady, 24);
  out.writeDoubleBE(stamp.wall, 32);
  out.set(body, HEADER);
  out.writeUInt32BE(crc32(out.subarray(4)), 0);
  return out;
}

/**
 * The entry at the start of `bytes`, or why there is none: more bytes are needed, or these are none. Entries keep a copy of their body.
 */
export function decodeEntry(bytes: Buffer): Entry | 'short' | 'damaged' {
  if (bytes.length < HEADER) return 'short';
  const length = bytes.readUInt32BE(4);
  if (length < HEADER || length > MAX_ENTRY) return 'damaged';
  if (bytes.length < length) return 'short';
  if (bytes[8] !== FORMAT || bytes[9]! > 1 || crc32(bytes.subarray(4, length)) !== bytes.readUInt32BE(0))
    return 'damaged';
  const body = Buffer.from(bytes.subarray(HEADER, length));
  const record = decodeBody(body);
  if (record === undefined) return 'damaged';
  const stamp = { boot: bytes.readUIntBE(16, 6), steady: bytes.readDoubleBE(24), wall: bytes.readDoubleBE(32) };
  return { removal: bytes[9] === 1, stamp, remaining: bytes.readUInt32BE(12), body, record };
}

/** Bytes of the entry in a log. */
export function entryBytes(entry: Entry): number {
  return HEADER + entry.body.length;
}
