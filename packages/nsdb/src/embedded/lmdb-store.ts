/**
 * The embedded back end on LMDB.
 *
 * A commit is accepted or refused at once, in memory, against LMDB plus an overlay of what is accepted but not yet written.
 * Accepted commits gather into groups; a group is one LMDB transaction, flushed to disk before anybody is told. So one disk
 * flush serves all clients that commit at the same time, contenders for one object are settled without waiting for the
 * disk, and a crash loses only commits that nobody was promised. Between two groups LMDB stands exactly at the published
 * revision: that is when subscribers are given their first content.
 *
 * Longer than other files because overlay, groups and what subscribers are told must move from one revision to the next as one.
 */
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { Conflict, type NodeOp, type NodeStore, type RawEntry, type StoreNode } from '../backend.ts';
import type { Revision, StoreSize, SubscribeOptions, Subscription } from '../contract.ts';
import { NsdbError } from '../errors.ts';
import { Hub } from '../subscription/hub.ts';
import type { StoreImage, Transferable } from '../transfer/records.ts';
import { type Clock, StoreClock, SYSTEM_CLOCK } from './clock.ts';
import { META_PREFIX, recordsOf, SEQUENCE_PREFIX } from './content.ts';
import { countBelow } from './count.ts';
import {
  decode,
  encode,
  entryKey,
  entryPrefix,
  listPrefix,
  prefixEnd,
  splitEntryKey,
  tablePrefix,
  toEntry,
} from './keys.ts';
import { changesOf, contentOf, type OnDisk } from './on-disk.ts';
import { takeOwnership } from './owner.ts';

/** Of keys and values in LMDB; a store of another one is refused. */
export const FORMAT = '1';
/** Commits in one LMDB transaction at most: bounds the time that a subscriber waits for its turn. */
const MAX_GROUP = 5_000;
const REMOVE_CHUNK = 1_000;

export interface LmdbStoreOptions {
  /** Directory of the store, created with mode 0700. */
  readonly dir: string;
  /** Milliseconds between progress marks to quiet subscribers. Default 50. */
  readonly markInterval?: number;
  /** Address space reserved for the map, in bytes. Default 8 GiB; grows by itself where that is too small. */
  readonly mapSize?: number;
  /** What its clock is made from. Default: the machine's. */
  readonly clock?: Clock;
}

/** Where a fact of `putMeta` is. */
export const metaKey = (key: string): string => META_PREFIX + key;

interface Accepted {
  readonly revision: Revision;
  /** Keys written, with what they became: null = removed. */
  readonly writes: Map<string, StoreNode | null>;
  readonly resolve: (revision: Revision) => void;
  readonly reject: (error: Error) => void;
}

export class LmdbStore implements NodeStore, Transferable {
  readonly generation: string;
  readonly #dir: string;
  readonly #root: RootDatabase<string, string>;
  readonly #nodes: Database<string, string>;
  readonly #meta: Database<string, string>;
  readonly #release: () => void;
  readonly #hub: Hub;
  readonly #clock: StoreClock;
  /** Accepted, not yet in LMDB; node null = removed. Beside it the keys by the prefix they are listed under. */
  readonly #overlay = new Map<string, { readonly revision: Revision; readonly node: StoreNode | null }>();
  readonly #overlayLists = new Map<string, Set<string>>();
  readonly #sequences = new Map<string, number>();
  #dirtySequences = new Set<string>();
  #queue: Accepted[] = [];
  #durableWaiters: { revision: Revision; resolve: (revision: Revision) => void; reject: (error: Error) => void }[] = [];
  #quiet: (() => void)[] = [];
  /** LMDB without the overlay. */
  readonly #onDisk: OnDisk = { load: (path) => this.#load(path), loadRange: (prefix) => this.#loadRange(prefix) };
  #accepted: Revision;
  #published: Revision;
  #scheduled = false;
  #writing: Promise<void> | undefined;
  #failed: NsdbError | undefined;
  #closed = false;
  /** A count that is going on: who asks meanwhile gets the same. */
  #counting: Promise<StoreSize> | undefined;

