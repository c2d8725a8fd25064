/** The database over any back end: object layer, subscriptions of the back end, sessions. */
import { Allocations, withoutCooling } from './allocations/allocations.ts';
import type { NodeStore } from './backend.ts';
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
} from './contract.ts';
import { EntryWriter } from './entry-writer.ts';
import { NsdbError } from './errors.ts';
import { checkId, checkTable } from './interests.ts';
import { incomingReferences, type ObjectModel, topologyModel } from './objects/model.ts';
import { objectPath, stampPath, typePath } from './objects/paths.ts';
import {
  DEFAULT_LIMITS,
  ObjectTransaction,
  type TransactionContext,
  type TransactionLimits,
} from './objects/transaction.ts';
import { FIRST_TUNNEL_KEY, LAST_TUNNEL_KEY, type TunnelKeyRange } from './objects/tunnel-keys.ts';
import { TransactionRunner } from './run-transaction.ts';
import { type HostSessions, type SessionOptions, Sessions } from './sessions.ts';
import { winners } from './tables.ts';

export interface StoreNsdbOptions extends SessionOptions {
  /** Default: `@weft/topology`. */
  readonly model?: ObjectModel;
  /** Default 10,000 writes, 4 MiB. */
  readonly limits?: Partial<TransactionLimits>;
  /** Range of tunnel keys. Default 1 to 0xFFFFFE. */
  readonly tunnelKeys?: TunnelKeyRange;
  /** Dice for the choice among free numbers of a pool. Default: `Math.random`. */
  random?(): number;
}

export class StoreNsdb implements Nsdb {
  readonly store: NodeStore;
  readonly sessions: HostSessions;
  readonly allocations: Allocations;
  readonly #context: TransactionContext;
  readonly #runner: TransactionRunner;

  /** `sessions` and `allocations` of a store that several processes write; otherwise see `over`. */
  constructor(store: NodeStore, sessions: HostSessions, allocations: Allocations, options: StoreNsdbOptions) {
    this.store = store;
    this.sessions = sessions;
    this.allocations = allocations;
    const model = options.model ?? topologyModel;
    this.#context = {
      store,
      model,
      incoming: incomingReferences(model),
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      tunnelKeys: options.tunnelKeys ?? { first: FIRST_TUNNEL_KEY, last: LAST_TUNNEL_KEY },
      passed: (revision) => sessions.passed(revision),
      ownerDropped: (kind, id) => allocations.ownerDropped(kind, id),
    };
    this.#runner = new TransactionRunner(() => this.begin());
  }

  static async over(store: NodeStore, options: StoreNsdbOptions = {}): Promise<StoreNsdb> {
    const sessions = await Sessions.load(store, options);
    const { grace } = sessions;
    const allocations = await Allocations.load(store, { random: options.random ?? Math.random, grace });
    return new StoreNsdb(store, sessions, allocations, options);
  }

  get generation(): string {
    return this.store.generation;
  }

  /** An open transaction, for who runs the retry loop elsewhere (the server, on behalf of a client). */
  begin(): ObjectTransaction {
    return new ObjectTransaction(this.#context);
  }

  async get<T = Record<string, unknown>>(type: string, id: string): Promise<StoredObject<T> | undefined> {
    this.#checkType(type);
    checkId(id);
    const node = await this.#durable(this.store.get(objectPath(type, id)));
    return node && { type, id, version: node.version, value: JSON.parse(node.json) as T };
  }

  async list<T = Record<string, unknown>>(type: string): Promise<StoredObject<T>[]> {
    this.#checkType(type);
    const prefix = typePath(type).length + 1;
    const nodes = await this.#durable(this.store.children(typePath(type)));
    return nodes.map(({ path, version, json }) => ({
      type,
      id: path.slice(prefix),
      version,
      value: JSON.parse(json) as T,
    }));
  }

  async referrers(type: string, field: string, id: string): Promise<string[]> {
    this.#checkType(type);
    if (!this.#context.model.types[type].references.some((reference) => reference.field === field))
      throw new NsdbError('WEFT_UNKNOWN_TYPE', `${type}.${field} is not a reference`);
    checkId(id);
    const stamp = stampPath(type, field, id);
    const nodes = await this.#durable(this.store.children(stamp));
    return nodes.map(({ path }) => path.slice(stamp.length + 1));
  }

  async entries(table: string): Promise<TableEntry[]> {
    checkTable(table);
    const raw = await this.#durable(this.store.rawEntries(table));
    return [...winners(raw).values()];
  }

  transact<R>(body: (tx: Transaction) => Promise<R>): Promise<{ revision: Revision; result: R }> {
    return this.#runner.run(body);
  }

  subscribe(options: SubscribeOptions): Subscription {
    return this.store.subscribe(options);
  }

  async openSession(hostId: string): Promise<HostSession> {
    const lost = () => writer.close();
    const writer = new EntryWriter((entries) => this.sessions.write(hostId, incarnation, entries));
    const incarnation = await this.sessions.open(hostId, lost);
    const { sessions, allocations, store } = this;
    let closed = false;
    const open = () => {
      if (closed) throw new NsdbError('WEFT_SESSION_LOST', 'The session was closed');
    };
    return {
      hostId,
      incarnation,
      put: (table, key, value) => writer.put(table, key, value),
      remove: (table, key) => writer.put(table, key, null),
      owned: async () => store.ownedBy(hostId),
      reportApplied: (revision) => sessions.applied(hostId, incarnation, store.generation, revision),
      vouch: (other) => sessions.vouch(other),
      allocate: async (pool, range, count, coolMs) => {
        open();
        return allocations.allocate(hostId, incarnation, pool, range, count, coolMs);
      },
      release: async (given) => {
        open();
        await allocations.release(hostId, incarnation, given);
      },
      allocations: async () => {
        open();
        return (await allocations.held(hostId, incarnation)).map(withoutCooling);
      },
      keep: async (given) => {
        open();
        return (await allocations.keep(hostId, incarnation, given)).map(withoutCooling);
      },
      close: async ({ leave = false } = {}) => {
        closed = true;
        await writer.drain();
        writer.close();
        if (leave) await sessions.leave(hostId, incarnation);
        else sessions.detach(hostId, incarnation, lost);
      },
    };
  }

  async revision(): Promise<Revision> {
    return this.store.commit([]);
  }

  convergence(): Promise<HostConvergence[]> {
    return this.sessions.convergence();
  }

  poolUsage(pool: string): Promise<PoolNumberUsage[]> {
    return this.allocations.usage(pool);
  }

  size(): Promise<StoreSize> {
    return this.store.size();
  }

  async close(): Promise<void> {
    await this.sessions.close();
    await this.allocations.close();
    await this.store.close();
  }

  /** What was read may have been accepted a moment ago; it must not be told before it is on disk. */
  async #durable<T>(read: T | Promise<T>): Promise<T> {
    const [result] = await Promise.all([read, this.store.commit([])]);
    return result;
  }

  #checkType(type: string): void {
    if (!Object.hasOwn(this.#context.model.types, type))
      throw new NsdbError('WEFT_UNKNOWN_TYPE', `"${String(type).slice(0, 100)}" is not an object type`);
  }
}
