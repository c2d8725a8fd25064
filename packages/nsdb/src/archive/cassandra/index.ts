/**
 * The archive in Cassandra. Connecting, writing and trying again go on in the background: a server that is away, slow or wrong costs
 * those who give records nothing. While it is away the queue keeps the newest, and one attempt at a time finds out when it is back.
 */
import type { Client, Host, types } from 'cassandra-driver';
import { NsdbError } from '../../errors.ts';
import { decodeBody } from '../codec.ts';
import {
  type ArchivedKey,
  type ArchivedRecord,
  type ArchiveStats,
  CHUNK_RECORDS,
  type FlowStateArchive,
  type ReadOptions,
} from '../contract.ts';
import { type Write, WriteQueue } from '../write-queue.ts';
import {
  type CassandraArchiveOptions,
  checkOptions,
  driverOptions,
  MAX_BACKOFF,
  REQUEST_TIMEOUT_MS,
  RETRY_MS,
} from './options.ts';
import { type Statements, statementsFor, timestampOf } from './statements.ts';

/** Answers of the server that stand as long as the request does: it is not made again. */
const HOPELESS = [0x2000, 0x2200, 0x2300];

/**
 * Does not wait for a server.
 * @throws NsdbError WEFT_INVALID, WEFT_ARCHIVE_INSECURE
 */
export async function openCassandraArchive(options: CassandraArchiveOptions): Promise<FlowStateArchive> {
  const points = checkOptions(options);
  // Here, because who has no Cassandra need not have the driver in memory.
  const { Client, policies, types } = (await import('cassandra-driver')).default;
  const client = new Client(driverOptions(options, points, policies));
  return new CassandraArchive(client, options, types.consistencies.localQuorum);
}

class CassandraArchive implements FlowStateArchive {
  readonly #client: Client;
  readonly #statements: Statements;
  readonly #createSchema: boolean;
  readonly #consistency: types.consistencies;
  readonly #queue: WriteQueue;
  readonly #maxInFlight: number;
  readonly #requestTimeoutMs: number;
  readonly #retryMs: number;
  readonly #closeMs: number;
  readonly #now: () => number;
  /** Once the table is known to be there. */
  readonly #ready = Promise.withResolvers<void>();
  /** `ready`: writes go out; `away`: one goes out now and then, to see. */
  #state: 'connecting' | 'ready' | 'away' | 'closed' = 'connecting';
  #backoff = 1;
  #timer: NodeJS.Timeout | undefined;
  #pumping = false;
  #flushed: (() => void)[] = [];

