/**
 * The table of connections: records, found by both of their tuples.
 *
 * Longer than other files because all that belongs to a record (two index entries, its timer, block, audience, digests, its port's
 * count, the list of tombstones) changes in one step or not at all: what could change one of them from outside could leave a
 * connection half forgotten. What stands for itself has its own file: index, wheel, blocks, audiences, digests, memory.
 */
import { AudienceTable } from './audience.ts';
import { BLOCK_PORTS, BlockTable } from './block-table.ts';
import { DigestSet, digestBucket, digestWord } from './digest.ts';
import { FlowStateError, needInteger } from './errors.ts';
import { finish, mixWord, tupleHash } from './hash.ts';
import { Memory, sizesOf, type TableOptions } from './memory.ts';
import {
  type ConnectionRecord,
  FLAG_ASIDE,
  FLAG_CAPPED,
  FLAG_LIVE,
  FLAG_NO_RETURN,
  FLAG_SHARED,
  FLAG_TOMBSTONE,
  R_BITS,
  R_CHECK,
  R_CREATED_F64,
  R_EGRESS,
  R_EPOCH,
  R_INGRESS,
  R_LAST_SEEN_F64,
  R_OWNER,
  R_RETURN,
  R_RULE,
  R_TOKEN,
  R_VERSION,
  RECORD_WORDS,
  recordCheck,
  WIRE_FLAGS,
} from './record.ts';
import { SlotIndex } from './slot-index.ts';
import { bitsAfter, SEEN_ALL, timeoutClass, timeoutList } from './timeouts.ts';
import { KIND_LAST, KIND_SNAT, TUPLE_WORDS, tupleDevice, tupleKind, tupleProtocol } from './tuple.ts';
import { UuidTable } from './uuid-table.ts';
import { ExpiryWheel } from './wheel.ts';

/** Direction of a match: {@link FlowStateTable.find} returns record << 1 | direction. */
export const DIR_FORWARD = 0;
export const DIR_RETURN = 1;

/* Why something was refused. Numbers ≥ 0 are success. */

/** The table is full. */
export const REFUSED_FULL = -1;
/** The ingress port has as many records as it may cause. */
export const REFUSED_PORT_CAP = -2;
/** A record with this forward tuple is there: `table.last`. */
export const REFUSED_EXISTS = -3;
/** One of its tuples belongs to another connection: `table.last`. For a translation, choose another. */
export const REFUSED_CONFLICT = -4;
/** As many NAT blocks are in use as can be known. */
export const REFUSED_BLOCKS = -5;
/** Its block has a newer token: its port may belong to another host by now. */
export const REFUSED_FENCED = -6;
/** Its version is older than what is known. */
export const REFUSED_STALE = -7;

/** Nothing new. */
export const APPLY_SAME = 0;
/** The same version; state or time were joined. */
export const APPLY_JOINED = 1;
/** It replaced an older version. */
export const APPLY_NEWER = 2;
/** A record that was not known. */
export const APPLY_NEW = 3;

/** Why a record goes: see {@link FlowStateTable.onGone}. */
export const GONE_EXPIRED = 0;
export const GONE_REMOVED = 1;
/** A newer version takes its place, a tombstone too. */
export const GONE_REPLACED = 2;

/** {@link FlowStateTable.touch}: the state changed; tell the audience at once. */
export const TOUCH_STATE = 1;
/** The audience believes it to be idle for long: tell it soon. */
export const TOUCH_DUE = 2;

/** What was found in inherited memory. */
export interface Adoption {
  readonly adopted: number;
  /** Expired meanwhile. */
  readonly expired: number;
  /** Not whole, or inconsistent. */
  readonly damaged: number;
}

/**
 * The connections that a host knows, its own and those of its peers. One record per connection holds both of its tuples, so there is no
 * way to lose one without the other. See the package README for a record's life. Not for use by several threads at once.
 */
