/**
 * The network state database (NSDB) as everyone else sees it.
 *
 * Two layers meet here. Below are back ends that only know named nodes with versions and atomic multi-operations (LMDB
 * today, ZooKeeper later). Above, one implementation shared by all back ends turns the object model of
 * `@weft/topology` into nodes: objects, reference indexes, unique names, tunnel keys.
 */

/** Revision of the store: rises by one with every committed transaction of one generation. Safe integer. */
export type Revision = number;

/** An object as stored: its type name in `@weft/topology`, its id, its value and the revision that last changed it. */
export interface StoredObject<T = Record<string, unknown>> {
  readonly type: string;
  readonly id: string;
  readonly version: Revision;
  readonly value: T;
}

/**
 * What a subscriber wants to hear of. An interest is a string, so that it can be compared, counted and sent.
 *
 * | form | meaning |
 * |---|---|
 * | `o/Port/<id>` | one object |
 * | `a/Host` | every object of a type |
 * | `i/Port.bridgeId/<id>` | the ids of the objects whose field `bridgeId` refers to `<id>` |
 * | `t/<table>` | the entries of one state table, e.g. `t/mac/<bridge>`, `t/arp/<router>`, `t/active/<port>` |
 */
export type Interest = string;

/** One entry of a state table. */
export interface TableEntry {
  /** At most 128 bytes: a MAC, an IP address, a port id … */
  readonly key: string;
  /** At most 1 KiB. */
  readonly value: string;
  /**
   * Host that learned it (entry dies with the host's state), or object that it is there for (members of a security group:
   * the port), or null: persistent, written by an operator.
   */
  readonly owner: string | null;
  /** Revision of the change. Learned beats persistent; among equals the highest wins. */
  readonly version: Revision;
}

