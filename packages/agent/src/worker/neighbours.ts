/**
 * Resolving neighbours of virtual router ports: sends ARP requests and neighbour solicitations with retries, gives up, and
 * keeps the entries fresh that this host published and still uses (RFC 1122 §2.3.2.1, RFC 4861 §7.3).
 */
import { addressTag, TAG_NEIGHBOUR } from '@weft/flow';
import { ipFormat, ipIsLinkLocal, ipIsV4 } from '@weft/packet';
import type { VirtualTopologyView } from '@weft/simulator';

const RETRY_MS = 1_000;
const MAX_TRIES = 3;
/** After giving up, how long packets to the neighbour are answered at once with host unreachable. */
const FAILED_MS = 5_000;
/** Resolutions under way because of one local port: whoever scans a subnet delays nobody else. */
const MAX_PENDING_PER_PORT = 256;

interface Pending {
  readonly port: number;
  readonly ip: Uint8Array;
  readonly from: number;
  /** Name in `byEntry`, as of the start of the resolution. */
  readonly entryName: string;
  tries: number;
  nextTry: number;
  /** Set once given up: when to forget that. */
  failedUntil: number;
}

interface Published {
  readonly table: string;
  readonly key: string;
  readonly device: number;
  readonly port: number;
  readonly ip: Uint8Array;
  /** Port at which it was learned; counts against that port's cap. */
  readonly from: number;
  learnedAt: number;
  asked: boolean;
}

export interface NeighbourEffects {
  /** Sends a request for `ip` out of router port `port`. */
  request(port: number, ip: Uint8Array): void;
  /** The neighbour is marked failed or no longer: flows with these tags are to be simulated anew, waiters woken. */
  invalidate(tags: readonly number[], need: string): void;
  hasFlows(tag: number): boolean;
  remove(table: string, key: string): void;
}

export interface NeighbourLimits {
  readonly maxNeighboursPerPort: number;
  readonly neighbourStaleMs: number;
  readonly neighbourExpireMs: number;
}

/** The waiting room's name of a resolution. */
export function neighbourNeed(port: number, ip: Uint8Array): string {
  return `n/${port}/${ipFormat(ip)}`;
}

export class Neighbours {
  private readonly view: VirtualTopologyView;
  private readonly effects: NeighbourEffects;
  private readonly limits: NeighbourLimits;
  private readonly pending = new Map<string, Pending>();
  private readonly pendingPerPort = new Map<number, number>();
  /** Table entry (`interest|address`) → resolutions that it would end. */
  private readonly byEntry = new Map<string, Set<string>>();
  private readonly published = new Map<string, Published>();
  private readonly perPort = new Map<number, number>();

  constructor(view: VirtualTopologyView, effects: NeighbourEffects, limits: NeighbourLimits) {
    this.view = view;
    this.effects = effects;
    this.limits = limits;
  }

  get pendingCount(): number {
    return this.pending.size;
  }

  get publishedCount(): number {
    return this.published.size;
  }

  /**
   * Starts a resolution unless one is under way. `from`: local interface whose packet wants it.
   * @returns false if that has too many under way already.
   */
  resolve(port: number, ip: Uint8Array, from: number, now: number): boolean {
    const need = neighbourNeed(port, ip);
    if (this.pending.has(need)) return true;
    const ofPort = this.pendingPerPort.get(from) ?? 0;
    if (ofPort >= MAX_PENDING_PER_PORT) return false;
    this.pendingPerPort.set(from, ofPort + 1);
    const entryName = `t/arp/${this.view.id(this.view.port(port)?.device ?? 0)}|${ipFormat(ip)}`;
    const entry: Pending = { port, ip: ip.slice(), from, entryName, tries: 1, nextTry: now + RETRY_MS, failedUntil: 0 };
    this.pending.set(need, entry);
    const needs = this.byEntry.get(entryName);
    if (needs) needs.add(need);
    else this.byEntry.set(entryName, new Set([need]));
    this.effects.request(port, entry.ip);
    return true;
  }