export class FlowStateTable {
  readonly uuids: UuidTable;
  readonly blocks: BlockTable;
  readonly audiences: AudienceTable;
  /** Per peer: this host's own records that the peer should have. */
  readonly outgoing = new DigestSet();
  /** Per peer: the peer's records that this host has. */
  readonly incoming = new DigestSet();
  /** Number of this host in `uuids`. */
  readonly self: number;
  readonly incarnation: number;
  readonly capacity: number;
  readonly adoption: Adoption;
  /** Live records and tombstones. */
  size = 0;
  tombstones = 0;
  /** Record that the last insert, apply or supersede made, joined, or met. */
  last = -1;
  /** Called before a record that lookups could find goes, or is replaced: its words can still be read. It must not change the table. */
  onGone: ((record: number, reason: number) => void) | undefined;
  /** Called when a block has a newer token: lookups pass over the records of older ones from now on. */
  onFence: ((block: number) => void) | undefined;
  /** The records: {@link RECORD_WORDS} each, as laid out in record.ts. Read only. */
  readonly words: Int32Array;
  private readonly times: Float64Array;
  private readonly memory: Memory;
  private readonly k0: number;
  private readonly k1: number;
  private readonly index: SlotIndex;
  private readonly wheel: ExpiryWheel;
  private readonly timeouts: Float64Array;
  private readonly blockOf: Int32Array;
  private readonly told: Float64Array;
  private readonly generations: Int32Array;
  private readonly audienceOf: Int32Array;
  private readonly names: Int32Array;
  private readonly nextFree: Int32Array;
  private firstFree = -1;
  private readonly perPort: Int32Array;
  private readonly portCaps: Int32Array;
  private readonly defaultPortCap: number;
  private readonly maxTombstones: number;
  private readonly reversed = new Int32Array(TUPLE_WORDS);
  /** Hash of the return tuple last seen by `conflict`. */
  private returnHash = 0;
  /** Results of `search`. */
  private match = -1;
  private same = -1;

  /** @throws FlowStateError for settings out of range */
  constructor(options: TableOptions) {
    const sizes = sizesOf(options);
    const { capacity } = sizes;
    needInteger('incarnation', options.incarnation, 1, 0xffffffff);
    this.capacity = capacity;
    this.incarnation = options.incarnation;
    this.maxTombstones = options.tombstones ?? Math.ceil(capacity / 4);
    this.defaultPortCap = options.portCap ?? 65_536;
    this.timeouts = timeoutList(options.timeouts);
    const memory = new Memory(options, sizes);
    this.memory = memory;
    const { region, k0, k1 } = memory;
    this.k0 = k0;
    this.k1 = k1;
    this.words = new Int32Array(region, memory.recordsAt, capacity * RECORD_WORDS);
    this.times = new Float64Array(region, memory.recordsAt, (capacity * RECORD_WORDS) / 2);
    this.uuids = new UuidTable(sizes.uuids, region, memory.uuidsAt, k0, k1);
    this.blocks = new BlockTable(sizes.blocks, region, memory.blocksAt, this.uuids, k0, k1);
    this.audiences = new AudienceTable(this.uuids);
    this.index = new SlotIndex(capacity * 2);
    const { tick = 1000, wheelSlots = 4096 } = options;
    needInteger('tick', tick, 1, 3_600_000);
    needInteger('wheelSlots', wheelSlots, 2, 1 << 20);
    this.wheel = new ExpiryWheel(capacity, tick, wheelSlots, options.now);
    this.blockOf = new Int32Array(capacity);
    this.told = new Float64Array(capacity);
    this.generations = new Int32Array(capacity);
    this.audienceOf = new Int32Array(capacity);
    this.names = new Int32Array(capacity * 2);
    this.nextFree = new Int32Array(capacity);
    this.perPort = new Int32Array(sizes.uuids + 1);
    this.portCaps = new Int32Array(sizes.uuids + 1);
    if (memory.inherited) {
      this.uuids.adopt();
      this.blocks.adopt();
    }
    this.self = this.uuids.intern(options.self);
    if (this.self === 0) throw new FlowStateError('WEFT_FLOWSTATE_CONFIG', 'The UUID of this host must not be zero.');
    this.uuids.retain(this.self);
    this.adoption = memory.inherited ? this.adopt(options.now) : { adopted: 0, expired: 0, damaged: 0 };
  }

  // ---- looking up

  /**
   * The record that a packet's tuple belongs to, as record << 1 | direction, or -1. If two hosts made connections with one tuple before
   * they knew of each other, all hosts find the same one. Allocates nothing.
   */
  find(words: Int32Array, at: number): number {
    return this.findHashed(words, at, this.hash(words, at));
  }

  private findHashed(words: Int32Array, at: number, hash: number): number {
    const { index } = this;
    const { pairs } = index;
    for (let i = index.first(hash); pairs[i + 1] !== 0; i = index.next(i)) {
      if (pairs[i] !== hash) continue;
      const entry = pairs[i + 1] - 1;
      if (!this.hasKey(entry, words, at)) continue;
      const flags = this.flags(entry >>> 1);
      if ((flags & (FLAG_SHARED | FLAG_TOMBSTONE)) === 0 && !this.isFenced(entry >>> 1)) return entry;
      this.search(words, at, hash);
      return this.match;
    }
    return -1;
  }

  /** Whether lookups can find a record: it is there, no tombstone, and its block's token is the newest. */
  isVisible(record: number): boolean {
    return (this.flags(record) & (FLAG_LIVE | FLAG_TOMBSTONE)) === FLAG_LIVE && !this.isFenced(record);
  }