  constructor(client: Client, options: CassandraArchiveOptions, consistency: types.consistencies) {
    this.#client = client;
    this.#statements = statementsFor(options.keyspace ?? 'weft', options.replication);
    this.#createSchema = options.replication !== undefined;
    this.#consistency = consistency;
    this.#maxInFlight = options.maxInFlight ?? 64;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    this.#retryMs = options.retryMs ?? RETRY_MS;
    this.#closeMs = options.closeMs ?? 2_000;
    this.#now = options.now ?? (() => performance.now());
    this.#queue = new WriteQueue(options.maxQueued ?? 65_536, this.#now);
    // When all nodes were away the driver makes new hosts and forgets the old ones, with their timers and connections. Requests may
    // still wait there.
    client.on('hostRemove', (host: Host) => setTimeout(letGoOf, this.#requestTimeoutMs, host).unref());
    client.on('hostAdd', (host: Host) => this.#state === 'closed' && setImmediate(letGoOf, host));
    void this.#connect();
  }

  put(records: readonly ArchivedRecord[]): void {
    this.#queue.put(records);
    this.#pumpSoon();
  }

  remove(keys: readonly ArchivedKey[]): void {
    this.#queue.remove(keys);
    this.#pumpSoon();
  }

  stats(): ArchiveStats {
    return this.#queue.stats();
  }

  flush(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#flushed.push(resolve));
  }

  async close(): Promise<void> {
    if (this.#queue.closed) return;
    this.#queue.closed = true;
    await within(this.#closeMs, this.flush()).catch(() => {});
    this.#state = 'closed';
    clearTimeout(this.#timer);
    await within(this.#closeMs, this.#client.shutdown()).catch(() => {});
    this.#queue.clear();
    for (const resolve of this.#flushed.splice(0)) resolve();
  }

  async *read(port: string, { signal }: ReadOptions = {}): AsyncGenerator<readonly ArchivedRecord[]> {
    let pageState: Buffer | undefined;
    do {
      signal?.throwIfAborted();
      let page: types.ResultSet;
      try {
        page = await unlessAborted(signal, this.#readPage(port, pageState));
      } catch (error) {
        signal?.throwIfAborted();
        throw new NsdbError('WEFT_ARCHIVE_AWAY', (error as Error).message, [], { cause: error });
      }
      pageState = page.pageState === null ? undefined : Buffer.from(page.pageState, 'hex');
      const chunk: ArchivedRecord[] = [];
      for (const row of page.rows) {
        const record = Buffer.isBuffer(row.value) ? decodeBody(row.value) : undefined;
        if (record === undefined || !(row.ttl > 0)) this.#queue.damaged++;
        else chunk.push({ ...record, remaining: row.ttl * 1000 });
      }
      if (chunk.length > 0) yield chunk;
    } while (pageState !== undefined);
  }

  async #readPage(port: string, pageState: Buffer | undefined): Promise<types.ResultSet> {
    await within(this.#requestTimeoutMs, this.#ready.promise);
    const page = pageState === undefined ? {} : { pageState };
    const options = {
      ...page,
      prepare: true,
      fetchSize: CHUNK_RECORDS,
      isIdempotent: true,
      consistency: this.#consistency,
    };
    return within(2 * this.#requestTimeoutMs, this.#client.execute(this.#statements.read, [port], options));
  }

  async #connect(): Promise<void> {
    try {
      await this.#client.connect();
      if (this.#createSchema) await this.#makeSchema();
    } catch {
      this.#queue.up = false;
      if (this.#state === 'connecting') this.#later(() => this.#connect());
      return;
    }
    if (this.#state !== 'connecting') {
      // Closed meanwhile. The driver's shutdown does nothing before it is connected.
      await this.#client.shutdown().catch(() => {});
      return;
    }
    this.#state = 'ready';
    this.#backoff = 1;
    this.#queue.up = true;
    this.#ready.resolve();
    this.#pump();
  }

  /** Asks first: hundreds of hosts that all change the schema at once are a burden, even when nothing changes. */
  async #makeSchema(): Promise<void> {
    const found = await this.#client.execute(this.#statements.findTable);
    if (found.rowLength > 0) return;
    await this.#client.execute(this.#statements.createKeyspace);
    await this.#client.execute(this.#statements.createTable);
  }

  #later(work: () => void): void {
    this.#timer = setTimeout(work, this.#retryMs * this.#backoff);
    this.#backoff = Math.min(2 * this.#backoff, MAX_BACKOFF);
  }

  #isIdle(): boolean {
    return this.#queue.size === 0 && this.#queue.writing === 0;
  }

  #pumpSoon(): void {
    if (this.#pumping || this.#state !== 'ready') return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#state === 'ready' && this.#queue.writing < this.#maxInFlight) {
      const write = this.#queue.take();
      if (write === undefined) break;
      void this.#write(write);
    }
    if (this.#isIdle()) for (const resolve of this.#flushed.splice(0)) resolve();
  }

  async #write(write: Write): Promise<void> {
    try {
      await Promise.all(write.ports.map((port) => this.#execute(write, port)));
    } catch (error) {
      if (HOPELESS.includes((error as { code?: number }).code ?? 0)) this.#queue.fail();
      else this.#goAway(write);
      this.#queue.up = false;
      this.#pump();
      return;
    }
    this.#queue.done();
    this.#queue.up = true;
    if (this.#state === 'away') {
      this.#state = 'ready';
      this.#backoff = 1;
      clearTimeout(this.#timer);
    }
    this.#pump();
  }

  #execute({ name, version, removal, body, deadline }: Write, port: string): Promise<unknown> {
    const { put, remove } = this.#statements;
    const timestamp = timestampOf(version);
    const ttl = Math.max(1, Math.ceil((deadline - this.#now()) / 1000));
    const values = removal ? [timestamp, port, name] : [port, name, body, timestamp, ttl];
    const options = { prepare: true, isIdempotent: true, consistency: this.#consistency };
    // The driver's own time-out does not count the waiting for a connection.
    return within(2 * this.#requestTimeoutMs, this.#client.execute(removal ? remove : put, values, options));
  }

  /** A write that failed waits again; the next attempt is made after a while. */
  #goAway(write: Write): void {
    this.#queue.giveBack(write);
    if (this.#state === 'ready') {
      this.#state = 'away';
      this.#probeLater();
    }
  }

  #probeLater(): void {
    this.#later(() => {
      if (this.#state !== 'away') return;
      // Those that went out earlier and have not failed yet are as good as a probe.
      const write = this.#queue.writing === 0 ? this.#queue.take() : undefined;
      if (write !== undefined) void this.#write(write);
      else if (this.#isIdle()) this.#state = 'ready';
      if (this.#state === 'away') this.#probeLater();
      else this.#pump();
    });
  }
}

/** Ends what a host of the driver does in the background; the method is there, and not among the types. */
function letGoOf(host: Host): void {
  const { shutdown } = host as Host & { shutdown?(this: Host, waitForPending: boolean): Promise<void> };
  shutdown?.call(host, false).catch(() => {});
}

/** @throws after `ms` without a result */
async function within<T>(ms: number, result: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  try {
    return await Promise.race([result, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws the signal's reason when it is raised first */
async function unlessAborted<T>(signal: AbortSignal | undefined, result: Promise<T>): Promise<T> {
  if (signal === undefined) return result;
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([result, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
