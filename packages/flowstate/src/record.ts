import { mixWord } from './hash.ts';
import { T_DST, T_PORTS, T_SRC, TUPLE_WORDS, tupleDevice, tupleKind, tupleProtocol } from './tuple.ts';

/*
 * Layout of a record in the table: 32 words, two cache lines. Times are float64 milliseconds of the table's clock.
 *
 *   0…9    forward tuple                 19   seen bits | flags << 16     24, 25  ingress and egress port
 *   10     ports of the return tuple     20   owner host                  26      rule
 *   11…14  its source                    21   epoch                       27      check word
 *   15…18  its destination               22   version                     28, 29  last seen
 *                                        23   token of the NAT block      30, 31  created
 */
export const RECORD_WORDS = 32;
export const R_RETURN = 10;
export const R_BITS = 19;
export const R_OWNER = 20;
export const R_EPOCH = 21;
export const R_VERSION = 22;
export const R_TOKEN = 23;
export const R_INGRESS = 24;
export const R_EGRESS = 25;
export const R_RULE = 26;
export const R_CHECK = 27;
/** Of a Float64Array over the records: 16 numbers a record. */
export const R_LAST_SEEN_F64 = 14;
export const R_CREATED_F64 = 15;

/** The place holds a record. */
export const FLAG_LIVE = 1;
/** The record is a removal that is remembered: lookups pass it over. */
export const FLAG_TOMBSTONE = 2;
/** It is known by its forward tuple only (KIND_STICKY). */
export const FLAG_NO_RETURN = 4;
/** Another record may have one of its keys: lookups compare all. */
export const FLAG_SHARED = 8;
/** Its owner did not send it (an answer of a third host): it is left out of the owner's digest. */
export const FLAG_ASIDE = 16;
/** It counts against the cap of its ingress port. */
export const FLAG_CAPPED = 32;
/** Its rule lets established connections finish when rules change (`onChange`). */
export const FLAG_KEEP = 64;
/** What peers are told. */
export const WIRE_FLAGS = FLAG_TOMBSTONE | FLAG_NO_RETURN | FLAG_KEEP;
/** What a damaged record is known by. */
const CHECKED_FLAGS = FLAG_LIVE | FLAG_TOMBSTONE | FLAG_NO_RETURN | FLAG_CAPPED | FLAG_KEEP;

/**
 * A record outside the table: what is inserted, applied, sent and read back. Make one, use it again and again. UUIDs stand as
 * numbers of the UuidTable.
 */
export class ConnectionRecord {
  /** Forward tuple (10 words), then ports, source and destination of the return tuple (9 words). */
  readonly words = new Int32Array(TUPLE_WORDS + 9);
  /** SEEN_… bits. */
  bits = 0;
  /** FLAG_TOMBSTONE, FLAG_NO_RETURN, FLAG_KEEP. */
  flags = 0;
  owner = 0;
  /** Unsigned 32-bit; see the README, "Order of versions". */
  epoch = 0;
  version = 0;
  /** Token of the block that the translated source port comes from, unsigned 32-bit; 0: from no block. */
  token = 0;
  ingress = 0;
  egress = 0;
  rule = 0;
  /** Milliseconds until it expires, if nothing is seen of it. */
  remaining = 0;
  /** Milliseconds since the connection began. */
  age = 0;

  /** A fresh record with the forward tuple at `words[at …]`; the return tuple is its reverse until a translation is set. */
  begin(words: Int32Array, at: number): this {
    const own = this.words;
    for (let i = 0; i < TUPLE_WORDS; i++) own[i] = words[at + i];
    const ports = own[T_PORTS];
    own[R_RETURN] = (ports << 16) | (ports >>> 16);
    for (let i = 0; i < 4; i++) {
      own[R_RETURN + 1 + i] = own[T_DST + i];
      own[R_RETURN + 5 + i] = own[T_SRC + i];
    }
    this.bits = 0;
    this.flags = 0;
    this.owner = 0;
    this.epoch = 0;
    this.version = 0;
    this.token = 0;
    this.ingress = 0;
    this.egress = 0;
    this.rule = 0;
    this.remaining = 0;
    this.age = 0;
    return this;
  }

  /** Sets the return tuple: `words[at …]` is that of an answer to what left the device. */
  setReturn(words: Int32Array, at: number): this {
    for (let i = 0; i < 9; i++) this.words[R_RETURN + i] = words[at + T_PORTS + i];
    return this;
  }

  /** The packet left with this source: four words of address, port or echo identifier. */
  translateSource(address: Int32Array, at: number, port: number): this {
    for (let i = 0; i < 4; i++) this.words[R_RETURN + 5 + i] = address[at + i];
    const both = tupleIsEcho(this.words);
    this.words[R_RETURN] = both ? (port << 16) | port : (this.words[R_RETURN] & (0xffff << 16)) | port;
    return this;
  }

  /** The packet left for this destination; of an echo the identifier stays. */
  translateDestination(address: Int32Array, at: number, port: number): this {
    for (let i = 0; i < 4; i++) this.words[R_RETURN + 1 + i] = address[at + i];
    if (!tupleIsEcho(this.words)) this.words[R_RETURN] = (port << 16) | (this.words[R_RETURN] & 0xffff);
    return this;
  }

  get device(): number {
    return tupleDevice(this.words[0]);
  }
  get kind(): number {
    return tupleKind(this.words[0]);
  }
  get protocol(): number {
    return tupleProtocol(this.words[0]);
  }
}

/** ICMP and ICMPv6: both "ports" are one identifier. */
function tupleIsEcho(words: Int32Array): boolean {
  const protocol = tupleProtocol(words[0]);
  return protocol === 1 || protocol === 58;
}

/** Check word over what does not change while a record keeps its version. */
export function recordCheck(words: Int32Array, at: number): number {
  let h = 0x57465231;
  for (let i = 0; i < R_BITS; i++) h = mixWord(h, words[at + i]);
  h = mixWord(h, (words[at + R_BITS] >>> 16) & CHECKED_FLAGS);
  for (let i = R_OWNER; i < R_CHECK; i++) h = mixWord(h, words[at + i]);
  return h | 1;
}