  /** Number in `blocks` of the block that a record's port comes from; 0: it has none. */
  block(record: number): number {
    return this.blockOf[record];
  }

  /** Whether the block that a record's port comes from has a newer token. */
  isFenced(record: number): boolean {
    const block = this.blockOf[record];
    return block !== 0 && this.words[record * RECORD_WORDS + R_TOKEN] >>> 0 < this.blocks.token(block);
  }

  /** Changes whenever the place of a record is used anew: with it a number can be kept for later. */
  generation(record: number): number {
    return this.generations[record];
  }

  /** FLAG_… bits. */
  flags(record: number): number {
    return this.words[record * RECORD_WORDS + R_BITS] >>> 16;
  }

  owner(record: number): number {
    return this.words[record * RECORD_WORDS + R_OWNER];
  }

  audience(record: number): number {
    return this.audienceOf[record];
  }

  /** One of two words that name the record on every host alike: its device, kind, protocol and forward tuple. */
  name(record: number, which: number): number {
    return this.names[record * 2 + which];
  }

  /** Time at which a record expires if nothing more is seen of it. */
  expiry(record: number): number {
    return this.times[record * (RECORD_WORDS / 2) + R_LAST_SEEN_F64] + this.timeouts[this.timeoutClass(record)];
  }

  /** Time at which a packet of a record was last seen, here or, as far as they have told, on other hosts. */
  lastSeen(record: number): number {
    return this.times[record * (RECORD_WORDS / 2) + R_LAST_SEEN_F64];
  }

  /** Index of its timeout. */
  private timeoutClass(record: number): number {
    const base = record * RECORD_WORDS;
    const meta = this.words[base];
    const word = this.words[base + R_BITS];
    return timeoutClass(tupleKind(meta), tupleProtocol(meta), word & 0xffff, ((word >>> 16) & FLAG_TOMBSTONE) !== 0);
  }

  /** The record at or behind `from` that is in use, or -1: walks over all, whatever changes meanwhile. */
  nextRecord(from: number): number {
    const end = this.memory.highWater;
    for (let record = from; record < end; record++) if (this.flags(record) & FLAG_LIVE) return record;
    return -1;
  }

  /** Places that were ever used: the numbers of records are below. It only grows. */
  get places(): number {
    return this.memory.highWater;
  }

  /** The record with this forward tuple, or -1; unlike {@link find} also tombstones and what is fenced. */
  locate(words: Int32Array, at: number): number {
    this.search(words, at, this.hash(words, at));
    return this.same;
  }

  /** How many records a port of this host has caused. */
  portRecords(port: number): number {
    return this.perPort[port];
  }

  /** Whether this host could make so many more records that a port causes (0: no port). */
  hasRoom(port: number, count: number): boolean {
    if (this.size + count > this.capacity) return false;
    return port === 0 || this.perPort[port] + count <= (this.portCaps[port] || this.defaultPortCap);
  }

  /** Sets how many records a port may cause; 0: the default. */
  setPortCap(port: number, cap: number): void {
    this.portCaps[port] = cap;
  }

  /** Reads a record out, lifetime and age counted from `now`. */
  read(record: number, now: number, out: ConnectionRecord): ConnectionRecord {
    const base = record * RECORD_WORDS;
    const { words, times } = this;
    for (let i = 0; i < R_BITS; i++) out.words[i] = words[base + i];
    const word = words[base + R_BITS];
    out.bits = word & 0xffff;
    out.flags = word >>> 16;
    out.owner = words[base + R_OWNER];
    out.epoch = words[base + R_EPOCH] >>> 0;
    out.version = words[base + R_VERSION] >>> 0;
    out.token = words[base + R_TOKEN] >>> 0;
    out.ingress = words[base + R_INGRESS];
    out.egress = words[base + R_EGRESS];
    out.rule = words[base + R_RULE];
    out.remaining = Math.max(0, this.expiry(record) - now);
    out.age = Math.max(0, now - times[(base >>> 1) + R_CREATED_F64]);
    return out;
  }

  // ---- this host's own changes

  /** Whether one of a record's tuples belongs to another connection, so that `insert` would refuse it. */
  clashes(record: ConnectionRecord): boolean {
    this.search(record.words, 0, this.hash(record.words, 0));
    return this.match >= 0 || this.conflict(record, this.same) >= 0;
  }

