/**
 * What a back end must offer: named nodes with versions, state-table entries, atomic multi-operations with checks,
 * sequences, and a subscription that shows commits whole. Shaped so that both LMDB and ZooKeeper can be it:
 * everything conditional is a check of a node's version, presence or absence, and a set of children is watched and checked
 * through the version of the stamp node above it, never through a list.
 */
import type { Revision, StoreSize, SubscribeOptions, Subscription, TableEntry } from './contract.ts';

/** A back end may answer at once (LMDB) or later (a network). Callers always `await`. */
type MaybePromise<T> = T | Promise<T>;

/** A node: `json` is its content (`''` for a pure marker), `version` the revision that last wrote it. */
export interface StoreNode {
  readonly path: string;
  readonly version: Revision;
  readonly json: string;
}

/** One step of an atomic multi-operation. Checks see the state before the operation, wherever in the list they stand. */
export type NodeOp =
  | { readonly op: 'check'; readonly path: string; readonly version: Revision | 'present' | 'absent' }
  | { readonly op: 'put'; readonly path: string; readonly json: string }
  | { readonly op: 'remove'; readonly path: string }
  | {
      readonly op: 'putEntry';
      readonly table: string;
      readonly key: string;
      readonly value: string;
      readonly owner: string | null;
    }
  | { readonly op: 'removeEntry'; readonly table: string; readonly key: string; readonly owner: string | null }
  | { readonly op: 'dropTable'; readonly table: string };

/** A table entry with what its owner alone may know: that it lost against another entry of the same key. */
export type RawEntry = TableEntry;

export interface NodeStore {
  readonly generation: string;
  /** Last revision that is durable and was shown to subscribers. */
  readonly revision: Revision;
  get(path: string): MaybePromise<StoreNode | undefined>;
  /** All nodes directly below `path`, in no particular order. */
  children(path: string): MaybePromise<StoreNode[]>;
  /** All entries of a table, losing ones included. */
  rawEntries(table: string): MaybePromise<RawEntry[]>;
  /**
   * Applies all operations or none. Resolves with its revision once durable; with checks only, with the revision up to which
   * everything that was read is durable. Rejects with `Conflict` when a check failed.
   */
  commit(ops: readonly NodeOp[]): Promise<Revision>;
  /**
   * The store's clock: milliseconds since 1970. Never goes back, also over restarts, below what was read before a commit that
   * is durable; while the store runs it goes on no faster than time does.
   */
  now(): MaybePromise<number>;
  /** Next number of a persistent, never repeating sequence that starts at 0. Gaps are allowed. */
  allocate(sequence: string): MaybePromise<number>;
  /** Removes every entry that the host owns, in as many commits as it takes. */
  removeOwned(hostId: string): Promise<void>;
  /** Every entry that the host owns. */
  ownedBy(hostId: string): MaybePromise<{ table: string; entry: RawEntry }[]>;
  subscribe(options: SubscribeOptions): Subscription;
  /** Has every subscriber that is behind told of the current revision now, rather than with the next mark. */
  pushMarks(): void;
  /** Small facts outside the revision order (host sessions, applied revisions): durable soon after, last write wins. */
  getMeta(key: string): MaybePromise<string | undefined>;
  putMeta(key: string, value: string): Promise<void>;
  listMeta(prefix: string): MaybePromise<{ key: string; value: string }[]>;
  size(): Promise<StoreSize>;
  close(): Promise<void>;
}

/** A check of a commit failed: what was read is no longer so. Never leaves the package. */
export class Conflict extends Error {
  override readonly name = 'Conflict';
}
