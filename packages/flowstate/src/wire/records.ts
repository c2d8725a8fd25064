/**
 * Bodies that carry records (MSG_STATE, MSG_SYNC_DATA, MSG_ANSWER):
 *
 *   0  what it is about: number of the synchronisation or of the ask; of MSG_STATE the low 32 bits of the sequence number of the
 *      MSG_RESEND that it answers, or 0
 *   4  how many UUIDs stand at the end of the body
 *   5  records, header.count of them
 *   …  UUIDs, 16 bytes each: a record names them by a byte, from 1; 0 is none
 *
 * A record:
 *
 *   0  shape: 1 IPv6, 2 has a return tuple of its own, 4 tombstone, 8 no return key, 16 has a token, 32 keep
 *   1  kind, protocol, then the UUIDs of device, owner, ingress port, egress port, rule: a byte each
 *   8  seen bits (16 bits)            14  version
 *  10  epoch                          18  milliseconds until it expires
 *                                     22  milliseconds since it began
 *  26  source, destination (4 or 16 bytes each), source port, destination port;
 *      the same of the return tuple; the token (32 bits)
 */
import { type ConnectionRecord, FLAG_KEEP, FLAG_NO_RETURN, FLAG_TOMBSTONE, R_RETURN } from '../record.ts';
import { SEEN_ALL } from '../timeouts.ts';
import { KIND_LAST, KIND_SNAT, T_DST, T_PORTS, T_SRC, tupleMeta } from '../tuple.ts';
import type { UuidTable } from '../uuid-table.ts';
import { wordsAreV4 } from '../words.ts';
import {
  BODY_SIZE,
  DATAGRAM_SIZE,
  getAddress,
  getU16,
  getU32,
  HEADER_SIZE,
  putAddress,
  putU16,
  putU32,
  WIRE_FIELD,
  WIRE_LENGTH,
  WIRE_NO_ROOM,
  WIRE_OK,
  type WireHeader,
} from './header.ts';

const SHAPE_V6 = 1;
const SHAPE_RETURN = 2;
const SHAPE_TOMBSTONE = 4;
const SHAPE_NO_RETURN = 8;
const SHAPE_TOKEN = 16;
const SHAPE_KEEP = 32;
const SHAPE_ALL = 63;

const FIXED = 26;
const PREFIX = 5;
/** Most bytes of a record. */
const RECORD_MAX = FIXED + 2 * 36 + 4;
const MAX_UUIDS = 255;

function clampU32(value: number): number {
  return value < 0 ? 0 : value > 0xffffffff ? 0xffffffff : Math.floor(value);
}

/** Puts records into datagrams. Make one, use it again. */
export class RecordWriter {
  /** The datagram; the header is written by who sends it. */
  readonly bytes = new Uint8Array(DATAGRAM_SIZE);
  /** Records so far: `header.count`. */
  count = 0;
  private at = 0;
  private about = 0;
  private readonly uuids: UuidTable;
  private readonly names = new Int32Array(MAX_UUIDS + 1);
  private nameCount = 0;
  /** Of a number of a UUID: round << 8 | its byte in this datagram. */
  private readonly byteOf: Int32Array;
  private round = 0;

  constructor(uuids: UuidTable) {
    this.uuids = uuids;
    this.byteOf = new Int32Array(uuids.capacity + 1);
  }

  /** Starts a datagram. @param about number of the synchronisation, ask or resend request, or 0 */
  begin(about = 0): void {
    this.about = about;
    this.count = 0;
    this.nameCount = 0;
    this.at = HEADER_SIZE + PREFIX;
    this.round = (this.round + 1) & 0x7fffff;
    if (this.round === 0) {
      this.byteOf.fill(0);
      this.round = 1;
    }
  }

