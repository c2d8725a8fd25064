/**
 * The archive in Cassandra. Connecting, writing and trying again go on in the background: a server that is away, slow or wrong costs
 * those who give records nothing. While it is away the queue keeps the newest, and one attempt at a time finds out when it is back.
 */
import type { types } from 'cassandra-driver';
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
  type ContactPoint,
  checkOptions,
  MAX_BACKOFF,
  REQUEST_TIMEOUT_MS,
  RETRY_MS,
  textOf,
} from './options.ts';
import { unlessAborted, within } from './patience.ts';
import { type Driver, Session } from './session.ts';
import { type Statements, statementsFor, timestampOf } from './statements.ts';

/** Answers of the server that stand as long as the request does: it is not made again. */
const HOPELESS = [0x2000, 0x2200, 0x2300];

/** How long making the schema may take, in times that an answer may take. */
const SCHEMA_ANSWERS = 6;

/** So many attempts in a row without an answer, and the session is taken for lost, whatever the driver takes it for. */
const MAX_UNANSWERED = 3;

/**
 * Does not wait for a server.
 * @throws NsdbError WEFT_INVALID, WEFT_ARCHIVE_INSECURE
 */
export async function openCassandraArchive(options: CassandraArchiveOptions): Promise<FlowStateArchive> {
  const points = checkOptions(options);
  // Here, because who has no Cassandra need not have the driver in memory.
  const driver = (await import('cassandra-driver')).default;
  return new CassandraArchive(driver, options, points);
}

class CassandraArchive implements FlowStateArchive {
  readonly #driver: Driver;
  readonly #options: CassandraArchiveOptions;
  readonly #points: readonly ContactPoint[];
  readonly #statements: Statements;
  readonly #queue: WriteQueue;
  readonly #maxInFlight: number;
  readonly #requestTimeoutMs: number;
  readonly #retryMs: number;
  readonly #closeMs: number;
  readonly #now: () => number;
  /** The nodes that the last session knew, where the configured ones may be gone. */
  #known: string[] = [];
  /** The one that is in use or, while `connecting`, that attempts to. */
  #session: Session | undefined;
  /** Once there is one in which the table is known to be there. */
  #ready = Promise.withResolvers<Session>();
  /** `ready`: writes go out; `away`: one goes out now and then, to see. */
  #state: 'connecting' | 'ready' | 'away' | 'closed' = 'connecting';
  #backoff = 1;
  #unanswered = 0;
  #timer: NodeJS.Timeout | undefined;
  #pumping = false;
  #flushed: (() => void)[] = [];