  /**
   * Makes a connection of this host's own: owner, epoch and version are set here.
   * @param audience number of the hosts that are to be told ({@link AudienceTable.of})
   * @returns the record, or REFUSED_… (then nothing has changed)
   */
  insert(record: ConnectionRecord, now: number, audience = 0): number {
    const { words } = record;
    const hash = this.hash(words, 0);
    this.search(words, 0, hash);
    const { same } = this;
    if (this.match >= 0) {
      this.last = this.match >>> 1;
      return (this.match & 1) === DIR_FORWARD ? REFUSED_EXISTS : REFUSED_CONFLICT;
    }
    const taken = this.conflict(record, same);
    if (taken >= 0) {
      this.last = taken;
      return REFUSED_CONFLICT;
    }
    const cap = this.portCaps[record.ingress] || this.defaultPortCap;
    if (record.ingress !== 0 && this.perPort[record.ingress] >= cap) return REFUSED_PORT_CAP;
    if (same < 0 && this.size >= this.capacity) return REFUSED_FULL;
    const block = this.blockFor(record);
    if (block < 0) return block;
    record.owner = this.self;
    this.nextVersion(record, same);
    record.flags = (record.flags & WIRE_FLAGS & ~FLAG_TOMBSTONE) | FLAG_CAPPED;
    const place = same >= 0 ? same : this.allocate();
    if (same >= 0) this.unlink(same);
    this.write(place, record, now, now - record.age, block, hash, this.returnHash);
    this.changeAudience(place, audience);
    this.told[place] = now;
    this.last = place;
    return place;
  }

  /**
   * Gives a connection a new version with another content (return tuple, ports, rule, flags, bits); the forward tuple
   * must be its own. This host becomes its owner.
   * @returns the record, or REFUSED_…
   */
  supersede(at: number, record: ConnectionRecord, now: number): number {
    const taken = this.conflict(record, at);
    if (taken >= 0) {
      this.last = taken;
      return REFUSED_CONFLICT;
    }
    const block = this.blockFor(record);
    if (block < 0) return block;
    record.owner = this.self;
    this.nextVersion(record, at);
    record.flags = (record.flags & WIRE_FLAGS & ~FLAG_TOMBSTONE) | (this.flags(at) & FLAG_CAPPED);
    this.replace(at, record, now, this.times[at * (RECORD_WORDS / 2) + R_CREATED_F64], block);
    return at;
  }

  /** Becomes the owner of a connection whose owner is gone, with a new version. Returns it. */
  takeOver(record: number, now: number, scratch: ConnectionRecord): number {
    const lastSeen = this.times[record * (RECORD_WORDS / 2) + R_LAST_SEEN_F64];
    const done = this.supersede(record, this.read(record, now, scratch), now);
    if (done >= 0) this.setLastSeen(record, lastSeen);
    return done;
  }

  /**
   * Ends a connection for all its hosts: a tombstone takes its place. Tell its audience. When too many removals are remembered it is
   * only removed here, and peers forget it in their own time.
   * @returns the record, or REFUSED_FULL when it was only removed
   */
  bury(record: number, now: number, scratch: ConnectionRecord): number {
    if (this.tombstones >= this.maxTombstones) {
      this.remove(record);
      return REFUSED_FULL;
    }
    this.read(record, now, scratch);
    scratch.owner = this.self;
    scratch.flags = (scratch.flags & WIRE_FLAGS) | FLAG_TOMBSTONE;
    scratch.token = 0;
    this.nextVersion(scratch, record);
    this.replace(record, scratch, now, now, 0);
    return record;
  }

  /** Forgets a record, on this host only. */
  remove(record: number): void {
    this.gone(record, GONE_REMOVED);
    this.discard(record);
  }

  /**
   * A packet of the connection was seen, or its flow's counters moved.
   * @param tcpFlags of the packet; 0 if unknown
   * @returns TOUCH_STATE and TOUCH_DUE bits: whom to tell is the record's audience; then call {@link markTold}
   */
  touch(record: number, isReturn: boolean, tcpFlags: number, now: number): number {
    const base = record * RECORD_WORDS;
    const word = this.words[base + R_BITS];
    const bits = bitsAfter(word & 0xffff, tupleProtocol(this.words[base]), isReturn, tcpFlags);
    const at = (base >>> 1) + R_LAST_SEEN_F64;
    if (this.times[at] < now) this.times[at] = now;
    if (bits !== (word & 0xffff)) {
      this.words[base + R_BITS] = (word & 0xffff0000) | bits;
      this.wheel.moved(record, this.expiry(record));
      return TOUCH_STATE;
    }
    return now - this.told[record] > this.timeouts[this.timeoutClass(record)] / 3 ? TOUCH_DUE : 0;
  }

  /** The audience was told of a record's state now. */
  markTold(record: number, now: number): void {
    this.told[record] = now;
  }

  /** Sets the hosts that are to be told of a record. */
  setAudience(record: number, audience: number): void {
    if (this.audienceOf[record] === audience) return;
    this.changeAudience(record, audience);
  }

  // ---- what peers say