  /** Adds a record. Returns false if it has no room: finish, begin the next. */
  add(record: ConnectionRecord): boolean {
    const { bytes, at } = this;
    // Room for the largest, and for five new names.
    if (at + RECORD_MAX + (this.nameCount + 5) * 16 > HEADER_SIZE + BODY_SIZE || this.nameCount + 5 > MAX_UUIDS) {
      return false;
    }
    const { words, flags } = record;
    const v6 = !(
      wordsAreV4(words, T_SRC) &&
      wordsAreV4(words, T_DST) &&
      wordsAreV4(words, R_RETURN + 1) &&
      wordsAreV4(words, R_RETURN + 5)
    );
    const translated = !isReverse(words);
    let shape = v6 ? SHAPE_V6 : 0;
    if (translated) shape |= SHAPE_RETURN;
    if (flags & FLAG_TOMBSTONE) shape |= SHAPE_TOMBSTONE;
    if (flags & FLAG_NO_RETURN) shape |= SHAPE_NO_RETURN;
    if (flags & FLAG_KEEP) shape |= SHAPE_KEEP;
    if (record.token !== 0) shape |= SHAPE_TOKEN;
    bytes[at] = shape;
    bytes[at + 1] = record.kind;
    bytes[at + 2] = record.protocol;
    bytes[at + 3] = this.nameByte(record.device);
    bytes[at + 4] = this.nameByte(record.owner);
    bytes[at + 5] = this.nameByte(record.ingress);
    bytes[at + 6] = this.nameByte(record.egress);
    bytes[at + 7] = this.nameByte(record.rule);
    putU16(bytes, at + 8, record.bits);
    putU32(bytes, at + 10, record.epoch);
    putU32(bytes, at + 14, record.version);
    putU32(bytes, at + 18, clampU32(record.remaining));
    putU32(bytes, at + 22, clampU32(record.age));
    let to = putAddress(words, T_SRC, bytes, at + FIXED, v6);
    to = putAddress(words, T_DST, bytes, to, v6);
    putU32(bytes, to, words[T_PORTS]);
    to += 4;
    if (translated) {
      to = putAddress(words, R_RETURN + 1, bytes, to, v6);
      to = putAddress(words, R_RETURN + 5, bytes, to, v6);
      putU32(bytes, to, words[R_RETURN]);
      to += 4;
    }
    if (record.token !== 0) {
      putU32(bytes, to, record.token);
      to += 4;
    }
    this.at = to;
    this.count++;
    return true;
  }

  /** Ends the body. Returns its size: `header.bodySize`. */
  finish(): number {
    const { bytes } = this;
    putU32(bytes, HEADER_SIZE, this.about);
    bytes[HEADER_SIZE + 4] = this.nameCount;
    for (let i = 1; i <= this.nameCount; i++) this.uuids.write(this.names[i], bytes, this.at + (i - 1) * 16);
    return this.at + this.nameCount * 16 - HEADER_SIZE;
  }

  private nameByte(n: number): number {
    if (n === 0) return 0;
    const known = this.byteOf[n];
    if (known >>> 8 === this.round) return known & 0xff;
    const byte = ++this.nameCount;
    this.names[byte] = n;
    this.byteOf[n] = (this.round << 8) | byte;
    return byte;
  }
}

function isReverse(words: Int32Array): boolean {
  const ports = words[T_PORTS];
  if (words[R_RETURN] !== ((ports << 16) | (ports >>> 16))) return false;
  for (let i = 0; i < 4; i++) {
    if (words[R_RETURN + 1 + i] !== words[T_DST + i] || words[R_RETURN + 5 + i] !== words[T_SRC + i]) return false;
  }
  return true;
}

/** Takes records out of datagrams. Whatever the bytes, it reads nothing outside the body. Make one, use it again. */
export class RecordReader {
  about = 0;
  private readonly uuids: UuidTable;
  private readonly names = new Int32Array(MAX_UUIDS + 1);
  private nameCount = 0;
  private bytes: Uint8Array = new Uint8Array(0);
  private at = 0;
  private end = 0;
  private left = 0;

  constructor(uuids: UuidTable) {
    this.uuids = uuids;
  }

