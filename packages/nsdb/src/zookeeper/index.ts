/** The database over ZooKeeper: the whole contract, each process by itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Allocations } from '../allocations/allocations.ts';
import type {
  HostConvergence,
  HostSession,
  Nsdb,
  PoolNumberUsage,
  Revision,
  StoredObject,
  StoreSize,
  SubscribeOptions,
  Subscription,
  TableEntry,
  Transaction,
} from '../contract.ts';
import { isNsdbError, NsdbError } from '../errors.ts';
import { RemoteSession } from '../remote/remote-session.ts';
import { StoreNsdb, type StoreNsdbOptions } from '../store-nsdb.ts';
import { Janitor } from './janitor.ts';
import { metaZnode } from './layout.ts';
import type { ZookeeperStoreOptions } from './options.ts';
import { LocalSessionLink } from './session-link.ts';
import { ZookeeperSessions } from './sessions.ts';
import { ZookeeperStore } from './store.ts';

export type { AccessOptions, Identity } from './access.ts';
export type { ZookeeperStoreOptions } from './options.ts';

export interface ZookeeperOptions extends ZookeeperStoreOptions, StoreNsdbOptions {}

/** How long to wait for the servers before the handle is given out without them, ms. */
const PATIENCE = 2_000;
/** Meta key: grace time of hosts' sessions, ms. */
const GRACE = 'grace';
/** Milliseconds until sessions begin anew when an answer was lost without the link. */
const RENEWAL = 100;

/**
 * Opens the store in an ensemble; makes it if it is not there. Resolves also when the servers are away: the handle then keeps trying,
 * and its calls say WEFT_STORE_AWAY.
 */
export async function openZookeeper(options: ZookeeperOptions): Promise<ZookeeperNsdb> {
  const nsdb = new ZookeeperNsdb(options);
  const patience = new AbortController();
  await Promise.race([
    nsdb.zookeeper.link.firstAttempt,
    sleep(PATIENCE, undefined, { signal: patience.signal }).catch(() => {}),
  ]);
  patience.abort();
  return nsdb;
}

export class ZookeeperNsdb implements Nsdb {
  readonly zookeeper: ZookeeperStore;
  readonly inner: StoreNsdb;
  readonly #own: ZookeeperSessions;
  readonly #sessions = new Set<RemoteSession>();
  /** Sessions that the present link has not taken up yet. */
  readonly #unattached = new Set<RemoteSession>();
  readonly #held = new Map<string, number>();
  readonly #janitor: Janitor | undefined;
  readonly #grace: number | undefined;
  #link: LocalSessionLink | undefined;
  #renewal: NodeJS.Timeout | undefined;
  #handedGeneration = '';
  #closed = false;

