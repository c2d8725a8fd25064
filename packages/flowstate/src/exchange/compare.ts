import { DIGEST_BUCKETS, DIGEST_WORDS, differingBuckets, digestBucket } from '../digest.ts';
import { FLAG_ASIDE, FLAG_LIVE, R_EPOCH, R_VERSION, RECORD_WORDS } from '../record.ts';
import { MSG_DIGEST, MSG_LIST, MSG_LIST_REQUEST, MSG_WANT, WIRE_OK, type WireHeader } from '../wire/header.ts';
import {
  digestCount,
  LIST_ROW,
  readDigest,
  readListRequest,
  readRows,
  rowsPerDatagram,
  WANT_ROW,
  writeDigest,
  writeListRequest,
  writeRows,
} from '../wire/messages.ts';
import { type Core, concerns } from './core.ts';
import type { Peer } from './peer.ts';
import type { PublishQueue } from './publish.ts';
import type { Sync } from './sync.ts';
import type { Walk } from './walk.ts';

/** About how many records of this host a comparison takes in: large tables are compared bucket by bucket. */
const COMPARE_RECORDS = 8_192;
/** Most rows given for one request: what is behind them comes with a later one, since lists begin where the walk stands. */
const LIST_MOST = 16_384;
/** So many records more than are known here, and a quarter of all: synchronise instead of comparing. */
const MANY = 1_024;
/** What was listed is remembered for so long (ms), for the peer to ask for. */
const LISTED_FOR = 10_000;
/** A list is asked for so often in a comparison. */
const LIST_REQUESTS = 5;
const LIST_ROWS = rowsPerDatagram(LIST_ROW);
const WANT_ROWS = rowsPerDatagram(WANT_ROW);

const IDLE = 0;
/** This host's own records of the buckets are being indexed. */
const INDEXING = 1;
/** The peer was asked for its list. */
const ASKED = 2;

/** Comparing with one peer: what it should have sent with what is here, and the other way round. */
export class CompareState {
  nextDigest = Number.POSITIVE_INFINITY;

  /* As receiver of its records. */
  phase = IDLE;
  /** Buckets in which its last digest differed; those being compared. */
  readonly differed = new Int32Array(2);
  readonly buckets = new Int32Array(2);
  /** Where the choice of buckets goes on. */
  hand = 0;
  indexLeft = 0;
  /** Name of a record → its place, of all records in the buckets. */
  index = new Map<number, number>();
  /** The comparison ends then, or the list is asked for again: so often it was, and whether something came. */
  deadline = 0;
  requests = 0;
  listHeard = false;
  wanted = 0;
  /** Records refused for lack of room when it began: asking for more is of no use while that grows. */
  fullBefore = 0;
  notBefore = Number.NEGATIVE_INFINITY;
  pause = 0;

  /* As their sender. */
  listing = false;
  listLeft = 0;
  readonly listBuckets = new Int32Array(2);
  readonly rows = new Int32Array(LIST_ROWS * LIST_ROW);
  rowCount = 0;
  listed = new Map<number, number>();
  listedAt = 0;

  /** Something waits for an answer, or is to be forgotten soon: each tick looks whether it is time. */
  get isBusy(): boolean {
    return this.phase !== IDLE || this.listed.size > 0;
  }

  reset(): void {
    this.phase = IDLE;
    this.differed.fill(0);
    this.index = new Map();
    this.listing = false;
    this.rowCount = 0;
    this.listed = new Map();
  }
}

/** A name of a record as one number: 53 of its 64 bits. */
function nameKey(a: number, b: number): number {
  return (a >>> 0) * 0x200000 + (b >>> 11);
}

function hasBucket(buckets: Int32Array, bucket: number): boolean {
  return ((buckets[bucket >>> 5] >>> (bucket & 31)) & 1) !== 0;
}

/**
 * The last net: each host tells each peer the sums over the records that the peer should have. Where they differ twice in a row (once may
 * be a datagram under way, or one that expires), the peer indexes what it has in those buckets, asks for a list of names and versions, and
 * wants what it lacks. Comparisons that repair nothing (the difference is what only the peer has, or it has no room) become rare.
 */
export class Compare {
  private readonly core: Core;
  private readonly walk: Walk;
  private readonly sync: Sync;
  private readonly queue: PublishQueue;
  private readonly sums = new Int32Array(DIGEST_WORDS);
  private readonly differing = new Int32Array(2);
  private readonly rows = new Int32Array(Math.max(LIST_ROWS * LIST_ROW, WANT_ROWS * WANT_ROW));
  private readonly wants = new Int32Array(WANT_ROWS * WANT_ROW);