  /**
   * Takes in what a peer says. Any order and any repetition of a set of updates leads to the same records: of one forward
   * tuple the greatest (epoch, version, owner) wins, equal ones join what they have seen.
   * @param aside not from its owner: it is left out of the owner's digest until the owner sends it
   * @returns APPLY_… (the record is `last`), or REFUSED_…. With REFUSED_FENCED the record is kept as `last`, so that older versions stay
   * refused, but lookups pass it over
   */
  apply(record: ConnectionRecord, now: number, aside = false): number {
    const hash = this.hash(record.words, 0);
    this.search(record.words, 0, hash);
    const { same } = this;
    const tombstone = (record.flags & FLAG_TOMBSTONE) !== 0;
    let block = 0;
    if (usesBlock(record)) {
      block = this.internBlock(record);
      if (block === 0) return REFUSED_BLOCKS;
      if (this.blocks.raise(block, record.token)) this.onFence?.(block);
    }
    const order = same < 0 ? 1 : this.compare(record, same);
    if (order < 0) return REFUSED_STALE;
    const meta = record.words[0];
    const timeout = this.timeouts[timeoutClass(tupleKind(meta), tupleProtocol(meta), record.bits, tombstone)];
    const lastSeen = now - (timeout - Math.min(record.remaining, timeout));
    if (order === 0) return this.join(same, record, lastSeen, now - record.age, aside);
    if (tombstone && !(same >= 0 && this.flags(same) & FLAG_TOMBSTONE) && this.tombstones >= this.maxTombstones) {
      return REFUSED_FULL;
    }
    if (same < 0 && this.size >= this.capacity) return REFUSED_FULL;
    const place = same < 0 ? this.allocate() : same;
    const capped = same < 0 ? 0 : this.flags(same) & FLAG_CAPPED;
    if (same >= 0) {
      this.gone(same, GONE_REPLACED);
      this.unlink(same);
    }
    record.flags = (record.flags & WIRE_FLAGS) | (aside ? FLAG_ASIDE : 0) | capped;
    this.write(place, record, lastSeen, now - record.age, block, hash);
    this.told[place] = lastSeen;
    this.last = place;
    if (!tombstone && this.isFenced(place)) return REFUSED_FENCED;
    return same < 0 ? APPLY_NEW : APPLY_NEWER;
  }

  // ---- time

  /**
   * Removes what has expired: each record at the first call in a later tick than that of its expiry.
   * @param budget most records looked at
   * @returns false if there was more to look at: call again
   */
  expire(now: number, budget: number): boolean {
    return this.wheel.advance(now, budget, this.expiryOf, this.expired);
  }

  private readonly expiryOf = (record: number): number => this.expiry(record);

  private readonly expired = (record: number): void => {
    this.gone(record, GONE_EXPIRED);
    this.discard(record);
  };

  // ---- inside

  private hash(words: Int32Array, at: number): number {
    return tupleHash(words, at, this.k0, this.k1);
  }

  /** Whether an entry of the index (record << 1 | direction) has the tuple at `words[at …]`. */
  private hasKey(entry: number, words: Int32Array, at: number): boolean {
    const own = this.words;
    const base = (entry >>> 1) * RECORD_WORDS;
    if (own[base] !== words[at]) return false;
    const from = base + ((entry & 1) === DIR_FORWARD ? 1 : R_RETURN);
    for (let i = 0; i < 9; i++) if (own[from + i] !== words[at + 1 + i]) return false;
    return true;
  }

  /** Looks at all entries of a tuple: `match` becomes the visible one that wins, `same` the record with this forward tuple. */
  private search(words: Int32Array, at: number, hash: number): void {
    const { index } = this;
    const { pairs } = index;
    this.match = -1;
    this.same = -1;
    for (let i = index.first(hash); pairs[i + 1] !== 0; i = index.next(i)) {
      if (pairs[i] !== hash) continue;
      const entry = pairs[i + 1] - 1;
      if (!this.hasKey(entry, words, at)) continue;
      if ((entry & 1) === DIR_FORWARD) this.same = entry >>> 1;
      if (this.isVisible(entry >>> 1) && (this.match < 0 || this.comesBefore(entry >>> 1, this.match >>> 1))) {
        this.match = entry;
      }
    }
  }

  /** An order of records with different forward tuples on one device that is the same on every host. */
  private comesBefore(a: number, b: number): boolean {
    const { words } = this;
    for (let i = 1; i < TUPLE_WORDS; i++) {
      const x = words[a * RECORD_WORDS + i] >>> 0;
      const y = words[b * RECORD_WORDS + i] >>> 0;
      if (x !== y) return x < y;
    }
    return false;
  }

