/**
 * MAC addresses that this host learned. An entry is shared with all hosts through the state table of its bridge; it stays
 * as long as a flow of this host uses it and `macIdleMs` longer. A port can make the cluster remember only so many.
 */
import type { DropReason } from '@weft/flow';

export interface MacEffects {
  /** Publishes `key` (see `macKey`) of bridge → port. */
  put(bridge: number, vlan: number, mac: number, port: number): void;
  remove(bridge: number, vlan: number, mac: number): void;
  capHit(reason: DropReason): void;
}

interface Entry {
  readonly bridge: number;
  readonly vlan: number;
  readonly mac: number;
  port: number;
  flows: number;
  /** When the last flow left, or the MAC was last seen without one; ms. */
  idleSince: number;
}

export class LearnedMacs {
  private readonly effects: MacEffects;
  private readonly maxPerPort: number;
  private readonly idleMs: number;
  private readonly entries: (Entry | undefined)[] = [];
  private readonly free: number[] = [];
  /** (bridge × 4096 + VLAN) → MAC as a number < 2^48 → entry. */
  private readonly tables = new Map<number, Map<number, number>>();
  private readonly perPort = new Map<number, number>();

  constructor(effects: MacEffects, limits: { maxMacsPerPort: number; macIdleMs: number }) {
    this.effects = effects;
    this.maxPerPort = limits.maxMacsPerPort;
    this.idleMs = limits.macIdleMs;
  }

  get size(): number {
    return this.entries.length - this.free.length;
  }

  /**
   * Notes that `mac` was seen entering by `port`.
   * @param published where the shared table has it now (port handle, 0: nowhere): an entry that another host took over is
   *   published again, since the MAC moved here.
   * @returns the entry, for `reference`; -1 if the port's cap is reached (the frame goes on, the MAC is not remembered).
   */
  learn(bridge: number, vlan: number, mac: number, port: number, published: number, now: number): number {
    const tableKey = bridge * 4096 + (vlan & 0xfff);
    let table = this.tables.get(tableKey);
    if (!table) this.tables.set(tableKey, (table = new Map()));
    const known = table.get(mac);
    if (known !== undefined) {
      const entry = this.entries[known]!;
      entry.idleSince = now;
      if (entry.port !== port) {
        if (!this.admit(port)) return -1;
        this.countPort(entry.port, -1);
        this.countPort(port, 1);
        entry.port = port;
        this.effects.put(bridge, vlan, mac, port);
      } else if (published !== port) this.effects.put(bridge, vlan, mac, port);
      return known;
    }
    if (!this.admit(port)) return -1;
    this.countPort(port, 1);
    const id = this.free.pop() ?? this.entries.length;
    this.entries[id] = { bridge, vlan, mac, port, flows: 0, idleSince: now };
    table.set(mac, id);
    this.effects.put(bridge, vlan, mac, port);
    return id;
  }

  private admit(port: number): boolean {
    if ((this.perPort.get(port) ?? 0) < this.maxPerPort) return true;
    this.effects.capHit('cap_macs');
    return false;
  }

  private countPort(port: number, by: number): void {
    const n = (this.perPort.get(port) ?? 0) + by;
    if (n === 0) this.perPort.delete(port);
    else this.perPort.set(port, n);
  }

  /** A flow uses the entry. */
  reference(id: number): void {
    const entry = this.entries[id];
    if (entry) entry.flows++;
  }

  release(id: number, now: number): void {
    const entry = this.entries[id];
    if (!entry) return;
    entry.flows--;
    entry.idleSince = now;
  }

  /** Withdraws entries that no flow used for `macIdleMs`. */
  expire(now: number): void {
    this.entries.forEach((entry, id) => {
      if (entry && entry.flows <= 0 && now - entry.idleSince >= this.idleMs) this.drop(id, entry);
    });
  }

  /** Withdraws everything learned on a port that is gone. Flows of the port must be gone before. */
  dropPort(port: number): void {
    this.entries.forEach((entry, id) => {
      if (entry?.port === port) this.drop(id, entry);
    });
  }

  private drop(id: number, entry: Entry): void {
    this.entries[id] = undefined;
    this.free.push(id);
    this.countPort(entry.port, -1);
    const tableKey = entry.bridge * 4096 + (entry.vlan & 0xfff);
    const table = this.tables.get(tableKey);
    table?.delete(entry.mac);
    if (table?.size === 0) this.tables.delete(tableKey);
    this.effects.remove(entry.bridge, entry.vlan, entry.mac);
  }
}