  constructor(core: Core, walk: Walk, sync: Sync, queue: PublishQueue) {
    this.core = core;
    this.walk = walk;
    this.sync = sync;
    this.queue = queue;
  }

  /** A peer is in a new life. Peers get their digests at different times. */
  begin(peer: Peer): void {
    const { settings, outbox } = this.core;
    peer.compare.reset();
    peer.compare.nextDigest = outbox.now + settings.digest * (0.5 + ((peer.number * 37) % 64) / 128);
  }

  tick(peer: Peer): void {
    const { table, outbox, settings } = this.core;
    const { compare } = peer;
    const { now } = outbox;
    if (now >= compare.nextDigest) {
      compare.nextDigest = now + settings.digest;
      const count = table.outgoing.count(peer.number);
      if (count > 0) outbox.post(peer, MSG_DIGEST, 0, writeDigest(outbox.bytes, count, table.outgoing.of(peer.number)));
    }
    if (compare.phase === ASKED && now >= compare.deadline) {
      if (compare.listHeard || compare.requests >= LIST_REQUESTS) this.conclude(peer);
      else this.requestList(peer);
    }
    if (compare.listed.size > 0 && !compare.listing && now - compare.listedAt > LISTED_FOR) compare.listed = new Map();
  }

  // ---- receiver

  onDigest(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const { sums, differing } = this;
    const result = readDigest(bytes, header, sums);
    if (result !== WIRE_OK) return result;
    const { table, counters, outbox } = this.core;
    const { compare } = peer;
    const differs = differingBuckets(table.incoming.of(peer.number), sums, differing);
    const low = differing[0] & compare.differed[0];
    const high = differing[1] & compare.differed[1];
    compare.differed.set(differing);
    if (differs) counters.digestsDiffering++;
    if ((low | high) === 0 || compare.phase !== IDLE || peer.sync.waiting || outbox.now < compare.notBefore) return 0;
    const theirs = digestCount(bytes);
    if (theirs - table.incoming.count(peer.number) > Math.max(MANY, theirs / 4)) {
      this.sync.requestSoon(peer);
      return 0;
    }
    differing[0] = low;
    differing[1] = high;
    this.chooseBuckets(compare, differing);
    counters.comparisons++;
    compare.phase = INDEXING;
    compare.index = new Map();
    compare.wanted = 0;
    compare.fullBefore = counters.refusedRecords.full;
    compare.indexLeft = this.walk.start(this.walk.indexing, peer);
    return 0;
  }

  private chooseBuckets(compare: CompareState, differing: Int32Array): void {
    let left = Math.max(1, Math.floor((COMPARE_RECORDS * DIGEST_BUCKETS) / Math.max(1, this.core.table.size)));
    compare.buckets.fill(0);
    let bucket = compare.hand;
    for (let i = 0; i < DIGEST_BUCKETS && left > 0; i++) {
      if (hasBucket(differing, bucket)) {
        compare.buckets[bucket >>> 5] |= 1 << (bucket & 31);
        left--;
      }
      bucket = (bucket + 1) % DIGEST_BUCKETS;
    }
    compare.hand = bucket;
  }

  addToIndex(peer: Peer, record: number): void {
    const { table } = this.core;
    const { compare } = peer;
    const a = table.name(record, 0);
    if (hasBucket(compare.buckets, digestBucket(a))) compare.index.set(nameKey(a, table.name(record, 1)), record);
  }

  finishIndex(peer: Peer): void {
    const { compare } = peer;
    compare.phase = ASKED;
    compare.requests = 0;
    compare.listHeard = false;
    this.requestList(peer);
  }

  private requestList(peer: Peer): void {
    const { outbox, settings } = this.core;
    const { compare } = peer;
    compare.requests++;
    compare.deadline = outbox.now + settings.listQuiet;
    outbox.post(peer, MSG_LIST_REQUEST, 0, writeListRequest(outbox.bytes, compare.buckets));
  }

  onList(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const { rows, wants } = this;
    const result = readRows(bytes, header, LIST_ROW, rows);
    if (result !== WIRE_OK) return result;
    const { compare } = peer;
    if (compare.phase !== ASKED) return 0;
    const { outbox, settings, counters } = this.core;
    compare.deadline = outbox.now + settings.listQuiet;
    compare.listHeard = true;
    let count = 0;
    for (let at = 0; at < header.count * LIST_ROW; at += LIST_ROW) {
      if (!this.isWanted(peer, rows, at)) continue;
      wants[count * WANT_ROW] = rows[at];
      wants[count * WANT_ROW + 1] = rows[at + 1];
      count++;
    }
    if (count === 0) return 0;
    compare.wanted += count;
    counters.wanted += count;
    outbox.post(peer, MSG_WANT, count, writeRows(outbox.bytes, WANT_ROW, wants, 0, count));
    return 0;
  }