  /** Starts on a datagram whose header was read and whose authentication is right. Returns WIRE_OK or one of WIRE_…. */
  open(bytes: Uint8Array, header: WireHeader): number {
    const end = HEADER_SIZE + header.bodySize;
    this.left = 0;
    if (end > bytes.length || header.bodySize < PREFIX) return WIRE_LENGTH;
    this.about = getU32(bytes, HEADER_SIZE);
    this.nameCount = bytes[HEADER_SIZE + 4];
    this.bytes = bytes;
    this.at = HEADER_SIZE + PREFIX;
    this.end = end - this.nameCount * 16;
    if (this.end < this.at || header.count * (FIXED + 12) > this.end - this.at) return WIRE_LENGTH;
    for (let i = 1; i <= this.nameCount; i++) {
      const n = this.uuids.intern(bytes, this.end + (i - 1) * 16);
      if (n === 0) return WIRE_NO_ROOM;
      this.names[i] = n;
    }
    this.left = header.count;
    return WIRE_OK;
  }

  /** Reads the next record. Returns 1, 0 at the end, or one of WIRE_… (then there is nothing more to read). */
  next(record: ConnectionRecord): number {
    const { bytes, at } = this;
    if (this.left === 0) {
      if (this.at === this.end) return 0;
      this.at = this.end;
      return WIRE_LENGTH;
    }
    this.left--;
    const size = at + FIXED > this.end ? 0 : shapeSize(bytes[at]);
    if (size === 0 || at + size > this.end) return this.fail(WIRE_LENGTH);
    const shape = bytes[at];
    const kind = bytes[at + 1];
    if (shape & ~SHAPE_ALL || kind === 0 || kind > KIND_LAST) return this.fail(WIRE_FIELD);
    for (let i = 3; i < 8; i++) if (bytes[at + i] > this.nameCount) return this.fail(WIRE_FIELD);
    const device = this.names[bytes[at + 3]];
    const bits = getU16(bytes, at + 8);
    if (bytes[at + 3] === 0 || bytes[at + 4] === 0 || bits & ~SEEN_ALL) return this.fail(WIRE_FIELD);
    if (shape & SHAPE_TOKEN && kind !== KIND_SNAT) return this.fail(WIRE_FIELD);
    const { words } = record;
    const v6 = (shape & SHAPE_V6) !== 0;
    words[0] = tupleMeta(kind, device, bytes[at + 2]);
    record.owner = this.names[bytes[at + 4]];
    record.ingress = this.name(at + 5);
    record.egress = this.name(at + 6);
    record.rule = this.name(at + 7);
    record.bits = bits;
    record.epoch = getU32(bytes, at + 10);
    record.version = getU32(bytes, at + 14);
    record.remaining = getU32(bytes, at + 18);
    record.age = getU32(bytes, at + 22);
    record.flags =
      (shape & SHAPE_TOMBSTONE ? FLAG_TOMBSTONE : 0) |
      (shape & SHAPE_NO_RETURN ? FLAG_NO_RETURN : 0) |
      (shape & SHAPE_KEEP ? FLAG_KEEP : 0);
    let from = getAddress(bytes, at + FIXED, words, T_SRC, v6);
    from = getAddress(bytes, from, words, T_DST, v6);
    const ports = getU32(bytes, from);
    words[T_PORTS] = ports;
    from += 4;
    if (shape & SHAPE_RETURN) {
      from = getAddress(bytes, from, words, R_RETURN + 1, v6);
      from = getAddress(bytes, from, words, R_RETURN + 5, v6);
      words[R_RETURN] = getU32(bytes, from);
      from += 4;
    } else {
      words[R_RETURN] = (ports << 16) | (ports >>> 16);
      for (let i = 0; i < 4; i++) {
        words[R_RETURN + 1 + i] = words[T_DST + i];
        words[R_RETURN + 5 + i] = words[T_SRC + i];
      }
    }
    record.token = shape & SHAPE_TOKEN ? getU32(bytes, from) : 0;
    if (record.epoch === 0 || (shape & SHAPE_TOKEN && record.token === 0)) return this.fail(WIRE_FIELD);
    this.at = at + size;
    return 1;
  }

  private name(at: number): number {
    const byte = this.bytes[at];
    return byte === 0 ? 0 : this.names[byte];
  }

  private fail(result: number): number {
    this.left = 0;
    this.at = this.end;
    return result;
  }
}

function shapeSize(shape: number): number {
  const tuple = shape & SHAPE_V6 ? 36 : 12;
  return FIXED + tuple + (shape & SHAPE_RETURN ? tuple : 0) + (shape & SHAPE_TOKEN ? 4 : 0);
}