  constructor(driver: Driver, options: CassandraArchiveOptions, points: readonly ContactPoint[]) {
    this.#driver = driver;
    this.#options = options;
    this.#points = points;
    this.#statements = statementsFor(options.keyspace ?? 'weft', options.replication);
    this.#maxInFlight = options.maxInFlight ?? 64;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    this.#retryMs = options.retryMs ?? RETRY_MS;
    this.#closeMs = options.closeMs ?? 2_000;
    this.#now = options.now ?? (() => performance.now());
    this.#queue = new WriteQueue(options.maxQueued ?? 65_536, this.#now);
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
    await this.#session?.close(this.#closeMs);
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
    const session = await within(this.#requestTimeoutMs, this.#ready.promise);
    const page = pageState === undefined ? {} : { pageState };
    const options = {
      ...page,
      prepare: true,
      fetchSize: CHUNK_RECORDS,
      isIdempotent: true,
      consistency: this.#driver.types.consistencies.localQuorum,
    };
    return within(2 * this.#requestTimeoutMs, session.execute(this.#statements.read, [port], options));
  }

  /** Attempts it at one node after the other, and all over again after a while. */
  async #connect(): Promise<void> {
    const configured = this.#points.map(textOf);
    const first = Math.floor(Math.random() * configured.length);
    const places = new Set([...configured.slice(first), ...configured.slice(0, first), ...this.#known]);
    for (const place of places) {
      const session = new Session(this.#driver, this.#options, this.#points, place, () => this.#lose(session));
      this.#session = session;
      try {
        await session.connect();
        if (this.#options.replication !== undefined)
          await within(SCHEMA_ANSWERS * this.#requestTimeoutMs, this.#makeSchema(session));
      } catch {
        void session.close(this.#closeMs);
        if (this.#state !== 'connecting') return;
        continue;
      }
      if (this.#state === 'connecting') this.#use(session);
      return;
    }
    this.#queue.up = false;
    this.#later(() => void this.#connect());
  }

  #use(session: Session): void {
    this.#ready.resolve(session);
    this.#unanswered = 0;
    // What was given up on unanswered is asked of the new session first, before all the rest is.
    if (this.#backoff > 1 && !this.#isIdle()) {
      this.#state = 'away';
      this.#probe();
      return;
    }
    this.#state = 'ready';
    this.#backoff = 1;
    this.#queue.up = true;
    this.#pump();
  }

  /** Begins anew, with all nodes that the session knew. */
  #lose(session: Session): void {
    if (session !== this.#session || this.#state === 'connecting' || this.#state === 'closed') return;
    this.#known = session.nodes();
    void session.close(this.#closeMs);
    clearTimeout(this.#timer);
    this.#state = 'connecting';
    this.#ready = Promise.withResolvers<Session>();
    this.#queue.up = false;
    this.#later(() => void this.#connect());
  }

  /** Asks first: hundreds of hosts that all change the schema at once are a burden, even when nothing changes. */
  async #makeSchema(session: Session): Promise<void> {
    const found = await session.execute(this.#statements.findTable);
    if (found.rowLength > 0) return;
    await session.execute(this.#statements.createKeyspace);
    await session.execute(this.#statements.createTable);
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
    const session = this.#session;
    while (session !== undefined && this.#state === 'ready' && this.#queue.writing < this.#maxInFlight) {
      const write = this.#queue.take();
      if (write === undefined) break;
      void this.#write(write, session);
    }
    if (this.#isIdle()) for (const resolve of this.#flushed.splice(0)) resolve();
  }

  async #write(write: Write, session: Session, isProbe = false): Promise<void> {
    try {
      await Promise.all(write.ports.map((port) => this.#execute(write, port, session)));
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (HOPELESS.includes(Number(code))) this.#queue.fail();
      else this.#goAway(write);
      this.#queue.up = false;
      // An answer has a code, if only to say that there are not enough replicas.
      if (isProbe && typeof code !== 'number' && ++this.#unanswered >= MAX_UNANSWERED) this.#lose(session);
      this.#pump();
      return;
    }
    this.#queue.done();
    if (session === this.#session && this.#state !== 'connecting') {
      this.#queue.up = true;
      this.#unanswered = 0;
      if (this.#state === 'away') {
        this.#state = 'ready';
        this.#backoff = 1;
        clearTimeout(this.#timer);
      }
    }
    this.#pump();
  }

  #execute({ name, version, removal, body, deadline }: Write, port: string, session: Session): Promise<unknown> {
    const { put, remove } = this.#statements;
    const timestamp = timestampOf(version);
    const ttl = Math.max(1, Math.ceil((deadline - this.#now()) / 1000));
    const values = removal ? [timestamp, port, name] : [port, name, body, timestamp, ttl];
    const options = { prepare: true, isIdempotent: true, consistency: this.#driver.types.consistencies.localQuorum };
    // The driver's own time-out does not count the waiting for a connection.
    return within(2 * this.#requestTimeoutMs, session.execute(removal ? remove : put, values, options));
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
    this.#later(() => this.#probe());
  }

  #probe(): void {
    const session = this.#session;
    if (this.#state !== 'away' || session === undefined) return;
    // Those that went out earlier and have not failed yet are as good as a probe.
    const write = this.#queue.writing === 0 ? this.#queue.take() : undefined;
    if (write !== undefined) void this.#write(write, session, true);
    else if (this.#isIdle()) this.#state = 'ready';
    if (this.#state === 'away') this.#probeLater();
    else this.#pump();
  }
}
