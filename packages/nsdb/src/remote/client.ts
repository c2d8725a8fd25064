/** The database over a Unix socket: the whole contract, over links that come and go. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Conflict } from '../backend.ts';
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
import { checkEntry } from '../interests.ts';
import { type Attempt, TransactionRunner } from '../run-transaction.ts';
import { Link } from './link.ts';
import { RemoteSession } from './remote-session.ts';
import { RemoteSubscription } from './remote-subscription.ts';

export interface ConnectOptions {
  /** Path of the server's socket. */
  readonly socket: string;
  /** Milliseconds between pings; three unanswered ones end the link. Default 5,000. */
  readonly pingInterval?: number;
  /** Milliseconds to wait before the first and at most before any further attempt to reconnect. Default 50 and 2,000. */
  readonly reconnect?: { readonly first: number; readonly most: number };
}

/** Connects. Resolves also when the server is away: the handle then keeps trying, and its calls say WEFT_STORE_AWAY. */
export async function connectRemote(options: ConnectOptions): Promise<Nsdb> {
  const client = new RemoteNsdb(options);
  // A server that accepts but stays silent must not hold up an agent that has a snapshot to work from.
  const patience = new AbortController();
  await Promise.race([client.firstAttempt, sleep(1_000, undefined, { signal: patience.signal }).catch(() => {})]);
  patience.abort();
  return client;
}

class RemoteNsdb implements Nsdb {
  readonly firstAttempt: Promise<void>;
  readonly #options: ConnectOptions;
  readonly #subscriptions = new Map<number, RemoteSubscription>();
  readonly #sessions = new Set<RemoteSession>();
  readonly #runner: TransactionRunner;
  #link: Link | undefined;
  #generation = '';
  #handedGeneration = '';
  #next = 1;
  #retry: NodeJS.Timeout | undefined;
  #wait: number;
  #closed = false;

  constructor(options: ConnectOptions) {
    this.#options = options;
    this.#wait = options.reconnect?.first ?? 50;
    this.#runner = new TransactionRunner(() => new RemoteAttempt(this.#up(), this.#next++));
    this.firstAttempt = this.#connect();
  }

  get generation(): string {
    return this.#generation;
  }