  /**
   * An entry of a router's neighbour table arrived (`interest` `t/arp/<router>`, `key` an address, of a link-local one with `%port`).
   * @returns the waiting room's names of the resolutions that it ends.
   */
  noteEntry(interest: string, key: string): string[] {
    const ip = key.split('%')[0];
    const done: string[] = [];
    for (const need of this.byEntry.get(`${interest}|${ip}`) ?? []) {
      const entry = this.pending.get(need);
      if (entry) this.resolved(entry.port, entry.ip);
      done.push(need);
    }
    return done;
  }

  /** A neighbour is known now. */
  resolved(port: number, ip: Uint8Array): void {
    const need = neighbourNeed(port, ip);
    const entry = this.pending.get(need);
    if (!entry) return;
    this.forget(need, entry);
    if (entry.failedUntil > 0) this.effects.invalidate(this.view.clearNeighbourFailed(port, entry.ip), need);
  }

  private forget(need: string, entry: Pending): void {
    this.pending.delete(need);
    const left = (this.pendingPerPort.get(entry.from) ?? 1) - 1;
    if (left === 0) this.pendingPerPort.delete(entry.from);
    else this.pendingPerPort.set(entry.from, left);
    const needs = this.byEntry.get(entry.entryName);
    needs?.delete(need);
    if (needs?.size === 0) this.byEntry.delete(entry.entryName);
  }

  /**
   * Notes that this host publishes an entry. @returns false if `from` has reached its cap: then it is not to be published.
   */
  publish(entry: Omit<Published, 'learnedAt' | 'asked'>, now: number): boolean {
    const name = `${entry.table}|${entry.key}`;
    const known = this.published.get(name);
    if (known) {
      known.learnedAt = now;
      known.asked = false;
      return true;
    }
    const count = this.perPort.get(entry.from) ?? 0;
    if (count >= this.limits.maxNeighboursPerPort) return false;
    this.perPort.set(entry.from, count + 1);
    this.published.set(name, { ...entry, ip: entry.ip.slice(), learnedAt: now, asked: false });
    return true;
  }

  /** Runs timers; call about ten times a second. */
  tick(now: number): void {
    for (const [need, entry] of this.pending) {
      if (entry.failedUntil > 0) {
        if (now >= entry.failedUntil) {
          this.forget(need, entry);
          this.effects.invalidate(this.view.clearNeighbourFailed(entry.port, entry.ip), need);
        }
      } else if (now >= entry.nextTry) {
        if (entry.tries >= MAX_TRIES) {
          entry.failedUntil = now + FAILED_MS;
          this.effects.invalidate(this.view.markNeighbourFailed(entry.port, entry.ip), need);
        } else {
          entry.tries++;
          entry.nextTry = now + RETRY_MS;
          this.effects.request(entry.port, entry.ip);
        }
      }
    }
    for (const [name, entry] of this.published) {
      const age = now - entry.learnedAt;
      if (age >= this.limits.neighbourExpireMs) this.withdraw(name, entry);
      else if (age >= this.limits.neighbourStaleMs && !entry.asked && this.inUse(entry)) {
        entry.asked = true;
        this.effects.request(entry.port, entry.ip);
      }
    }
  }

  private inUse(entry: Published): boolean {
    // As the simulator tags them: a link-local address is a neighbour of the port, any other of the router.
    const owner = ipIsLinkLocal(entry.ip) && !ipIsV4(entry.ip) ? entry.port : entry.device;
    return entry.port !== 0 && this.effects.hasFlows(addressTag(TAG_NEIGHBOUR, owner, entry.ip, 0));
  }

  private withdraw(name: string, entry: Published): void {
    this.published.delete(name);
    const left = (this.perPort.get(entry.from) ?? 1) - 1;
    if (left === 0) this.perPort.delete(entry.from);
    else this.perPort.set(entry.from, left);
    this.effects.remove(entry.table, entry.key);
  }
}
