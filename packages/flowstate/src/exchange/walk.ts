import { FLAG_LIVE } from '../record.ts';
import type { Compare } from './compare.ts';
import type { Core } from './core.ts';
import type { Peer } from './peer.ts';
import type { Sync } from './sync.ts';

/**
 * Walks over the table in slices, round and round, while something needs all records: synchronisations and lists that are given, indexes
 * for lists that are asked for. One walk serves all of them, so that many peers that come at once cost one pass.
 */
export class Walk {
  readonly syncing = new Set<Peer>();
  readonly listing = new Set<Peer>();
  readonly indexing = new Set<Peer>();
  private readonly core: Core;
  private sync!: Sync;
  private compare!: Compare;
  private cursor = 0;
  /** Places of the table that the jobs reckon with. */
  private places = 0;
  /** Of the audience last seen: the peers in it that are served. */
  private audience = -1;
  private readonly recipients: Peer[] = [];
  private indexers: Peer[] = [];

  constructor(core: Core) {
    this.core = core;
  }

  /** The parts that use what is met. Once, before the first step. */
  serve(sync: Sync, compare: Compare): void {
    this.sync = sync;
    this.compare = compare;
  }

  /** A peer's job begins. Returns how many places it is to look at. */
  start(jobs: Set<Peer>, peer: Peer): number {
    this.grow();
    jobs.add(peer);
    return this.places;
  }

  /** All jobs of a peer end. */
  drop(peer: Peer): void {
    this.syncing.delete(peer);
    this.listing.delete(peer);
    this.indexing.delete(peer);
  }

  /** One slice: bounded records looked at, bounded records sent. */
  step(): void {
    const { syncing, listing, indexing } = this;
    if (syncing.size + listing.size + indexing.size === 0) return;
    const { settings } = this.core;
    this.grow();
    this.audience = -1;
    this.indexers = [...indexing];
    const scan = Math.min(settings.scanPerTick, this.places);
    let budget = settings.syncPerTick;
    let visited = 0;
    while (visited < scan && budget > 0) {
      if (this.cursor >= this.places) this.cursor = 0;
      budget -= this.visit(this.cursor++);
      visited++;
    }
    for (const peer of syncing) {
      peer.sync.left -= visited;
      this.sync.sendSlice(peer);
      if (peer.sync.left > 0) continue;
      syncing.delete(peer);
      this.sync.finish(peer);
    }
    for (const peer of listing) {
      peer.compare.listLeft -= visited;
      if (peer.compare.listLeft > 0 && !this.compare.isListFull(peer)) continue;
      listing.delete(peer);
      this.compare.finishList(peer);
    }
    for (const peer of indexing) {
      peer.compare.indexLeft -= visited;
      if (peer.compare.indexLeft > 0) continue;
      indexing.delete(peer);
      this.compare.finishIndex(peer);
    }
  }

  /** Looks at a place. Returns what it costs of the budget, in records sent. */
  private visit(record: number): number {
    const { table, peers } = this.core;
    if ((table.flags(record) & FLAG_LIVE) === 0) return 0;
    let cost = 0;
    const owner = table.owner(record);
    if (owner === table.self) {
      const audience = table.audience(record);
      if (audience !== this.audience) this.setRecipients(audience);
      for (let i = 0; i < this.recipients.length; i++) {
        const peer = this.recipients[i];
        if (peer.sync.giving) {
          peer.sync.slice.push(record);
          cost++;
        }
        // A row is a quarter of a record in bytes.
        if (peer.compare.listing && this.compare.addRow(peer, record)) cost += 0.25;
      }
    } else if (this.syncing.size > 0) {
      const peer = peers.get(owner);
      if (peer?.sync.giving) {
        peer.sync.slice.push(record);
        cost++;
      }
    }
    for (let i = 0; i < this.indexers.length; i++) this.compare.addToIndex(this.indexers[i], record);
    return cost;
  }

  private setRecipients(audience: number): void {
    const { table, peers } = this.core;
    this.audience = audience;
    this.recipients.length = 0;
    for (const member of table.audiences.members(audience)) {
      const peer = peers.get(member);
      if (peer?.sync.giving || peer?.compare.listing) this.recipients.push(peer);
    }
  }

  /** The table has grown: all jobs have more to look at. */
  private grow(): void {
    const more = this.core.table.places - this.places;
    if (more === 0) return;
    this.places += more;
    for (const peer of this.syncing) peer.sync.left += more;
    for (const peer of this.listing) peer.compare.listLeft += more;
    for (const peer of this.indexing) peer.compare.indexLeft += more;
  }
}
