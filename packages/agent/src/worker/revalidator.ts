/**
 * Simulates flows anew whose ground has changed, a batch per turn. A flow goes on forwarding until its turn comes; the
 * revision counts as applied only when none is left.
 */
import {
  A_COUNTER_SLOT,
  actionId,
  FLOW_FIRST_KEY,
  KEY_SIZE,
  keyFits,
  keyInPort,
  readU32le,
  TAG_INGRESS,
  tag,
} from '@weft/flow';
import type { Core } from './core.ts';
import { FLOW_STALE, FLOW_STANDS, FLOW_UNKNOWN, type FlowVerdict, type PacketPath } from './packet-path.ts';

export class Revalidator {
  private readonly core: Core;
  private readonly path: PacketPath;
  /** Slots to do, and which are in the list. */
  private readonly queue: number[] = [];
  private head = 0;
  private readonly queued: Uint8Array;
  /** Flows of an earlier process that have not passed a simulation yet. */
  private readonly adopted = new Set<number>();

  constructor(core: Core, path: PacketPath) {
    this.core = core;
    this.path = path;
    this.queued = new Uint8Array(core.installer.table.capacity);
  }

  /** Flows that wait for their turn. */
  get pending(): number {
    return this.queue.length - this.head;
  }

  /** Adopted flows that are not verified. */
  get unverified(): number {
    return this.adopted.size;
  }

  /** Takes over what an earlier process left in the datapath. Flows without room here are deleted there. */
  adopt(now: number): void {
    const { core } = this;
    const orphans: Uint8Array[] = [];
    const adopted = core.datapath.adopted();
    if (adopted.upgrade) core.effects.log('datapath.upgraded', { ...adopted.upgrade });
    adopted.forEachFlow((key, value) => {
      // A first packet of another flow says nothing of this one: the earlier process was killed while it wrote.
      const slot = keyFits(value, FLOW_FIRST_KEY, key, 0)
        ? core.installer.adopt(key, value, readU32le(value, A_COUNTER_SLOT), actionId(value), now)
        : -1;
      if (slot < 0) orphans.push(key.slice(0, KEY_SIZE));
      else {
        this.adopted.add(slot);
        core.installer.tags.assign(slot, [tag(TAG_INGRESS, keyInPort(key))]);
      }
    });
    for (const key of orphans) core.datapath.deleteFlows(key, 1);
    if (this.adopted.size > 0 || orphans.length > 0) {
      core.effects.log('flows.adopted', { flows: this.adopted.size, orphans: orphans.length });
    }
  }

  /** Queues all flows with these tags. */
  invalidate(tags: Iterable<number>): void {
    for (const t of tags) this.core.installer.tags.forEach(t, (slot) => this.enqueue(slot));
  }

  private enqueue(slot: number): void {
    if (this.queued[slot] === 1) return;
    this.queued[slot] = 1;
    this.queue.push(slot);
  }

  /** Queues all adopted flows that have not passed yet: the topology has grown, they may now. */
  retryAdopted(): void {
    for (const slot of this.adopted) this.enqueue(slot);
  }

  /**
   * The topology is as complete as it will get: adopted flows that could not be verified go.
   */
  abandonAdopted(now: number): void {
    for (const slot of this.adopted) if (this.core.installer.table.isUsed(slot)) this.core.installer.remove(slot, now);
    if (this.adopted.size > 0) this.core.effects.log('flows.abandoned', { flows: this.adopted.size });
    this.adopted.clear();
    this.core.installer.flush();
  }

  /** Does at most `max` flows. */
  run(max: number, now: number): void {
    const { core } = this;
    const end = Math.min(this.queue.length, this.head + max);
    while (this.head < end) {
      const slot = this.queue[this.head++];
      this.queued[slot] = 0;
      if (core.installer.table.isUsed(slot)) this.one(slot, now);
      else this.adopted.delete(slot);
    }
    if (this.head === this.queue.length) {
      this.queue.length = 0;
      this.head = 0;
    }
    core.installer.flush();
  }

  private one(slot: number, now: number): void {
    const { core } = this;
    let verdict: FlowVerdict = FLOW_STALE;
    try {
      verdict = this.path.revalidate(slot, now);
    } catch (error) {
      core.counters.errors++;
      core.effects.log('flow.revalidation_failed', { error: (error as Error).stack });
    }
    // An adopted flow goes on while its topology is on the way; any other is decided anew by its next packet.
    if (verdict === FLOW_UNKNOWN && this.adopted.has(slot)) return;
    this.adopted.delete(slot);
    if (verdict !== FLOW_STANDS) core.installer.remove(slot, now);
  }
}