  async get<T = Record<string, unknown>>(type: string, id: string): Promise<StoredObject<T> | undefined> {
    return (await this.#up().request('get', [type, id])) as StoredObject<T> | undefined;
  }

  async list<T = Record<string, unknown>>(type: string): Promise<StoredObject<T>[]> {
    return (await this.#up().request('list', [type])) as StoredObject<T>[];
  }

  async referrers(type: string, field: string, id: string): Promise<string[]> {
    return (await this.#up().request('referrers', [type, field, id])) as string[];
  }

  async entries(table: string): Promise<TableEntry[]> {
    return (await this.#up().request('entries', [table])) as TableEntry[];
  }

  async revision(): Promise<Revision> {
    return (await this.#up().request('revision', [])) as Revision;
  }

  async convergence(): Promise<HostConvergence[]> {
    return (await this.#up().request('convergence', [])) as HostConvergence[];
  }

  async poolUsage(pool: string): Promise<PoolNumberUsage[]> {
    return (await this.#up().request('poolUsage', [pool])) as PoolNumberUsage[];
  }

  async size(): Promise<StoreSize> {
    return (await this.#up().request('size', [])) as StoreSize;
  }

  async transact<R>(body: (tx: Transaction) => Promise<R>): Promise<{ revision: Revision; result: R }> {
    return this.#runner.run(body);
  }

  subscribe(options: SubscribeOptions): Subscription {
    if (this.#closed) throw new NsdbError('WEFT_STORE_CLOSED');
    const id = this.#next++;
    const subscription = new RemoteSubscription(
      id,
      {
        ...options,
        onBatch: (batch) => {
          this.#handedGeneration = batch.generation;
          return options.onBatch(batch);
        },
      },
      () => this.#subscriptions.delete(id),
    );
    this.#subscriptions.set(id, subscription);
    if (this.#link === undefined) subscription.linkDown();
    else subscription.linkUp(this.#link);
    return subscription;
  }

  async openSession(hostId: string): Promise<HostSession> {
    const link = this.#up();
    const incarnation = (await link.request('session.open', [hostId])) as number;
    const session: RemoteSession = new RemoteSession({
      hostId,
      incarnation,
      generation: () => this.#handedGeneration || this.#generation,
      onClose: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
    if (this.#link === link) session.opened(link);
    else if (this.#link !== undefined) this.#resume(session, this.#link);
    return session;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    for (const session of [...this.#sessions]) await session.close();
    for (const subscription of [...this.#subscriptions.values()]) subscription.close();
    this.#link?.close();
    this.#link = undefined;
  }

  #up(): Link {
    if (this.#closed) throw new NsdbError('WEFT_STORE_CLOSED');
    if (this.#link === undefined) throw new NsdbError('WEFT_STORE_AWAY');
    return this.#link;
  }

  async #connect(): Promise<void> {
    const { socket, pingInterval = 5_000 } = this.#options;
    try {
      const link: Link = await Link.open({
        socket,
        pingInterval,
        onBatch: (reply, bytes) => this.#subscriptions.get(reply.s)?.receive(link, reply, bytes),
        onEnd: () => this.#down(link),
      });
      if (this.#closed) return link.close();
      this.#link = link;
      this.#generation = link.generation;
      this.#wait = this.#options.reconnect?.first ?? 50;
      for (const session of this.#sessions) this.#resume(session, link);
      for (const subscription of this.#subscriptions.values()) subscription.linkUp(link);
    } catch {
      this.#later();
    }
  }

  #resume(session: RemoteSession, link: Link): void {
    session.linkUp(link).catch((error) => {
      // The link went again (the next one tries anew), or the host was unregistered meanwhile: try while it lasts.
      if (isNsdbError(error, 'WEFT_STORE_AWAY') || this.#link !== link) return;
      setTimeout(() => {
        if (this.#link === link && this.#sessions.has(session)) this.#resume(session, link);
      }, 1_000).unref();
    });
  }

  #down(link: Link): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    for (const session of this.#sessions) session.linkDown();
    for (const subscription of this.#subscriptions.values()) subscription.linkDown();
    this.#later();
  }

  #later(): void {
    if (this.#closed) return;
    // Spread over half the interval: after a restart of the store not all hosts come in the same millisecond.
    this.#retry = setTimeout(() => void this.#connect(), this.#wait * (0.5 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, this.#options.reconnect?.most ?? 2_000);
  }
}

/** A transaction that lives in the server; it ends with the link. */
class RemoteAttempt implements Attempt {
  readonly #link: Link;
  readonly #n: number;
  #done = false;

  constructor(link: Link, n: number) {
    this.#link = link;
    this.#n = n;
  }

  async get<T = Record<string, unknown>>(type: string, id: string): Promise<StoredObject<T> | undefined> {
    return (await this.#ask('get', type, id)) as StoredObject<T> | undefined;
  }

  async referrers(type: string, field: string, id: string): Promise<string[]> {
    return (await this.#ask('referrers', type, field, id)) as string[];
  }

  async create<T = Record<string, unknown>>(type: string, value: Record<string, unknown>): Promise<T> {
    return (await this.#ask('create', type, value)) as T;
  }

  async update<T = Record<string, unknown>>(
    type: string,
    id: string,
    value: Record<string, unknown>,
    ifVersion?: Revision,
  ): Promise<T> {
    return (await this.#ask('update', type, id, value, ifVersion)) as T;
  }

  async delete(type: string, id: string, ifVersion?: Revision): Promise<void> {
    await this.#ask('delete', type, id, ifVersion);
  }

  putEntry(table: string, key: string, value: string): void {
    checkEntry(table, key, value);
    this.#link.note('tx.putEntry', this.#n, table, key, value);
  }

  deleteEntry(table: string, key: string): void {
    checkEntry(table, key, null);
    this.#link.note('tx.deleteEntry', this.#n, table, key);
  }

  async commit(): Promise<Revision> {
    this.#done = true;
    try {
      return (await this.#link.request('tx.commit', [this.#n], 'WEFT_OUTCOME_UNKNOWN')) as Revision;
    } catch (error) {
      if (isNsdbError(error, 'WEFT_CONFLICT')) throw new Conflict();
      throw error;
    }
  }

  async stillHolds(): Promise<boolean> {
    if (this.#done) return true; // the server has looked before it refused the commit
    this.#done = true;
    return (await this.#link.request('tx.stillHolds', [this.#n])) as boolean;
  }

  #ask(operation: string, ...parameters: unknown[]): Promise<unknown> {
    if (this.#done) return Promise.reject(new NsdbError('WEFT_INVALID', 'The transaction has ended'));
    return this.#link.request(`tx.${operation}`, [this.#n, ...parameters]);
  }
}