  /** Another visible record than `own` that has the return tuple of `record` as one of its tuples, or -1. */
  private conflict(record: ConnectionRecord, own: number): number {
    if (record.flags & FLAG_NO_RETURN) return -1;
    const { reversed } = this;
    reversed[0] = record.words[0];
    for (let i = 0; i < 9; i++) reversed[1 + i] = record.words[R_RETURN + i];
    this.returnHash = this.hash(reversed, 0);
    const match = this.findHashed(reversed, 0, this.returnHash);
    return match >= 0 && match >>> 1 !== own ? match >>> 1 : -1;
  }

  /** Order of (epoch, version, owner) of an update and a record. */
  private compare(record: ConnectionRecord, other: number): number {
    const base = other * RECORD_WORDS;
    const epoch = this.words[base + R_EPOCH] >>> 0;
    if (record.epoch !== epoch) return record.epoch < epoch ? -1 : 1;
    const version = this.words[base + R_VERSION] >>> 0;
    if (record.version !== version) return record.version < version ? -1 : 1;
    return this.uuids.compare(record.owner, this.words[base + R_OWNER]);
  }

  /** Sets the version that follows what is known of the tuple: never below this host's incarnation. */
  private nextVersion(record: ConnectionRecord, same: number): void {
    record.epoch = this.incarnation;
    record.version = 1;
    if (same < 0) return;
    const epoch = this.words[same * RECORD_WORDS + R_EPOCH] >>> 0;
    if (epoch < this.incarnation) return;
    record.epoch = epoch;
    record.version = (this.words[same * RECORD_WORDS + R_VERSION] >>> 0) + 1;
  }

  private join(at: number, record: ConnectionRecord, lastSeen: number, created: number, aside: boolean): number {
    const base = at * RECORD_WORDS;
    this.last = at;
    const word = this.words[base + R_BITS];
    let joined = word | (record.bits & SEEN_ALL);
    const time = (base >>> 1) + R_LAST_SEEN_F64;
    const listed = !aside && ((word >>> 16) & FLAG_ASIDE) !== 0;
    if (listed) joined &= ~(FLAG_ASIDE << 16);
    const same = joined === word && this.times[time] >= lastSeen;
    this.words[base + R_BITS] = joined;
    if (listed) this.changeDigests(at, 1);
    if (this.times[time] < lastSeen) this.times[time] = lastSeen;
    if (this.told[at] < lastSeen) this.told[at] = lastSeen;
    if (this.times[(base >>> 1) + R_CREATED_F64] > created) this.times[(base >>> 1) + R_CREATED_F64] = created;
    if (joined !== word) this.wheel.moved(at, this.expiry(at));
    return same ? APPLY_SAME : APPLY_JOINED;
  }

  /** The block of a record of this host's: 0 if it has none, or REFUSED_…. */
  private blockFor(record: ConnectionRecord): number {
    if (!usesBlock(record)) return 0;
    const block = this.internBlock(record);
    if (block === 0) return REFUSED_BLOCKS;
    if (record.token < this.blocks.token(block)) return REFUSED_FENCED;
    if (this.blocks.raise(block, record.token)) this.onFence?.(block);
    return block;
  }

  private internBlock(record: ConnectionRecord): number {
    const port = record.words[R_RETURN] & 0xffff;
    return this.blocks.intern(record.device, record.words, R_RETURN + 5, Math.floor(port / BLOCK_PORTS));
  }

  private allocate(): number {
    let record = this.firstFree;
    if (record >= 0) this.firstFree = this.nextFree[record];
    else {
      record = this.memory.highWater;
      this.memory.highWater = record + 1;
    }
    this.size++;
    return record;
  }

  private gone(record: number, reason: number): void {
    if (this.onGone !== undefined && this.isVisible(record)) this.onGone(record, reason);
  }

  private replace(at: number, record: ConnectionRecord, lastSeen: number, created: number, block: number): void {
    this.gone(at, GONE_REPLACED);
    this.unlink(at);
    this.write(at, record, lastSeen, created, block, this.hash(record.words, 0));
    this.last = at;
  }

  /** Fills the place of a record and enters it everywhere. Its audience stays. */
  private write(
    at: number,
    record: ConnectionRecord,
    lastSeen: number,
    created: number,
    block: number,
    hash: number,
    returnHash?: number,
  ): void {
    const base = at * RECORD_WORDS;
    const { words, times } = this;
    // Who reads this after a crash in between finds no valid check word.
    words[base + R_CHECK] = 0;
    for (let i = 0; i < R_BITS; i++) words[base + i] = record.words[i];
    words[base + R_BITS] = (record.bits & SEEN_ALL) | ((record.flags | FLAG_LIVE) << 16);
    words[base + R_OWNER] = record.owner;
    words[base + R_EPOCH] = record.epoch;
    words[base + R_VERSION] = record.version;
    words[base + R_TOKEN] = record.token;
    words[base + R_INGRESS] = record.ingress;
    words[base + R_EGRESS] = record.egress;
    words[base + R_RULE] = record.rule;
    times[(base >>> 1) + R_LAST_SEEN_F64] = lastSeen;
    times[(base >>> 1) + R_CREATED_F64] = created;
    words[base + R_CHECK] = recordCheck(words, base);
    this.blockOf[at] = block;
    this.link(at, hash, returnHash);
  }

