/**
 * The back end on ZooKeeper. Every process speaks to the ensemble by itself; what they share is only what is there. A commit is one
 * multi, its revision the transaction id of ZooKeeper.
 */
import { randomUUID } from 'node:crypto';
import type { ZooKeeper } from '@weft/zookeeper';
import type { NodeOp, NodeStore, RawEntry, StoreNode } from '../backend.ts';
import { Conflict } from '../backend.ts';
import type { Revision, StoreSize, SubscribeOptions, Subscription } from '../contract.ts';
import { NsdbError } from '../errors.ts';
import { lifePath } from '../objects/paths.ts';
import { Hub } from '../subscription/hub.ts';
import { LOADING, type StoreImage, type Transferable, unfinished } from '../transfer/records.ts';
import { Access } from './access.ts';
import { ServerClock } from './clock.ts';
import { Committer } from './committer.ts';
import { Directories } from './directories.ts';
import { toNsdbError, toRepeatable } from './failures.ts';
import { readImage } from './image.ts';
import {
  APPLIED_ROOT,
  ASK_PATH,
  CLOCK_PATH,
  FORMAT,
  FORMAT_PATH,
  GENERATION_PATH,
  holdsMarkers,
  JANITOR_PATH,
  metaZnode,
  nodeZnode,
  OBJECTS_ROOT,
  ownedTableZnode,
  REVISION_PATH,
  toNode,
  VOUCHED_ROOT,
} from './layout.ts';
import { ZookeeperLink } from './link.ts';
import { Mirror } from './mirror.ts';
import { checkServers, type ZookeeperStoreOptions } from './options.ts';
import { asChildren, asData, PORTION, Reader } from './reader.ts';
import { Sequences } from './sequences.ts';
import { clearAway, ignoring, readTable, tablesOf } from './tables.ts';

/** Entries of a dead host that one commit removes. */
const REMOVE_CHUNK = 500;
/** Looks at a list of children until it stands still. */
const MAX_LOOKS = 5;
/** Milliseconds: of sessions, and that a request is given at least. */
const DEFAULT_SESSION = 10_000;
const LEAST_REQUEST = 4_000;
/** Milliseconds after which a subscriber that nothing concerned learns how far the store is. Who cannot wait asks (`/ask`). */
const MARK_INTERVAL = 1_000;
const MAX_RESPONSE = 64 * 2 ** 20;
const DIRECTORIES = ['/n', '/n/s', '/n/l', '/t', '/w', APPLIED_ROOT, VOUCHED_ROOT, '/q', '/m', JANITOR_PATH];

/** Told when the store can be reached, and when not any longer. */
export interface StoreListener {
  up(): void;
  down(): void;
}

export class ZookeeperStore implements NodeStore, Transferable {
  readonly link: ZookeeperLink;
  readonly access: Access;
  readonly directories: Directories;
  readonly reader: Reader;
  readonly #committer: Committer;
  readonly #clock: ServerClock;
  readonly #sequences: Sequences;
  readonly #mirror: Mirror;
  readonly #hub: Hub;
  readonly #listeners = new Set<StoreListener>();
  readonly #links = new Set<SubscribeOptions>();
  readonly #isLoader: boolean;
  #generation = '';
  /** Session that the mirror's watches are of. */
  #sessionId: bigint | undefined;
  #shown: Revision = 0;
  #known: Revision = 0;
  #clearing = new Set<Promise<void>>();