  constructor(options: ZookeeperOptions) {
    this.zookeeper = new ZookeeperStore(options);
    this.#own = new ZookeeperSessions(this.zookeeper, options);
    this.#grace = options.grace;
    const { grace } = this.#own;
    const allocations = new Allocations(this.zookeeper, { random: options.random ?? Math.random, grace });
    this.inner = new StoreNsdb(this.zookeeper, this.#own, allocations, options);
    const isJanitor = options.janitor ?? options.access?.role !== 'host';
    this.#janitor = isJanitor
      ? new Janitor(this.zookeeper, allocations, this.#own.absences, () => this.#own.grace)
      : undefined;
    this.zookeeper.listen({ up: () => this.#up(), down: () => this.#down() });
  }

  /** The store can be reached, and the hosts' sessions go on by it. */
  get isReady(): boolean {
    return this.zookeeper.link.isUp && this.#unattached.size === 0;
  }

  get generation(): string {
    return this.zookeeper.generation;
  }

  get<T = Record<string, unknown>>(type: string, id: string): Promise<StoredObject<T> | undefined> {
    return this.inner.get(type, id);
  }

  list<T = Record<string, unknown>>(type: string): Promise<StoredObject<T>[]> {
    return this.inner.list(type);
  }

  referrers(type: string, field: string, id: string): Promise<string[]> {
    return this.inner.referrers(type, field, id);
  }

  entries(table: string): Promise<TableEntry[]> {
    return this.inner.entries(table);
  }

  transact<R>(body: (tx: Transaction) => Promise<R>): Promise<{ revision: Revision; result: R }> {
    return this.inner.transact(body);
  }

  subscribe(options: SubscribeOptions): Subscription {
    if (this.#closed) throw new NsdbError('WEFT_STORE_CLOSED');
    return this.inner.subscribe({
      ...options,
      onBatch: (batch) => {
        this.#handedGeneration = batch.generation;
        return options.onBatch(batch);
      },
    });
  }

  async openSession(hostId: string): Promise<HostSession> {
    this.zookeeper.link.use();
    const link = this.#link!;
    const incarnation = (await link.request('session.open', [hostId])) as number;
    const session: RemoteSession = new RemoteSession({
      hostId,
      incarnation,
      generation: () => this.#handedGeneration || this.generation,
      onClose: () => {
        this.#sessions.delete(session);
        this.#unattached.delete(session);
      },
    });
    this.#sessions.add(session);
    if (this.#link === link) session.opened(link);
    else if (this.#link !== undefined) this.#resume(session, this.#link);
    return session;
  }

  revision(): Promise<Revision> {
    return this.inner.revision();
  }

  convergence(): Promise<HostConvergence[]> {
    return this.inner.convergence();
  }

  poolUsage(pool: string): Promise<PoolNumberUsage[]> {
    return this.inner.poolUsage(pool);
  }

  size(): Promise<StoreSize> {
    return this.inner.size();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#renewal);
    for (const session of [...this.#sessions]) await session.close();
    await this.#janitor?.close();
    await this.inner.close();
  }

  /** The grace time is the store's: whoever was told one tells all others, who follow it from then on. */
  async #agreeOnGrace(): Promise<void> {
    if (this.#grace !== undefined) return this.zookeeper.putMeta(GRACE, String(this.#grace));
    await this.zookeeper.link.use().addWatch(metaZnode(GRACE), {
      onEvent: () => void this.#readGrace().catch(() => {}), // the next link reads it
    });
    await this.#readGrace();
  }

  async #readGrace(): Promise<void> {
    const stored = await this.zookeeper.getMeta(GRACE);
    if (stored !== undefined) this.#own.grace = Number(stored);
  }

  #up(): void {
    this.#agreeOnGrace().catch(() => {}); // the next link tries again
    const link: LocalSessionLink = new LocalSessionLink(this.inner, this.#own, this.#held, () => {
      if (this.#link !== link || this.#renewal !== undefined) return;
      this.#renewal = setTimeout(() => {
        this.#renewal = undefined;
        if (this.#link !== link || this.#closed) return;
        this.#down();
        this.#up();
      }, RENEWAL).unref();
    });
    this.#link = link;
    for (const session of this.#sessions) this.#resume(session, link);
  }

  #down(): void {
    this.#link?.end();
    this.#link = undefined;
    for (const session of this.#sessions) {
      this.#unattached.add(session);
      session.linkDown();
    }
  }

  #resume(session: RemoteSession, link: LocalSessionLink): void {
    this.#unattached.add(session);
    const resumed = session.linkUp(link).then(() => {
      if (this.#link === link) this.#unattached.delete(session);
    });
    resumed.catch((error) => {
      // The link went again (the next one tries anew), or the host was unregistered meanwhile: try while it lasts.
      if (this.#link !== link) return;
      const wait = isNsdbError(error, 'WEFT_STORE_AWAY') ? 50 : 1_000;
      setTimeout(() => {
        if (this.#link === link && this.#sessions.has(session)) this.#resume(session, link);
      }, wait).unref();
    });
  }
}