  private setLastSeen(record: number, time: number): void {
    this.times[record * (RECORD_WORDS / 2) + R_LAST_SEEN_F64] = time;
    this.wheel.moved(record, this.expiry(record));
  }

  /** The words of the return tuple with its first word, in `reversed`. */
  private returnTuple(base: number): Int32Array {
    const { reversed, words } = this;
    reversed[0] = words[base];
    for (let i = 0; i < 9; i++) reversed[1 + i] = words[base + R_RETURN + i];
    return reversed;
  }

  /** A connection of an address with itself on one port has one tuple for both directions. */
  private hasReturnKey(record: number): boolean {
    if (this.flags(record) & (FLAG_NO_RETURN | FLAG_TOMBSTONE)) return false;
    const base = record * RECORD_WORDS;
    for (let i = 0; i < 9; i++) if (this.words[base + 1 + i] !== this.words[base + R_RETURN + i]) return true;
    return false;
  }

  private link(record: number, hash: number, returnHash?: number): void {
    const base = record * RECORD_WORDS;
    const { words, uuids } = this;
    this.enter(hash, record << 1, words, base);
    if (this.hasReturnKey(record)) {
      const tuple = this.returnTuple(base);
      this.enter(returnHash ?? this.hash(tuple, 0), (record << 1) | DIR_RETURN, tuple, 0);
    }
    for (let i = 0; i < REFERENCES.length; i++) uuids.retain(words[base + REFERENCES[i]]);
    uuids.retain(tupleDevice(words[base]));
    if (this.blockOf[record] !== 0) this.blocks.acquire(this.blockOf[record], words[base + R_RETURN] & 0xffff);
    const flags = this.flags(record);
    if (flags & FLAG_CAPPED) this.perPort[words[base + R_INGRESS]]++;
    if (flags & FLAG_TOMBSTONE) this.tombstones++;
    this.setName(record, base);
    this.changeDigests(record, 1);
    this.wheel.add(record, this.expiry(record));
  }

  private unlink(record: number): void {
    const base = record * RECORD_WORDS;
    const { words, uuids } = this;
    this.index.remove(this.hash(words, base), record << 1);
    if (this.hasReturnKey(record)) this.index.remove(this.hash(this.returnTuple(base), 0), (record << 1) | DIR_RETURN);
    for (let i = 0; i < REFERENCES.length; i++) uuids.release(words[base + REFERENCES[i]]);
    uuids.release(tupleDevice(words[base]));
    if (this.blockOf[record] !== 0) this.blocks.release(this.blockOf[record], words[base + R_RETURN] & 0xffff);
    const flags = this.flags(record);
    if (flags & FLAG_CAPPED) this.perPort[words[base + R_INGRESS]]--;
    if (flags & FLAG_TOMBSTONE) this.tombstones--;
    this.changeDigests(record, -1);
    this.wheel.remove(record);
  }

  /** Adds a key to the index. Records that meet another with the same key are marked, so that lookups weigh them all. */
  private enter(hash: number, entry: number, words: Int32Array, at: number): void {
    const { index } = this;
    const { pairs } = index;
    let i = index.first(hash);
    for (; pairs[i + 1] !== 0; i = index.next(i)) {
      if (pairs[i] !== hash || !this.hasKey(pairs[i + 1] - 1, words, at)) continue;
      this.words[((pairs[i + 1] - 1) >>> 1) * RECORD_WORDS + R_BITS] |= FLAG_SHARED << 16;
      this.words[(entry >>> 1) * RECORD_WORDS + R_BITS] |= FLAG_SHARED << 16;
    }
    pairs[i] = hash;
    pairs[i + 1] = entry + 1;
  }

  private discard(record: number): void {
    this.unlink(record);
    if (this.audienceOf[record] !== 0) this.audiences.release(this.audienceOf[record]);
    this.audienceOf[record] = 0;
    const base = record * RECORD_WORDS;
    this.words.fill(0, base, base + RECORD_WORDS);
    this.blockOf[record] = 0;
    this.generations[record]++;
    this.nextFree[record] = this.firstFree;
    this.firstFree = record;
    this.size--;
  }

  private changeAudience(record: number, audience: number): void {
    const before = this.audienceOf[record];
    if (before === audience) return;
    const own = this.flags(record) & FLAG_LIVE && this.owner(record) === this.self;
    if (own) this.changeDigests(record, -1);
    if (before !== 0) this.audiences.release(before);
    if (audience !== 0) this.audiences.retain(audience);
    this.audienceOf[record] = audience;
    if (own) this.changeDigests(record, 1);
  }

