/** What waits to be written: a ring of bounded size in the order of arrival, in which a name stands once. */
import { encodeBody } from './codec.ts';
import {
  type ArchivedKey,
  type ArchivedRecord,
  type ArchiveStats,
  compareVersions,
  MAX_REMAINING,
  type RecordVersion,
} from './contract.ts';

/** One record or removal that waits. */
export interface Write {
  readonly name: string;
  readonly ports: readonly string[];
  readonly version: RecordVersion;
  readonly removal: boolean;
  readonly body: Buffer;
  /** When the record expires, by the queue's clock; of a removal when it was given. */
  readonly deadline: number;
}

/** Whether `a` is to be kept rather than `b`, both of one name. */
function prevails(a: Write, b: Write): boolean {
  const order = compareVersions(a.version, b.version);
  if (order !== 0) return order > 0;
  return a.removal !== b.removal ? a.removal : a.deadline > b.deadline;
}

export class WriteQueue {
  /** Milliseconds, steady. */
  readonly #now: () => number;
  readonly #ring: (Write | undefined)[];
  readonly #places = new Map<string, number>();
  #head = 0;
  #offered = 0;
  #writing = 0;
  #written = 0;
  #superseded = 0;
  #expired = 0;
  #dropped = 0;
  #failed = 0;
  #invalid = 0;
  /** These three are kept by who reads and writes. */
  evicted = 0;
  damaged = 0;
  up = true;
  closed = false;

  constructor(capacity: number, now: () => number) {
    this.#ring = new Array<Write | undefined>(capacity).fill(undefined);
    this.#now = now;
  }

  get size(): number {
    return this.#places.size;
  }
  /** Taken, and neither reported as done nor given back. */
  get writing(): number {
    return this.#writing;
  }

  put(records: readonly ArchivedRecord[]): void {
    const now = this.#now();
    for (const record of records) {
      const body = record.remaining > 0 ? encodeBody(record, record.bytes) : undefined;
      this.#offer(record, body, false, now + Math.min(record.remaining, MAX_REMAINING));
    }
  }

  remove(keys: readonly ArchivedKey[]): void {
    const now = this.#now();
    for (const key of keys) this.#offer(key, encodeBody(key), true, now);
  }

  #offer(key: ArchivedKey, body: Buffer | undefined, removal: boolean, deadline: number): void {
    this.#offered++;
    if (body === undefined) {
      this.#invalid++;
      return;
    }
    if (this.closed) {
      this.#dropped++;
      return;
    }
    const { name, ingress, egress, version } = key;
    const ports = egress === undefined || egress === ingress ? [ingress] : [ingress, egress];
    this.#enter({ name, ports, version, removal, body, deadline });
  }

  /** Puts a write behind all others, or in the place of the one that has its name. */
  #enter(write: Write): void {
    const place = this.#places.get(write.name);
    if (place !== undefined) {
      this.#superseded++;
      if (prevails(write, this.#ring[place]!)) this.#ring[place] = write;
      return;
    }
    if (this.size === this.#ring.length) {
      this.#shift();
      this.#dropped++;
    }
    const free = (this.#head + this.size) % this.#ring.length;
    this.#ring[free] = write;
    this.#places.set(write.name, free);
  }

  #shift(): Write | undefined {
    const write = this.#ring[this.#head];
    if (write === undefined) return undefined;
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#ring.length;
    this.#places.delete(write.name);
    return write;
  }

  /** The oldest that still lives, or undefined. */
  take(): Write | undefined {
    const now = this.#now();
    for (let write = this.#shift(); write !== undefined; write = this.#shift()) {
      if (write.removal || write.deadline > now) {
        this.#writing++;
        return write;
      }
      this.#expired++;
    }
    return undefined;
  }

  /** What was taken has been written. */
  done(count = 1): void {
    this.#writing -= count;
    this.#written += count;
  }
  /** What was taken found no room. */
  drop(count = 1): void {
    this.#writing -= count;
    this.#dropped += count;
  }
  /** What was taken could not be written, and will not be. */
  fail(count = 1): void {
    this.#writing -= count;
    this.#failed += count;
  }

  /** Takes back what could not be written: as the oldest, unless its place has gone to others. */
  giveBack(write: Write): void {
    this.#writing--;
    if (this.#places.has(write.name)) {
      this.#enter(write);
    } else if (this.size === this.#ring.length) {
      this.#dropped++;
    } else {
      this.#head = (this.#head + this.#ring.length - 1) % this.#ring.length;
      this.#ring[this.#head] = write;
      this.#places.set(write.name, this.#head);
    }
  }

  /** Drops all that waits. */
  clear(): void {
    while (this.#shift() !== undefined) this.#dropped++;
  }

  stats(): ArchiveStats {
    return {
      up: this.up,
      offered: this.#offered,
      queued: this.size,
      writing: this.#writing,
      written: this.#written,
      superseded: this.#superseded,
      expired: this.#expired,
      dropped: this.#dropped,
      failed: this.#failed,
      invalid: this.#invalid,
      evicted: this.evicted,
      damaged: this.damaged,
    };
  }
}
