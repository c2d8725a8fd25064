import { FLAG_LIVE } from '../record.ts';
import { MSG_STATE } from '../wire/header.ts';
import type { Core } from './core.ts';
import { NumberList } from './number-list.ts';
import type { Peer } from './peer.ts';

/** Records that changed and wait to be told: each once, however often it changed, as it is when it is sent. */
export class PublishQueue {
  private readonly core: Core;
  private readonly records = new NumberList();
  private readonly queued: Uint8Array;
  /** Peers with records in `pending`. */
  private readonly dirty: Peer[] = [];

  constructor(core: Core) {
    this.core = core;
    this.queued = new Uint8Array(core.table.capacity);
  }

  /** For all of the record's audience, and its owner. */
  add(record: number): void {
    if (this.queued[record] !== 0) return;
    this.queued[record] = 1;
    this.records.push(record);
  }

  /** For one peer. */
  addFor(peer: Peer, record: number): void {
    if (peer.pending.length === 0) this.dirty.push(peer);
    peer.pending.push(record);
  }

  flush(): void {
    const { records, dirty } = this;
    for (let i = 0; i < records.length; i++) this.distribute(records.items[i]);
    records.length = 0;
    for (let i = 0; i < dirty.length; i++) this.send(dirty[i]);
    dirty.length = 0;
  }

  private distribute(record: number): void {
    const { table, outbox } = this.core;
    this.queued[record] = 0;
    if ((table.flags(record) & FLAG_LIVE) === 0) return;
    const owner = table.owner(record);
    const members = table.audiences.members(table.audience(record));
    for (let i = 0; i < members.length; i++) if (members[i] !== owner) this.addForHost(members[i], record);
    this.addForHost(owner, record);
    table.markTold(record, outbox.now);
  }

  private addForHost(host: number, record: number): void {
    const { table, peers, counters } = this.core;
    if (host === table.self) return;
    const peer = peers.get(host);
    if (peer?.reachable) this.addFor(peer, record);
    else counters.unreachable++;
  }

  private send(peer: Peer): void {
    const { table, outbox } = this.core;
    const { pending } = peer;
    // Removed since, or in a new life that synchronises.
    if (peer.reachable) {
      outbox.begin(peer, MSG_STATE, 0);
      for (let i = 0; i < pending.length; i++) {
        if (table.flags(pending.items[i]) & FLAG_LIVE) outbox.add(peer, pending.items[i]);
      }
      outbox.end(peer);
    }
    pending.length = 0;
  }
}