  constructor(options: LmdbStoreOptions) {
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    chmodSync(options.dir, 0o700);
    this.#dir = options.dir;
    this.#release = takeOwnership(options.dir);
    try {
      this.#root = open<string, string>({
        path: options.dir,
        noSubdir: false,
        encoding: 'string',
        maxDbs: 4,
        mapSize: options.mapSize ?? 8 * 2 ** 30,
        eventTurnBatching: false,
      });
      this.#nodes = this.#root.openDB<string, string>({ name: 'nodes', encoding: 'string' });
      this.#meta = this.#root.openDB<string, string>({ name: 'meta', encoding: 'string' });
      const format = this.#meta.get('format');
      if (format !== undefined && format !== FORMAT)
        throw new NsdbError('WEFT_STORE_FORMAT', `${options.dir} has format ${format.slice(0, 20)}`);
      if (format === undefined || this.#meta.get('generation') === undefined) {
        this.#root.transactionSync(() => {
          this.#meta.putSync('format', FORMAT);
          this.#meta.putSync('generation', randomUUID());
        });
      }
      this.generation = this.#meta.get('generation')!;
      this.#published = this.#accepted = Number(this.#meta.get('revision') ?? 0);
      this.#clock = new StoreClock(options.clock ?? SYSTEM_CLOCK, Number(this.#meta.get('clock') ?? 0));
    } catch (error) {
      this.#release();
      throw error;
    }
    const self = this;
    this.#hub = new Hub({
      markInterval: options.markInterval ?? 50,
      view: {
        generation: this.generation,
        get revision() {
          return self.#published;
        },
        content: (interest) => contentOf(this.#onDisk, interest),
      },
      quiet: (task) => {
        if (this.#writing === undefined) task();
        else this.#quiet.push(task);
      },
    });
  }

  get revision(): Revision {
    return this.#published;
  }

  // ---- reading: LMDB with the overlay on top ----

  get(path: string): StoreNode | undefined {
    this.#usable();
    const pending = this.#overlay.get(path);
    return pending === undefined ? this.#load(path) : (pending.node ?? undefined);
  }

  children(path: string): StoreNode[] {
    this.#usable();
    return this.#range(`${path}/`);
  }

  rawEntries(table: string): RawEntry[] {
    this.#usable();
    return this.#range(tablePrefix(table)).map(toEntry);
  }

  #range(prefix: string): StoreNode[] {
    const pending = this.#overlayLists.get(prefix);
    if (pending === undefined) return this.#loadRange(prefix);
    const found = this.#loadRange(prefix).filter((node) => !pending.has(node.path));
    for (const path of pending) {
      const node = this.#overlay.get(path)?.node;
      if (node) found.push(node);
    }
    return found;
  }

  #load(path: string): StoreNode | undefined {
    const stored = this.#nodes.get(path);
    return stored === undefined ? undefined : decode(path, stored);
  }

  #loadRange(prefix: string): StoreNode[] {
    const found: StoreNode[] = [];
    for (const { key, value } of this.#nodes.getRange({ start: prefix, end: prefixEnd(prefix) }))
      found.push(decode(key, value));
    return found;
  }

  // ---- committing ----

  commit(ops: readonly NodeOp[]): Promise<Revision> {
    this.#usable();
    const writes = new Map<string, StoreNode | null>();
    for (const op of ops) if (op.op === 'check') this.#check(op.path, op.version);
    const revision = this.#accepted + 1;
    for (const op of ops) this.#stage(op, revision, writes);
    if (writes.size === 0) return this.#durable();
    this.#accepted = revision;
    for (const [path, node] of writes) this.#overlaySet(path, { revision, node });
    return new Promise((resolve, reject) => {
      this.#queue.push({ revision, writes, resolve, reject });
      this.#schedule();
    });
  }

  #check(path: string, version: Revision | 'present' | 'absent'): void {
    const node = this.get(path);
    const holds =
      version === 'absent'
        ? node === undefined
        : version === 'present'
          ? node !== undefined
          : node !== undefined && node.version === version;
    if (!holds) throw new Conflict(`${path} is no longer ${version}`);
  }

  #stage(op: NodeOp, version: Revision, writes: Map<string, StoreNode | null>): void {
    switch (op.op) {
      case 'put':
        writes.set(op.path, { path: op.path, version, json: op.json });
        break;
      case 'remove':
        if (this.get(op.path) !== undefined || writes.has(op.path)) writes.set(op.path, null);
        break;
      case 'putEntry': {
        const path = entryKey(op.table, op.key, op.owner);
        // The same again changes nothing, and must not wake anybody: unless another host had taken the key over since.
        const known = writes.has(path) ? undefined : this.get(path);
        if (known?.json === op.value && !this.#overtaken(op.table, op.key, known)) break;
        writes.set(path, { path, version, json: op.value });
        break;
      }
      case 'removeEntry': {
        const path = entryKey(op.table, op.key, op.owner);
        if (this.get(path) !== undefined || writes.has(path)) writes.set(path, null);
        break;
      }
      case 'dropTable':
        for (const node of this.#range(tablePrefix(op.table))) writes.set(node.path, null);
        for (const node of this.#loadRange(`t/${op.table}/`)) writes.set(node.path, null);
        for (const [prefix, paths] of this.#overlayLists)
          if (prefix.startsWith(`t/${op.table}/`)) for (const path of paths) writes.set(path, null);
        break;
    }
  }

  /** True if another host's entry of the same key is newer than `node`. */
  #overtaken(table: string, key: string, node: StoreNode): boolean {
    const prefix = entryPrefix(table, key);
    const rivals = new Set(this.#loadRange(prefix).map(({ path }) => path));
    for (const path of this.#overlayLists.get(tablePrefix(table)) ?? []) if (path.startsWith(prefix)) rivals.add(path);
    for (const path of rivals) {
      if (path === node.path || path === prefix) continue; // itself; the operator's, which any learned one beats
      const rival = this.get(path);
      if (rival !== undefined && rival.version > node.version) return true;
    }
    return false;
  }

  #overlaySet(path: string, pending: { revision: Revision; node: StoreNode | null }): void {
    this.#overlay.set(path, pending);
    const prefix = listPrefix(path);
    let list = this.#overlayLists.get(prefix);
    if (list === undefined) this.#overlayLists.set(prefix, (list = new Set()));
    list.add(path);
  }

  #overlayClear(path: string): void {
    this.#overlay.delete(path);
    const prefix = listPrefix(path);
    const list = this.#overlayLists.get(prefix);
    if (list?.delete(path) && list.size === 0) this.#overlayLists.delete(prefix);
  }

  #durable(): Promise<Revision> {
    if (this.#accepted === this.#published) return Promise.resolve(this.#published);
    return new Promise((resolve, reject) => {
      this.#durableWaiters.push({ revision: this.#accepted, resolve, reject });
    });
  }

  /** The next group starts in the next turn of the event loop, so that all that commit in this turn are in it. */
  #schedule(): void {
    if (this.#scheduled || this.#writing !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#writing === undefined && this.#failed === undefined) this.#writing = this.#writeGroups();
    });
  }

  async #writeGroups(): Promise<void> {
    while (this.#queue.length > 0) {
      const group = this.#queue.splice(0, MAX_GROUP);
      const last = group[group.length - 1].revision;
      const dirty = new Map<string, StoreNode | null>();
      for (const { writes } of group) for (const [path, node] of writes) dirty.set(path, node);
      try {
        await this.#write(dirty, last);
      } catch (error) {
        this.#fail(error as Error, group);
        break;
      }
      for (const path of dirty.keys()) if (this.#overlay.get(path)!.revision <= last) this.#overlayClear(path);
      this.#published = last;
      this.#hub.publish(changesOf(this.#onDisk, dirty));
      for (const task of this.#quiet.splice(0)) task();
      for (const commit of group) commit.resolve(commit.revision);
      this.#durableWaiters = this.#durableWaiters.filter((waiter) => {
        if (waiter.revision > last) return true;
        waiter.resolve(last);
        return false;
      });
    }
    this.#writing = undefined;
    for (const task of this.#quiet.splice(0)) task();
  }

  async #write(dirty: Map<string, StoreNode | null>, revision: Revision): Promise<void> {
    const sequences = this.#dirtySequences;
    this.#dirtySequences = new Set();
    const committed = this.#root.batch(() => {
      for (const [path, node] of dirty) {
        if (node === null) void this.#nodes.remove(path);
        else void this.#nodes.put(path, encode(node.version, node.json));
      }
      for (const name of sequences) void this.#meta.put(SEQUENCE_PREFIX + name, String(this.#sequences.get(name)));
      void this.#meta.put('revision', String(revision));
      void this.#meta.put('clock', String(this.#clock.now()));
    });
    await committed;
    await this.#root.flushed;
    this.#root.resetReadTxn();
  }

  #fail(cause: Error, group: Accepted[]): void {
    this.#failed = new NsdbError('WEFT_STORE_FAILED', cause.message, [], { cause });
    for (const commit of group.concat(this.#queue.splice(0))) commit.reject(this.#failed);
    for (const waiter of this.#durableWaiters.splice(0)) waiter.reject(this.#failed);
  }

  now(): number {
    return this.#clock.now();
  }

  allocate(sequence: string): number {
    this.#usable();
    const next = this.#sequences.get(sequence) ?? Number(this.#meta.get(SEQUENCE_PREFIX + sequence) ?? 0);
    this.#sequences.set(sequence, next + 1);
    // Written with the group that holds the commit which uses the number; a number that no commit used may come again.
    this.#dirtySequences.add(sequence);
    return next;
  }

  // ---- hosts' entries ----

  ownedBy(hostId: string): { table: string; entry: RawEntry }[] {
    this.#usable();
    const owned: { table: string; entry: RawEntry }[] = [];
    for (const path of this.#nodes.getKeys({ start: 't/', end: prefixEnd('t/') })) {
      if (!path.endsWith(`\t${hostId}`)) continue;
      const node = this.get(path);
      if (node) owned.push({ table: splitEntryKey(path).table, entry: toEntry(node) });
    }
    const seen = new Set(owned.map(({ table, entry }) => entryKey(table, entry.key, entry.owner)));
    for (const [path, { node }] of this.#overlay)
      if (node && path.startsWith('t/') && path.endsWith(`\t${hostId}`) && !seen.has(path))
        owned.push({ table: splitEntryKey(path).table, entry: toEntry(node) });
    return owned;
  }

  async removeOwned(hostId: string): Promise<void> {
    const owned = this.ownedBy(hostId);
    for (let at = 0; at < owned.length; at += REMOVE_CHUNK) {
      await this.commit(
        owned
          .slice(at, at + REMOVE_CHUNK)
          .map(({ table, entry }) => ({ op: 'removeEntry', table, key: entry.key, owner: hostId }) as const),
      );
    }
  }

  // ---- subscribers: LMDB alone, which stands at the published revision whenever these run ----

  subscribe(options: SubscribeOptions): Subscription {
    this.#usable();
    const subscription = this.#hub.subscribe(options);
    options.onLink?.(true);
    return subscription;
  }

  pushMarks(): void {
    this.#hub.pushMarks();
  }

  // ---- meta, life ----

  getMeta(key: string): string | undefined {
    return this.#meta.get(metaKey(key));
  }

  async putMeta(key: string, value: string): Promise<void> {
    this.#usable();
    await this.#meta.put(metaKey(key), value);
  }

  listMeta(prefix: string): { key: string; value: string }[] {
    const start = metaKey(prefix);
    return [...this.#meta.getRange({ start, end: prefixEnd(start) })].map(({ key, value }) => ({
      key: key.slice(2),
      value,
    }));
  }

  size(): Promise<StoreSize> {
    this.#counting ??= this.#count().finally(() => {
      this.#counting = undefined;
    });
    return this.#counting;
  }

  async #count(): Promise<StoreSize> {
    const check = () => this.#usable();
    const objects = await countBelow(this.#nodes, 'o', check);
    const entries = await countBelow(this.#nodes, 't', check);
    return { objects, entries, bytes: 512 * statSync(join(this.#dir, 'data.mdb')).blocks };
  }

  /** Writes a consistent copy into an empty directory, while the store goes on. */
  async backup(dir: string): Promise<void> {
    this.#usable();
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    await this.#root.backup(dir, false);
  }

  /** What is on disk, read in one go: nothing is written meanwhile. */
  async image(): Promise<StoreImage> {
    await this.#durable();
    this.#usable();
    const records = [...recordsOf({ nodes: this.#nodes, meta: this.#meta })];
    return { generation: this.generation, revision: this.#published, records, garbage: 0 };
  }

  async setSequence(name: string, next: number): Promise<void> {
    this.#usable();
    if (Number(this.#meta.get(SEQUENCE_PREFIX + name) ?? 0) >= next) return;
    this.#sequences.set(name, next);
    await this.#meta.put(SEQUENCE_PREFIX + name, String(next));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    while (this.#failed === undefined && (this.#writing !== undefined || this.#scheduled || this.#queue.length > 0)) {
      if (this.#writing !== undefined) await this.#writing;
      else await new Promise((resolve) => setImmediate(resolve));
    }
    this.#closed = true;
    this.#hub.closeAll();
    await this.#root.close();
    this.#release();
  }

  #usable(): void {
    if (this.#closed) throw new NsdbError('WEFT_STORE_CLOSED');
    if (this.#failed !== undefined) throw this.#failed;
  }
}