  private changeDigests(record: number, sign: 1 | -1): void {
    const base = record * RECORD_WORDS;
    const { words } = this;
    const owner = words[base + R_OWNER];
    const members = owner === this.self ? this.audiences.members(this.audienceOf[record]) : undefined;
    if (members?.length === 0) return;
    const a = this.names[record * 2];
    const b = this.names[record * 2 + 1];
    const epoch = words[base + R_EPOCH];
    const version = words[base + R_VERSION];
    const word0 = digestWord(0, a, b, epoch, version);
    const word1 = digestWord(1, a, b, epoch, version);
    const bucket = digestBucket(a);
    if (members === undefined) {
      if ((this.flags(record) & FLAG_ASIDE) === 0) this.incoming.change(owner, bucket, word0, word1, sign);
      return;
    }
    for (let i = 0; i < members.length; i++) {
      if (members[i] !== owner) this.outgoing.change(members[i], bucket, word0, word1, sign);
    }
  }

  private setName(record: number, base: number): void {
    const { words, uuids } = this;
    const device = tupleDevice(words[base]);
    let a = mixWord(uuids.name(device, 0), words[base] >>> 20);
    let b = uuids.name(device, 1);
    for (let i = 1; i < TUPLE_WORDS; i++) {
      a = mixWord(a, words[base + i]);
      b = mixWord(b ^ a, words[base + i]);
    }
    this.names[record * 2] = finish(a);
    this.names[record * 2 + 1] = finish(b);
  }

  private adopt(now: number): Adoption {
    const end = Math.min(Math.max(this.memory.highWater, 0), this.capacity);
    this.memory.highWater = end;
    let adopted = 0;
    let expired = 0;
    let damaged = 0;
    for (let record = end - 1; record >= 0; record--) {
      const base = record * RECORD_WORDS;
      const held = this.words[base + R_CHECK] !== 0 || this.flags(record) & FLAG_LIVE;
      if (held && this.isWhole(record, base, now)) {
        this.words[base + R_BITS] &= (~FLAG_SHARED << 16) | SEEN_ALL;
        if (this.expiry(record) > now) {
          this.blockOf[record] = this.adoptedBlock(base);
          if (this.blockOf[record] >= 0) {
            this.size++;
            this.link(record, this.hash(this.words, base));
            adopted++;
            continue;
          }
          damaged++;
        } else expired++;
      } else if (held) damaged++;
      this.words.fill(0, base, base + RECORD_WORDS);
      this.blockOf[record] = 0;
      this.nextFree[record] = this.firstFree;
      this.firstFree = record;
    }
    return { adopted, expired, damaged };
  }

  private isWhole(record: number, base: number, now: number): boolean {
    const { words, uuids } = this;
    if ((this.flags(record) & FLAG_LIVE) === 0 || words[base + R_CHECK] !== recordCheck(words, base)) return false;
    const kind = tupleKind(words[base]);
    if (kind === 0 || kind > KIND_LAST) return false;
    if (!uuids.has(tupleDevice(words[base])) || !uuids.has(words[base + R_OWNER])) return false;
    for (const i of REFERENCES) if (words[base + i] !== 0 && !uuids.has(words[base + i])) return false;
    const lastSeen = this.times[(base >>> 1) + R_LAST_SEEN_F64];
    const created = this.times[(base >>> 1) + R_CREATED_F64];
    if (!(lastSeen <= now) || !Number.isFinite(created)) return false;
    this.search(words, base, this.hash(words, base));
    return this.same < 0;
  }

  /** The block of a record in inherited memory, or -1 when it cannot be known. */
  private adoptedBlock(base: number): number {
    const { words } = this;
    const token = words[base + R_TOKEN] >>> 0;
    if (token === 0 || tupleKind(words[base]) !== KIND_SNAT || (words[base + R_BITS] >>> 16) & FLAG_TOMBSTONE) return 0;
    const port = words[base + R_RETURN] & 0xffff;
    const block = this.blocks.intern(
      tupleDevice(words[base]),
      words,
      base + R_RETURN + 5,
      Math.floor(port / BLOCK_PORTS),
    );
    if (block === 0) return -1;
    this.blocks.raise(block, token);
    return block;
  }
}

/** Words of a record that are numbers of UUIDs. */
const REFERENCES = [R_OWNER, R_INGRESS, R_EGRESS, R_RULE] as const;

function usesBlock(record: ConnectionRecord): boolean {
  return record.token !== 0 && record.kind === KIND_SNAT && (record.flags & FLAG_TOMBSTONE) === 0;
}
