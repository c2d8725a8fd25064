import { ConnectionRecord, R_EPOCH, R_VERSION, RECORD_WORDS } from '../record.ts';
import { APPLY_JOINED, APPLY_SAME, REFUSED_FENCED, REFUSED_STALE } from '../table.ts';
import type { WireHeader } from '../wire/header.ts';
import { RecordReader } from '../wire/records.ts';
import type { Core } from './core.ts';
import type { Peer } from './peer.ts';
import type { PublishQueue } from './publish.ts';

/**
 * Takes in the records of peers whose datagrams were accepted. A peer is who it says, but may be wrong, or in wrong hands. What it says of
 * its own connections is believed. Of connections of other hosts it may say what it has seen, and pass on versions; those stay
 * aside, so that their owner's digest still shows whether the owner has sent them. Of this host's own connections it may say what it
 * has seen, and bring back those of earlier lives, of which the memory may be lost. What this host made in its present life and does
 * not know is over, or was never there: only an answer to an ask brings it back.
 *
 * What stays is inherent to hosts that trust each other: a peer can claim a connection with any tuple, a version so high that
 * nobody supersedes it, or a token of a NAT block so high that the block's records are fenced.
 */
export class Intake {
  readonly reader: RecordReader;
  private readonly core: Core;
  private readonly queue: PublishQueue;
  private readonly record = new ConnectionRecord();

  constructor(core: Core, queue: PublishQueue) {
    this.core = core;
    this.queue = queue;
    this.reader = new RecordReader(core.table.uuids);
  }

  /** Opens a datagram with records. What it is about: `reader.about`. Returns WIRE_…. */
  open(bytes: Uint8Array, header: WireHeader): number {
    this.core.counters.receivedRecords += header.count;
    return this.reader.open(bytes, header);
  }

  /**
   * Applies the records of the datagram that was opened.
   * @param asked if it is the answer to an ask: the words that have its tuple at `askedAt`. Records without it are left out
   * @returns how many were new, newer or joined; or WIRE_… when a record could not be read: those before it are applied
   */
  take(peer: Peer, asked?: Int32Array, askedAt = 0): number {
    const { record, reader } = this;
    let applied = 0;
    let result: number;
    while ((result = reader.next(record)) > 0) {
      if (asked !== undefined && !hasTuple(record, asked, askedAt)) {
        this.core.counters.refusedRecords.unasked++;
      } else if (this.apply(peer, asked !== undefined)) applied++;
    }
    return result < 0 ? result : applied;
  }

  private apply(peer: Peer, isAnswer: boolean): boolean {
    const { table, counters, outbox } = this.core;
    const { record } = this;
    const own = record.owner === table.self;
    if (own && !isAnswer && record.epoch === table.incarnation && this.isUnknown()) {
      counters.refusedRecords.claimed++;
      return false;
    }
    const aside = !own && (isAnswer || record.owner !== peer.number);
    const result = table.apply(record, outbox.now, aside);
    if (result < 0) {
      if (result === REFUSED_STALE) {
        counters.refusedRecords.stale++;
        if (record.owner === peer.number) this.correct(peer);
      } else if (result === REFUSED_FENCED) counters.refusedRecords.fenced++;
      else counters.refusedRecords.full++;
      return false;
    }
    if (result === APPLY_SAME) return false;
    if (result === APPLY_JOINED) counters.joined++;
    else counters.applied++;
    this.core.onApplied(table.last, result);
    return true;
  }

  /** A peer says of a connection that it is its own, and another host has become its owner: the peer has missed that. */
  private correct(peer: Peer): void {
    const { table, budget } = this.core;
    const known = table.locate(this.record.words, 0);
    if (known < 0 || table.owner(known) === peer.number || budget.repairs <= 0) return;
    budget.repairs--;
    this.queue.addFor(peer, known);
  }

  /** Whether a record of this host's is newer than what the table knows of it. */
  private isUnknown(): boolean {
    const { table } = this.core;
    const { record } = this;
    const known = table.locate(record.words, 0);
    if (known < 0) return true;
    const base = known * RECORD_WORDS;
    const epoch = table.words[base + R_EPOCH] >>> 0;
    const version = table.words[base + R_VERSION] >>> 0;
    if (record.epoch !== epoch) return record.epoch > epoch;
    if (record.version !== version) return record.version > version;
    return table.uuids.compare(record.owner, table.owner(known)) > 0;
  }
}

/** Whether a tuple is one of a record's two. */
function hasTuple(record: ConnectionRecord, words: Int32Array, at: number): boolean {
  const own = record.words;
  if (own[0] !== words[at]) return false;
  let forward = true;
  let back = true;
  for (let i = 0; i < 9; i++) {
    forward &&= own[1 + i] === words[at + 1 + i];
    back &&= own[10 + i] === words[at + 1 + i];
  }
  return forward || back;
}
