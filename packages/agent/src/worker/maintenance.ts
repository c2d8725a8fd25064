/** What the worker does by the clock: counters, idle flows, eviction, timers of MACs, neighbours and the waiting room. */
import { dropReason } from '@weft/flow';
import { type Core, countDrop } from './core.ts';
import type { PacketPath } from './packet-path.ts';

const WAITING_EXPIRED = dropReason('waiting_room_expired');
/** Eviction begins above the first and ends at the second share of the flow table. */
const EVICT_ABOVE = 0.9;
const EVICT_TO = 0.8;

/** Reads the counters of all flows; what they have counted goes to the rules that they passed. */
export function readFlows({ installer: { table }, rules, packets, bytes, datapath }: Core, now: number): void {
  for (let first = 0; first < table.capacity; first += packets.length) {
    packets.fill(0);
    bytes.fill(0);
    datapath.readCounters(packets, bytes, first);
    const n = Math.min(packets.length, table.capacity - first);
    for (let i = 0; i < n; i++) if (table.isUsed(first + i)) rules.take(first + i, packets[i], bytes[i], now);
  }
}

/** Counters, idle and overdue flows, eviction; about once a second. */
export function sweepFlows(core: Core, now: number): void {
  const { installer } = core;
  readFlows(core, now);
  const idle = core.limits.flowIdleMs;
  installer.table.forEach((slot) => {
    // What its packets have kept alive.
    if (installer.activeAt[slot] === now) core.connections.moved(slot, now);
    const overdue = installer.expiresAt[slot] > 0 && now >= installer.expiresAt[slot];
    if (!overdue && now - installer.activeAt[slot] < idle) return;
    core.counters.expired++;
    installer.remove(slot, now);
  });
  if (installer.table.size > installer.table.capacity * EVICT_ABOVE) evict(core, now);
  installer.flush();
}

/** Makes room by taking the flows that were idle longest. */
function evict(core: Core, now: number): void {
  const { installer } = core;
  const ages: number[] = [];
  installer.table.forEach((slot) => {
    ages.push(installer.activeAt[slot]);
  });
  ages.sort((a, b) => a - b);
  let surplus = installer.table.size - Math.floor(installer.table.capacity * EVICT_TO);
  const threshold = ages[surplus - 1];
  installer.table.forEach((slot) => {
    if (surplus <= 0 || installer.activeAt[slot] > threshold) return;
    surplus--;
    core.counters.evicted++;
    installer.remove(slot, now);
  });
}

/** Takes out all flows, after what they have counted is known: their next packets are decided anew. @returns how many */
export function flushFlows(core: Core, now: number): number {
  sweepFlows(core, now);
  const { installer } = core;
  const removed = installer.table.size;
  installer.table.forEach((slot) => {
    installer.remove(slot, now);
  });
  installer.flush();
  return removed;
}

/** Packets whose wait is over: they are dropped, counted. */
export function sweepWaiting(core: Core, now: number): void {
  for (const _ of core.waiting.expire(now)) core.counters.drops[WAITING_EXPIRED]++;
}

/** Wakes what waits for `needs` and sends it through again. */
export function wake(core: Core, path: PacketPath, needs: Iterable<string>, now: number): void {
  for (const packet of core.waiting.wake(needs)) {
    try {
      path.retry(packet, now);
    } catch (error) {
      core.counters.errors++;
      countDrop(core.counters, 'malformed');
      core.effects.log('packet.failed', { error: (error as Error).stack });
    }
  }
}
