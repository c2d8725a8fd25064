/**
 * The archive on the host's own disk: a log per port. Writes are gathered for a moment and appended; logs are replaced when they have
 * grown too long, when they come from an earlier life, and when nothing in them can matter any more. One process per directory.
 */
import { mkdirSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { takeOwnership } from '../../embedded/owner.ts';
import { NsdbError } from '../../errors.ts';
import { isUuid } from '../codec.ts';
import {
  type ArchivedRecord,
  type ArchiveStats,
  CHUNK_RECORDS,
  type FlowStateArchive,
  GRACE,
  type ReadOptions,
} from '../contract.ts';
import { type Write, WriteQueue } from '../write-queue.ts';
import { type ArchiveClock, stampNow, systemClock } from './clock.ts';
import { encodeEntry } from './entry.ts';
import { type Content, PortLog, readLog, remainingOf } from './port-log.ts';

const SUFFIX = '.log';
/** Writes that are taken from the queue at once: less than a MiB. */
const BATCH = 512;
/** So much of a log stays at most when it is replaced. The rest is room for a batch, however long its entries are. */
const KEPT = 0.75;
const MIN_PORT_BYTES = 4 * 2 ** 20;

export interface EmbeddedArchiveOptions {
  /** Made if it is not there, for its owner only. */
  readonly dir: string;
  /** Records that may wait to be written. */
  readonly maxQueued?: number;
  /** Bytes of one port's log, at least 4 MiB; beyond it the records that were written longest ago go. */
  readonly maxPortBytes?: number;
  /** Bytes of all logs; beyond it nothing is written. */
  readonly maxBytes?: number;
  /** How long writes are gathered, ms. */
  readonly gatherMs?: number;
  /** How often what was written is synchronised with the disk, ms: so much is lost when the machine loses power. */
  readonly syncMs?: number;
  readonly clock?: ArchiveClock;
}

/** @throws NsdbError WEFT_STORE_LOCKED when another process has the directory; errors of the file system */
export function openEmbeddedArchive(options: EmbeddedArchiveOptions): FlowStateArchive {
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  return new EmbeddedArchive(options, takeOwnership(options.dir));
}

class EmbeddedArchive implements FlowStateArchive {
  readonly #dir: string;
  readonly #maxPortBytes: number;
  readonly #maxBytes: number;
  readonly #syncMs: number;
  readonly #clock: ArchiveClock;
  readonly #queue: WriteQueue;
  readonly #logs = new Map<string, PortLog>();
  readonly #letGo: () => void;
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;
  #synced: number;
  /** Ends when all file work asked for so far has ended; never fails. */
  #work: Promise<void> = Promise.resolve();
  #idle = true;

  constructor(options: EmbeddedArchiveOptions, letGo: () => void) {
    this.#dir = options.dir;
    this.#maxPortBytes = Math.max(options.maxPortBytes ?? 16 * 2 ** 20, MIN_PORT_BYTES);
    this.#maxBytes = options.maxBytes ?? 2 ** 30;
    this.#syncMs = options.syncMs ?? 5_000;
    this.#clock = options.clock ?? systemClock();
    this.#queue = new WriteQueue(options.maxQueued ?? 65_536, () => this.#clock.steady());
    this.#letGo = letGo;
    this.#synced = this.#clock.steady();
    for (const name of readdirSync(this.#dir)) this.#find(name);
    this.#timer = setInterval(() => this.#idle && void this.#turn(), options.gatherMs ?? 200).unref();
  }

  /** A file of an earlier life. */
  #find(name: string): void {
    const path = join(this.#dir, name);
    const port = name.slice(0, -SUFFIX.length);
    if (name.endsWith(`${SUFFIX}.new`)) unlinkSync(path);
    if (!name.endsWith(SUFFIX) || !isUuid(port)) return;
    const log = new PortLog(path, statSync(path).size);
    this.#logs.set(port, log);
    this.#bytes += log.size;
  }

  put(records: readonly ArchivedRecord[]): void {
    this.#queue.put(records);
  }

  remove(keys: Parameters<FlowStateArchive['remove']>[0]): void {
    this.#queue.remove(keys);
  }

  stats(): ArchiveStats {
    return this.#queue.stats();
  }

  flush(): Promise<void> {
    return this.#turn();
  }

  async close(): Promise<void> {
    if (this.#queue.closed) return this.#work;
    this.#queue.closed = true;
    clearInterval(this.#timer);
    await this.#turn();
    await this.#do(() => this.#sync());
    this.#letGo();
  }

  async *read(port: string, options: ReadOptions = {}): AsyncGenerator<readonly ArchivedRecord[]> {
    const log = this.#logs.get(port);
    if (log === undefined) return;
    let content: Content;
    try {
      content = await this.#do(() => readLog(log.path, stampNow(this.#clock), options.signal));
    } catch (error) {
      options.signal?.throwIfAborted();
      throw new NsdbError('WEFT_ARCHIVE_AWAY', `${log.path}: ${(error as Error).message}`, [], { cause: error });
    }
    if (content.damaged) this.#queue.damaged++;
    let chunk: ArchivedRecord[] = [];
    for (const entry of content.newest.values()) {
      const remaining = remainingOf(entry, stampNow(this.#clock));
      if (entry.removal || remaining <= 0) continue;
      chunk.push({ ...entry.record, remaining });
      if (chunk.length < CHUNK_RECORDS) continue;
      yield chunk;
      options.signal?.throwIfAborted();
      chunk = [];
    }
    if (chunk.length > 0) yield chunk;
  }

  /** Runs file work behind all that was asked for before: one at a time. */
  #do<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    const ended = (): void => {
      if (this.#work === tail) this.#idle = true;
    };
    const tail = done.then(ended, ended);
    this.#work = tail;
    this.#idle = false;
    return done;
  }

  /** Writes what waits, clears one log away if there is one to clear, synchronises if it is time to. */
  #turn(): Promise<void> {
    return this.#do(async () => {
      do await this.#writeBatch();
      while (this.#queue.size > 0);
      await this.#clearOne();
      if (this.#clock.steady() - this.#synced >= this.#syncMs) await this.#sync();
    });
  }

  async #writeBatch(): Promise<void> {
    const stamp = stampNow(this.#clock);
    const byPort = new Map<string, Write[]>();
    const lost = new Map<Write, 'dropped' | 'failed'>();
    const batch: Write[] = [];
    for (let write: Write | undefined; batch.length < BATCH && (write = this.#queue.take()) !== undefined; ) {
      batch.push(write);
      for (const port of write.ports) {
        const writes = byPort.get(port);
        if (writes === undefined) byPort.set(port, [write]);
        else writes.push(write);
      }
    }
    for (const [port, writes] of byPort) {
      const entries = writes.map(({ removal, deadline, body }) =>
        encodeEntry({ removal, stamp, remaining: removal ? 0 : deadline - stamp.steady, body }),
      );
      const deadAt = writes.reduce((latest, { deadline }) => Math.max(latest, deadline), 0) + GRACE;
      const fate = await this.#append(port, Buffer.concat(entries), deadAt);
      if (fate !== 'written') for (const write of writes) lost.set(write, fate);
    }
    for (const write of batch) {
      const fate = lost.get(write);
      if (fate === undefined) this.#queue.done();
      else if (fate === 'dropped') this.#queue.drop();
      else this.#queue.fail();
    }
    if (batch.length > 0) this.#queue.up = ![...lost.values()].includes('failed');
  }

  async #append(port: string, bytes: Buffer, deadAt: number): Promise<'written' | 'dropped' | 'failed'> {
    let log = this.#logs.get(port);
    if (log === undefined) {
      log = new PortLog(join(this.#dir, port + SUFFIX), 0);
      this.#logs.set(port, log);
    }
    try {
      if (log.isDue(bytes.length, this.#maxPortBytes)) {
        await this.#replace(log).catch((error) => {
          if (log.suspect || log.size + bytes.length > this.#maxPortBytes) throw error;
        });
      }
      if (this.#bytes + bytes.length > this.#maxBytes) return 'dropped';
      await log.append(bytes, deadAt);
      this.#bytes += bytes.length;
      return 'written';
    } catch {
      return 'failed';
    }
  }

  async #replace(log: PortLog): Promise<void> {
    const before = log.size;
    const { dropped, damaged } = await log.replace(this.#maxPortBytes * KEPT, this.#clock);
    this.#queue.evicted += dropped;
    if (damaged) this.#queue.damaged++;
    this.#bytes += log.size - before;
  }

  /** Replaces one log that nothing can matter of any more; those of an earlier life are among them until they have been looked at. */
  async #clearOne(): Promise<void> {
    const now = this.#clock.steady();
    for (const [port, log] of this.#logs) {
      if (log.deadAt > now) continue;
      try {
        await this.#replace(log);
        if (log.size === 0) this.#logs.delete(port);
      } catch {
        log.deadAt = now + GRACE; // the disk may be better then
      }
      return;
    }
  }

  async #sync(): Promise<void> {
    this.#synced = this.#clock.steady();
    for (const log of this.#logs.values()) {
      try {
        await log.sync();
      } catch {
        this.#queue.up = false;
      }
    }
  }
}