  /** Whether the peer's version of a row is newer than what is here, or is here but not from the peer itself. */
  private isWanted(peer: Peer, rows: Int32Array, at: number): boolean {
    const { table } = this.core;
    const record = peer.compare.index.get(nameKey(rows[at], rows[at + 1]));
    // The place may have another record by now.
    if (record === undefined || !isNamed(table, record, rows, at)) return true;
    const base = record * RECORD_WORDS;
    const epoch = table.words[base + R_EPOCH] >>> 0;
    const version = table.words[base + R_VERSION] >>> 0;
    if (rows[at + 2] >>> 0 !== epoch) return rows[at + 2] >>> 0 > epoch;
    if (rows[at + 3] >>> 0 !== version) return rows[at + 3] >>> 0 > version;
    const owner = table.owner(record);
    if (owner !== peer.number) return table.uuids.compare(peer.number, owner) > 0;
    return (table.flags(record) & FLAG_ASIDE) !== 0;
  }

  private conclude(peer: Peer): void {
    const { outbox, settings, counters } = this.core;
    const { compare } = peer;
    compare.phase = IDLE;
    compare.index = new Map();
    const useful = compare.wanted > 0 && counters.refusedRecords.full === compare.fullBefore;
    if (useful) compare.pause = 0;
    else if (compare.listHeard)
      compare.pause = Math.min(Math.max(compare.pause * 2, settings.digest), settings.compareMost);
    compare.notBefore = outbox.now + compare.pause;
  }

  // ---- sender

  onListRequest(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const { compare } = peer;
    if (compare.listing) return 0;
    const result = readListRequest(bytes, header, compare.listBuckets);
    if (result !== WIRE_OK) return result;
    compare.listing = true;
    compare.listed = new Map();
    compare.rowCount = 0;
    compare.listLeft = this.walk.start(this.walk.listing, peer);
    return 0;
  }

  /** Adds a record to the peer's list if it is in one of its buckets. */
  addRow(peer: Peer, record: number): boolean {
    const { table } = this.core;
    const { compare } = peer;
    const a = table.name(record, 0);
    if (!hasBucket(compare.listBuckets, digestBucket(a)) || this.isListFull(peer)) return false;
    const b = table.name(record, 1);
    const { rows } = compare;
    const at = compare.rowCount * LIST_ROW;
    rows[at] = a;
    rows[at + 1] = b;
    rows[at + 2] = table.words[record * RECORD_WORDS + R_EPOCH];
    rows[at + 3] = table.words[record * RECORD_WORDS + R_VERSION];
    compare.listed.set(nameKey(a, b), record);
    if (++compare.rowCount === LIST_ROWS) this.sendRows(peer);
    return true;
  }

  isListFull(peer: Peer): boolean {
    return peer.compare.listed.size >= LIST_MOST;
  }

  finishList(peer: Peer): void {
    const { compare } = peer;
    compare.listing = false;
    compare.listedAt = this.core.outbox.now;
    // Also without rows: it says that there are no more.
    this.sendRows(peer);
  }

  private sendRows(peer: Peer): void {
    const { outbox } = this.core;
    const { compare } = peer;
    const size = writeRows(outbox.bytes, LIST_ROW, compare.rows, 0, compare.rowCount);
    outbox.post(peer, MSG_LIST, compare.rowCount, size);
    compare.rowCount = 0;
  }

  /** Sends what the peer wants of what was listed for it, with the next flush. */
  onWant(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const { rows } = this;
    const result = readRows(bytes, header, WANT_ROW, rows);
    if (result !== WIRE_OK) return result;
    const { table, budget, counters } = this.core;
    for (let at = 0; at < header.count * WANT_ROW; at += WANT_ROW) {
      const record = peer.compare.listed.get(nameKey(rows[at], rows[at + 1]));
      if (record === undefined || !isNamed(table, record, rows, at) || !concerns(table, record, peer.number)) continue;
      if (budget.repairs <= 0) {
        counters.repairsPutOff++;
        return 0;
      }
      budget.repairs--;
      this.queue.addFor(peer, record);
    }
    return 0;
  }
}

/** Whether a place holds the record with the name at `rows[at]`. */
function isNamed(table: Core['table'], record: number, rows: Int32Array, at: number): boolean {
  return (
    (table.flags(record) & FLAG_LIVE) !== 0 &&
    table.name(record, 0) === rows[at] &&
    table.name(record, 1) === rows[at + 1]
  );
}