/** One interest's share of a batch. `reset` means: this is the whole content, forget what you had of this interest. */
export type Change =
  | { readonly interest: Interest; readonly kind: 'object'; readonly object: StoredObject | null }
  | {
      readonly interest: Interest;
      readonly kind: 'objects';
      readonly reset: boolean;
      readonly upserts: readonly StoredObject[];
      readonly removed: readonly string[];
    }
  | {
      readonly interest: Interest;
      readonly kind: 'index';
      readonly reset: boolean;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  | {
      readonly interest: Interest;
      readonly kind: 'table';
      readonly reset: boolean;
      /** The winning entry of each key that changed. */
      readonly upserts: readonly TableEntry[];
      readonly removed: readonly string[];
    };

/**
 * What a subscriber is handed: after applying it, everything that it subscribed to is as of `revision`, exactly.
 * A transaction is never torn over two batches; several may be merged into one. An empty `changes` is a progress mark.
 * Merging leaves the net effect: an id may be named in `removed` that the subscriber never saw, or in `upserts` unchanged.
 * The objects are shared by all subscribers of the process: read, never write.
 */
export interface Batch {
  readonly generation: string;
  readonly revision: Revision;
  readonly changes: readonly Change[];
  /** True when it comes from the snapshot on disk, because the store was away at start (see `SubscribeOptions.snapshot`). */
  readonly fromSnapshot?: boolean;
}

/** A running subscription. Interests may be added and removed at any time; an added one arrives as `reset` (or object) in a later batch. */
export interface Subscription {
  add(interests: Iterable<Interest>): void;
  /** No further changes of these arrive after the call returns. */
  remove(interests: Iterable<Interest>): void;
  /** Bytes of content received so far on behalf of this subscription, progress marks excluded (0 where it costs none). */
  readonly bytesReceived: number;
  close(): void;
}

export interface SubscribeOptions {
  /**
   * Called in revision order, one at a time: the next call waits for the returned promise, and what happened meanwhile is
   * merged. After a reconnect the store sends what changed meanwhile as `reset` changes.
   */
  onBatch(batch: Batch): void | Promise<void>;
  /** The link to the store: `false` while it is away. The last state stays valid meanwhile. */
  onLink?(up: boolean): void;
  /**
   * Keep the content on disk under this name, and serve it from there when the store is away at start. Only on a handle
   * that was given a snapshot directory (`withSnapshot`); elsewhere it has no effect.
   */
  snapshot?: string;
}

/** Optimistic transaction: what was read is checked at commit; all writes apply or none. */
export interface Transaction {
  get<T = Record<string, unknown>>(type: string, id: string): Promise<StoredObject<T> | undefined>;
  /** Ids of objects of `type` whose reference `field` points to `id`; the reading of the set is checked at commit. */
  referrers(type: string, field: string, id: string): Promise<string[]>;
  /**
   * Validates, applies defaults, allocates the id (unless given) and the tunnel key. Returns the value as stored. References,
   * unique names and rules across objects are checked when the transaction ends, so the order within it does not matter.
   */
  create<T = Record<string, unknown>>(type: string, value: Record<string, unknown>): Promise<T>;
  /**
   * Replaces the whole object; id and tunnel key stay. `ifVersion`: fail with WEFT_VERSION_CONFLICT unless it is the stored
   * version. A value equal to the stored one writes nothing.
   */
  update<T = Record<string, unknown>>(
    type: string,
    id: string,
    value: Record<string, unknown>,
    ifVersion?: Revision,
  ): Promise<T>;
  /** Deletes by the object model's rules: cascade, clear or refuse. */
  delete(type: string, id: string, ifVersion?: Revision): Promise<void>;
  /** Persistent (operator's) state-table entry. */
  putEntry(table: string, key: string, value: string): void;
  deleteEntry(table: string, key: string): void;
}

/** Where the hosts stand relative to a revision. */
export interface HostConvergence {
  readonly hostId: string;
  /** Highest revision that the host reported applied, or null: never heard of in this generation. */
  readonly applied: Revision | null;
  readonly reachable: boolean;
  /**
   * Milliseconds, by the store's clock, for which nothing has been known of a host that is not reachable: since its session
   * ended, or the store that had it. Null: it is reachable, it never was, or nobody could note when it went.
   */
  readonly unknownFor: number | null;
}

/** A number of a pool that a host holds. `token` rises with every allocation of that number: who holds an older one has lost it. */
export interface Allocation {
  /** `<kind>/<id of the owning object>/<name>`, e.g. `nat/<router>/<address>`. */
  readonly pool: string;
  /** 0 to 65,535. */
  readonly index: number;
  /** Unsigned, 32 bits, not 0. Rises for ever: also when the owner was deleted and made anew, or the store restored. */
  readonly token: number;
  /** Held because of what stands on it since another host held it: nothing new may stand on it. */
  readonly kept?: true;
}

/** A number of a pool as operators see it. */
export interface PoolNumberUsage {
  readonly index: number;
  readonly token: number;
  /** Who holds it, or held it last. */
  readonly hostId: string;
  /** Milliseconds until others can have it; null: it is held. */
  readonly coolsFor: number | null;
}

/** What a store holds, counted while others write: of no one revision. */
export interface StoreSize {
  /** Objects by type, of types that there are any of. On ZooKeeper deleted ones count on for an hour. */
  readonly objects: Readonly<Record<string, number>>;
  /** Entries of state tables by the kind of table; null: not counted, as on ZooKeeper. */
  readonly entries: Readonly<Record<string, number>> | null;
  /** Bytes on disk; null: not known here, as of an ensemble. */
  readonly bytes: number | null;
}

/**
 * A host's presence: the entries that it writes through the session are ephemeral and go when the session ends or the host
 * left. Numbers that it allocates are not: they stay its own until it releases them, and when it is given up they stay unused
 * for their cooling time. It is to ask `allocations` after each start, and again whenever `incarnation` or the store's
 * generation has changed under it: then it may have been given up meanwhile, and what it held be others'.
 */
export interface HostSession {
  readonly hostId: string;
  /** Rises with every start of the host's agent. */
  readonly incarnation: number;
  /** Learned state-table entries, owned by this host. Coalesced and pipelined; resolves when durable in the store. */
  put(table: string, key: string, value: string): Promise<void>;
  /** Removes this host's entry; an operator's persistent one under the same key shows again. */
  remove(table: string, key: string): Promise<void>;
  /** What this host owns at present, e.g. left over from the agent's previous start. */
  owned(): Promise<{ readonly table: string; readonly entry: TableEntry }[]>;
  /** Reports the revision that no packet of this host can still precede. Cheap: call it after every batch. */
  reportApplied(revision: Revision): void;
  /**
   * Says that another host is alive although its session may be lost: its authenticated tunnel heartbeats still arrive.
   * Its ephemeral state stays as long as somebody vouches within the grace time. Cheap: call it several times a second.
   */
  vouch(hostId: string): void;
  /**
   * Takes up to `count` (at most 1,024) free numbers of `first` to `last`, fewer (also none) when there are not more: at first
   * those that this host has released and that cool, then any of the free ones at random. `coolMs` (whole, at most 30 days): how
   * long a number stays unused after this host released it, or was given up: nothing that stands on it may be alive after that.
   * Never waits for the store: WEFT_STORE_AWAY when nothing was asked; WEFT_OUTCOME_UNKNOWN when the link broke before the
   * answer: what was taken all the same is in the next answer of `allocations`. WEFT_NOT_FOUND: the pool's owner does not exist.
   */
  allocate(
    pool: string,
    range: { readonly first: number; readonly last: number },
    count: number,
    coolMs: number,
  ): Promise<Allocation[]>;
  /**
   * Gives numbers back; they cool first. This host may get them again at once, with a new token. Those that it does not hold
   * (any longer, or with this token) are passed over, so that the call can be repeated when its answer was lost
   * (WEFT_STORE_AWAY).
   */
  release(allocations: readonly Allocation[]): Promise<void>;
  /**
   * Takes over numbers that their holders have released, or were given up with, and that nobody got since: something that began
   * there lives on here. The tokens stay. Answers which of them this host holds now; the others are held by who lives, or were
   * given to somebody else. Can be repeated. WEFT_STORE_AWAY, WEFT_OUTCOME_UNKNOWN: as `allocate`.
   */
  keep(allocations: readonly Allocation[]): Promise<Allocation[]>;
  /** All that this host holds, over all pools, also from earlier starts: a restarted agent goes on using them. */
  allocations(): Promise<Allocation[]>;
  /** `leave`: the host's ephemeral state goes at once, and its numbers begin to cool. Otherwise all stays for the grace time, for a restarted agent to take over. */
  close(options?: { leave?: boolean }): Promise<void>;
}

/** The database. All methods reject with a coded `NsdbError`; WEFT_STORE_AWAY while the store cannot be reached. */
export interface Nsdb {
  readonly generation: string;
  get<T = Record<string, unknown>>(type: string, id: string): Promise<StoredObject<T> | undefined>;
  list<T = Record<string, unknown>>(type: string): Promise<StoredObject<T>[]>;
  referrers(type: string, field: string, id: string): Promise<string[]>;
  entries(table: string): Promise<TableEntry[]>;
  /** Runs `body` and commits; on a conflict runs it again (bounded), then WEFT_CONFLICT. Resolves once durable. */
  transact<R>(body: (tx: Transaction) => Promise<R>): Promise<{ revision: Revision; result: R }>;
  subscribe(options: SubscribeOptions): Subscription;
  /** Opens or takes over the host's session. The Host object must exist (see `registerHost`). */
  openSession(hostId: string): Promise<HostSession>;
  revision(): Promise<Revision>;
  /** Applied revisions of all registered hosts; asks reachable ones for a fresh report. */
  convergence(): Promise<HostConvergence[]>;
  /** For operators: the numbers of a pool that are held or cool, in their order. Empty: all are free, or there is no such pool. */
  poolUsage(pool: string): Promise<PoolNumberUsage[]>;
  /** For operators: how much there is of what. */
  size(): Promise<StoreSize>;
  close(): Promise<void>;
}