  constructor(options: ZookeeperStoreOptions) {
    const servers = checkServers(options);
    this.#isLoader = options.isLoader ?? false;
    this.access = new Access(options.access);
    this.directories = new Directories(this.access);
    this.link = new ZookeeperLink(
      {
        servers,
        auth: options.auth,
        tls: options.tls,
        sessionTimeout: options.sessionTimeout,
        // A server that has not answered by then would have lost the session, too.
        requestTimeout: Math.max(options.sessionTimeout ?? DEFAULT_SESSION, LEAST_REQUEST),
        maxRequest: options.maxRequest,
        maxResponse: MAX_RESPONSE,
      },
      { prepare: (zk) => this.#prepare(zk), up: () => this.#up(), down: () => this.#down() },
    );
    const use = () => this.link.use();
    this.reader = new Reader(this.link);
    this.#committer = new Committer(this.reader, this.access, this.directories);
    this.#clock = new ServerClock(use, options.clock);
    this.#sequences = new Sequences(use, this.access);
    this.#mirror = new Mirror({
      reader: this.reader,
      markInterval: options.markInterval ?? MARK_INTERVAL,
      onRevision: (revision) => {
        this.#shown = revision;
        this.#known = Math.max(this.#known, revision);
      },
    });
    const self = this;
    this.#hub = new Hub({
      markInterval: options.markInterval ?? MARK_INTERVAL,
      view: {
        get generation() {
          return self.#shown === 0 ? '' : self.#generation;
        },
        get revision() {
          return self.#shown;
        },
        content: (interest) => this.#mirror.content(interest),
      },
      quiet: (task, interests) => this.#mirror.whenRead(interests, task),
      unwanted: (interest) => this.#mirror.unwanted(interest),
      cost: (interest) => this.#mirror.cost(interest),
    });
    this.#mirror.hub = this.#hub;
  }

  /** Of the store that was reached last; empty: none was yet. */
  get generation(): string {
    return this.#generation;
  }

  /** Highest revision that this process knows of. */
  get revision(): Revision {
    return this.#known;
  }

  /** Has somebody told of the link; at once, if it is up. */
  listen(listener: StoreListener): void {
    this.#listeners.add(listener);
    if (this.link.isUp) listener.up();
  }

  // ---- the link ----

  async #prepare(zk: ZooKeeper): Promise<void> {
    // Behind this, whatever was asked for over an earlier connection has happened, or never does.
    await zk.sync();
    if (this.#generation === '' || (await zk.exists(FORMAT_PATH)) === undefined) await this.#found(zk);
    const format = Buffer.from((await zk.getData(FORMAT_PATH)).data).toString();
    if (format !== FORMAT) throw new NsdbError('WEFT_STORE_FORMAT', `The store has format ${format.slice(0, 20)}`);
    const generation = Buffer.from((await zk.getData(GENERATION_PATH)).data).toString();
    if (generation === this.#generation) return;
    if (!this.#isLoader) {
      const loading = await zk.getData(metaZnode(LOADING)).catch(ignoring('WEFT_ZK_NO_NODE'));
      if (loading !== undefined && loading.data.length > 0) throw unfinished();
    }
    this.#generation = generation;
    this.#known = this.#shown = 0;
    this.#committer.forget();
    this.directories.forget();
    this.#sequences.forget();
  }

  /** Makes what is not there yet. Of several that begin at the same time each makes what it finds missing. */
  async #found(zk: ZooKeeper): Promise<void> {
    if ((await zk.exists(FORMAT_PATH)) !== undefined) return;
    await zk.ensurePath('/');
    await Promise.all(DIRECTORIES.map((path) => this.directories.ensure(zk, path)));
    const make = (path: string, data?: string) =>
      zk.create(path, data, { acl: this.access.of(path) }).catch(ignoring('WEFT_ZK_NODE_EXISTS'));
    await Promise.all([make(REVISION_PATH), make(CLOCK_PATH), make(ASK_PATH), make(GENERATION_PATH, randomUUID())]);
    await make(FORMAT_PATH, FORMAT);
  }

  #up(): void {
    const zk = this.link.use();
    const isNew = zk.session.id !== this.#sessionId;
    this.#sessionId = zk.session.id;
    for (const { onLink } of this.#links) onLink?.(true);
    this.#mirror.up(zk, isNew);
    for (const listener of this.#listeners) listener.up();
  }

  #down(): void {
    this.#mirror.down();
    for (const listener of this.#listeners) listener.down();
    for (const { onLink } of this.#links) onLink?.(false);
  }

  // ---- reading ----

  async get(path: string): Promise<StoreNode | undefined> {
    return guarded(async () => {
      const znode = await this.reader.data(nodeZnode(path));
      this.#committer.note(path, znode);
      return toNode(path, znode);
    });
  }

  async children(path: string): Promise<StoreNode[]> {
    return guarded(async () => {
      const at = nodeZnode(path);
      let names = await this.reader.children(at);
      // Nobody checks a marker's version: its stamp stands for it.
      if (holdsMarkers(path)) return names.map((name) => ({ path: `${path}/${name}`, version: 0, json: '' }));
      for (let look = 1; names.length < PORTION && look <= MAX_LOOKS; look++) {
        const zk = this.link.use();
        const [list, ...results] = await zk.multiRead([
          { op: 'getChildren', path: at },
          ...names.map((name) => ({ op: 'getData', path: `${at}/${name}` }) as const),
        ]);
        const now = asChildren(list);
        const isSame = now.length === names.length && now.every((name, i) => name === names[i]);
        if (isSame || look === MAX_LOOKS)
          return names.flatMap((name, i) => {
            const znode = asData(results[i]);
            this.#committer.note(`${path}/${name}`, znode);
            return toNode(`${path}/${name}`, znode) ?? [];
          });
        names = now;
      }
      const nodes = await Promise.all(names.map((name) => this.get(`${path}/${name}`)));
      return nodes.filter((node) => node !== undefined);
    });
  }

  async rawEntries(table: string): Promise<RawEntry[]> {
    return guarded(async () => [...(await readTable(this.reader, table)).entries.values()]);
  }

  // ---- writing ----

  async commit(ops: readonly NodeOp[]): Promise<Revision> {
    try {
      const zk = this.link.use();
      if (ops.length > 0) {
        const { revision, dropped } = await this.#committer.commit(zk, ops);
        for (const { root, epoch } of dropped) this.#clear(zk, root, epoch);
        if (revision !== undefined) {
          this.#known = Math.max(this.#known, revision);
          if (this.#hub.subscribers > 0) this.#mirror.kick();
          return revision;
        }
      }
      const revision = Number((await this.reader.fresh().data(REVISION_PATH))!.stat.mzxid);
      this.#known = Math.max(this.#known, revision);
      return revision;
    } catch (error) {
      if (error instanceof Conflict) throw error;
      throw toNsdbError(error);
    }
  }

  /** Clears away what was dropped; what is left if this fails is the janitor's. */
  #clear(zk: ZooKeeper, root: string, epoch: string): void {
    const clearing = (async () => {
      await clearAway(zk, `${root}/${epoch}`);
      await zk.delete(root);
    })().catch(() => {});
    this.#clearing.add(clearing);
    void clearing.then(() => this.#clearing.delete(clearing));
  }

  now(): Promise<number> {
    return guarded(() => this.#clock.now());
  }

  /** What stands as the time of changes, ms. Not of an injected clock. */
  leaderTime(): Promise<number> {
    return guarded(async () => (await this.link.use().setData(ASK_PATH, undefined)).mtime);
  }

  allocate(sequence: string): Promise<number> {
    return guarded(() => this.#sequences.next(sequence));
  }

  // ---- hosts' entries ----

  async ownedBy(hostId: string): Promise<{ table: string; entry: RawEntry }[]> {
    return guarded(async () => {
      const tables = await tablesOf(this.reader.fresh(), hostId);
      const owned = await Promise.all(
        tables.map(async (table) => {
          const { entries } = await readTable(this.reader, table, hostId);
          return [...entries.values()].map((entry) => ({ table, entry }));
        }),
      );
      return owned.flat();
    });
  }

  /** Not if the host has come back: what it has written since is its own. */
  async removeOwned(hostId: string): Promise<void> {
    const life = await this.get(lifePath(hostId));
    const guard: NodeOp[] = [{ op: 'check', path: lifePath(hostId), version: life?.version ?? 'absent' }];
    const owned = await this.ownedBy(hostId);
    const tables = await guarded(() => tablesOf(this.reader, hostId));
    try {
      for (let at = 0; at < owned.length; at += REMOVE_CHUNK)
        await this.commit([
          ...guard,
          ...owned
            .slice(at, at + REMOVE_CHUNK)
            .map(({ table, entry }) => ({ op: 'removeEntry', table, key: entry.key, owner: hostId }) as const),
        ]);
      await this.#forgetTables(hostId, tables, guard);
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
    }
  }

  /** The host owns nothing any longer. A host that comes back notes its tables anew, behind its life's change. */
  async #forgetTables(hostId: string, tables: readonly string[], guard: readonly NodeOp[]): Promise<void> {
    await this.commit(guard);
    const life = await guarded(() => this.reader.data(nodeZnode(lifePath(hostId))));
    if (life === undefined || tables.length === 0) return;
    await guarded(() =>
      this.link
        .use()
        .multi([
          { op: 'check', path: nodeZnode(lifePath(hostId)), version: life.stat.version },
          ...tables.map((table) => ({ op: 'delete', path: ownedTableZnode(hostId, table) }) as const),
        ])
        .catch(ignoring('WEFT_ZK_BAD_VERSION', 'WEFT_ZK_NO_NODE')),
    );
  }

  // ---- subscribers ----

  subscribe(options: SubscribeOptions): Subscription {
    const subscription = this.#hub.subscribe(options);
    this.#links.add(options);
    options.onLink?.(this.link.isUp);
    this.#mirror.kick();
    return {
      add: (interests) => subscription.add(interests),
      remove: (interests) => subscription.remove(interests),
      get bytesReceived() {
        return subscription.bytesReceived;
      },
      close: () => {
        this.#links.delete(options);
        subscription.close();
      },
    };
  }

  pushMarks(): void {
    this.#mirror.kick();
  }

  // ---- meta, life ----

  /** One request for the types and one for the lengths of their lists. Entries are spread over too many lists for that. */
  size(): Promise<StoreSize> {
    return guarded(async () => {
      const types = await this.reader.children(OBJECTS_ROOT);
      const znodes = await Promise.all(types.map((type) => this.reader.data(`${OBJECTS_ROOT}/${type}`)));
      const counts = types.map((type, i) => [type, znodes[i]?.stat.numChildren ?? 0] as const);
      return { objects: Object.fromEntries(counts.filter(([, count]) => count > 0)), entries: null, bytes: null };
    });
  }

  async getMeta(key: string): Promise<string | undefined> {
    const znode = await guarded(() => this.reader.fresh().data(metaZnode(key)));
    return znode && Buffer.from(znode.data).toString();
  }

  async putMeta(key: string, value: string): Promise<void> {
    await this.write(metaZnode(key), value);
  }

  async listMeta(prefix: string): Promise<{ key: string; value: string }[]> {
    return guarded(async () => {
      const keys = (await this.reader.children('/m')).map(decodeURIComponent).filter((key) => key.startsWith(prefix));
      const znodes = await Promise.all(keys.map((key) => this.reader.data(metaZnode(key))));
      return keys.flatMap((key, i) =>
        znodes[i] === undefined ? [] : [{ key, value: Buffer.from(znodes[i].data).toString() }],
      );
    });
  }

  /** Writes a znode outside of the order of revisions; the last one wins. */
  async write(path: string, data: string): Promise<void> {
    await guarded(async () => {
      const zk = this.link.use();
      try {
        await zk.setData(path, data);
      } catch (error) {
        ignoring('WEFT_ZK_NO_NODE')(error);
        const made = await zk.create(path, data, { acl: this.access.of(path) }).catch(ignoring('WEFT_ZK_NODE_EXISTS'));
        if (made === undefined) await zk.setData(path, data);
      }
    });
  }

  image(onProgress?: (read: number) => void): Promise<StoreImage> {
    return guarded(() => readImage(this, onProgress));
  }

  setSequence(name: string, next: number): Promise<void> {
    return guarded(() => this.#sequences.set(name, next));
  }

  async close(): Promise<void> {
    this.#hub.closeAll();
    this.#mirror.down();
    await Promise.allSettled(this.#clearing);
    await this.link.close();
  }
}

/** Runs what can be repeated, with the database's errors. */
async function guarded<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw toRepeatable(error);
  }
}
