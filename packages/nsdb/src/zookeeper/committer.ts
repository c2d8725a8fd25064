/**
 * Turns operations on nodes into one multi of ZooKeeper. A check of a node's version becomes one of its data version, which stands
 * for it as nodes are never made anew (see `layout.ts`); where it is not known, it is read first.
 *
 * A multi that fails says which operation failed. If the state that it was made from has changed, it is made again from what is
 * there now; only a check that does not hold of that is a conflict.
 */
import { randomBytes } from 'node:crypto';
import { isZooKeeperError, MultiError, type MultiOp, type ZooKeeper } from '@weft/zookeeper';
import { Conflict, type NodeOp } from '../backend.ts';
import type { Revision } from '../contract.ts';
import type { Access } from './access.ts';
import type { Directories } from './directories.ts';
import {
  entryZnode,
  isLive,
  isMarker,
  liveContent,
  nodeZnode,
  ownedTableZnode,
  REVISION_PATH,
  TOMBSTONE,
  tablePlace,
  type Znode,
} from './layout.ts';
import type { Reader } from './reader.ts';
import { ignoring, spaceOf, type TableRoot, toEntry, toRoot } from './tables.ts';

const MAX_ATTEMPTS = 50;
/** Znodes whose versions are remembered. */
const MAX_KNOWN = 50_000;

/** What a znode was when it was last seen; null: it was not there. */
type Seen = { readonly mzxid: bigint; readonly version: number; readonly live: boolean } | null;

/** Milliseconds for which it is remembered: less than tombstones stand (`sweep.ts`). */
const MEMORY = 1_800_000;

interface Plan {
  readonly ops: MultiOp[];
  /** Something is written, not only checked. */
  writes: boolean;
  /** Directories of table epochs that no longer count. */
  readonly dropped: { readonly root: string; readonly epoch: string }[];
}

export class Committer {
  readonly #reader: Reader;
  readonly #access: Access;
  readonly #directories: Directories;
  readonly #seen = new Map<string, { readonly seen: Seen; readonly at: number }>();

  constructor(reader: Reader, access: Access, directories: Directories) {
    this.#reader = reader;
    this.#access = access;
    this.#directories = directories;
  }

  /** Remembers what a read has shown. */
  note(path: string, znode: Znode | undefined): void {
    this.#remember(
      path,
      znode === undefined ? null : { mzxid: znode.stat.mzxid, version: znode.stat.version, live: isLive(znode) },
    );
  }

  forget(): void {
    this.#seen.clear();
  }

  /**
   * Does all or nothing. The revision, or undefined when nothing was to be written. `Conflict` when a check does not hold; errors of
   * ZooKeeper as they are.
   */
  async commit(
    zk: ZooKeeper,
    ops: readonly NodeOp[],
  ): Promise<{ revision: Revision | undefined; dropped: Plan['dropped'] }> {
    let fresh = false;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      let plan: Plan;
      try {
        plan = await this.#plan(zk, ops, fresh);
      } catch (error) {
        if (!(error instanceof Conflict) || fresh) throw error;
        fresh = true; // what was remembered may be old
        continue;
      }
      if (plan.ops.length === 0) return { revision: undefined, dropped: [] };
      if (plan.writes) plan.ops.push({ op: 'setData', path: REVISION_PATH, data: undefined });
      try {
        const results = await zk.multi(plan.ops);
        const last = results[results.length - 1];
        const revision = plan.writes && last.op === 'setData' ? last.stat.mzxid : undefined;
        this.#learn(plan.ops, results, revision);
        return { revision: revision === undefined ? undefined : Number(revision), dropped: plan.dropped };
      } catch (error) {
        if (!(error instanceof MultiError) || !isZooKeeperError(error, ...CHANGED)) throw error;
        if (isZooKeeperError(error, 'WEFT_ZK_NO_NODE')) this.#directories.forget();
        fresh = true;
      }
    }
    throw new Conflict('others are always faster');
  }

  async #plan(zk: ZooKeeper, ops: readonly NodeOp[], fresh: boolean): Promise<Plan> {
    const plan: Plan = { ops: [], writes: false, dropped: [] };
    const checks = new Map<string, { readonly version: Revision | 'present' | 'absent' }[]>();
    const writes = new Map<string, string | null>();
    const entries = new Map<string, Extract<NodeOp, { op: 'putEntry' | 'removeEntry' }>>();
    const drops = new Set<string>();
    for (const op of ops) {
      if (op.op === 'check') checks.set(op.path, [...(checks.get(op.path) ?? []), op]);
      else if (op.op === 'put') writes.set(op.path, op.json);
      else if (op.op === 'remove') writes.set(op.path, null);
      else if (op.op === 'dropTable') {
        drops.add(tablePlace(op.table).root);
        for (const [slot, { table }] of entries) if (under(table, op.table)) entries.delete(slot);
      } else entries.set(`${op.table}\t${op.key}\t${op.owner ?? ''}`, op);
    }
    const [seen] = await Promise.all([
      this.#look(checks, writes, fresh),
      this.#ensureParents(zk, [...checks.keys(), ...writes.keys()], writes),
      this.#planEntries(zk, plan, drops, [...entries.values()]),
    ]);
    const entryOps = plan.ops.splice(0);
    for (const [path, wanted] of checks) {
      for (const { version } of wanted) requireHolds(path, seen.get(path)!, version);
      this.#planCheck(plan, path, seen.get(path)!, writes.has(path));
    }
    for (const [path, json] of writes) this.#planWrite(plan, path, seen.get(path)!, json, checks.has(path));
    plan.ops.push(...entryOps);
    return plan;
  }

  #planCheck(plan: Plan, path: string, seen: Seen, isWritten: boolean): void {
    const znode = nodeZnode(path);
    if (seen !== null) {
      // A write of the node's own names the version; its absence stands in its creation.
      if (!isWritten || isMarker(path)) plan.ops.push({ op: 'check', path: znode, version: seen.version });
    } else if (!isWritten && this.#access.mayCreate(znode)) {
      // Who may not create there has seen that it is absent, and can do no more; see `#look`.
      plan.ops.push({ op: 'create', path: znode, acl: this.#access.of(znode) }, { op: 'delete', path: znode });
    }
  }

  #planWrite(plan: Plan, path: string, seen: Seen, json: string | null, isChecked: boolean): void {
    const znode = nodeZnode(path);
    const version = isChecked && seen !== null ? seen.version : undefined;
    if (json === null) {
      if (seen === null) {
        if (isChecked)
          plan.ops.push({ op: 'create', path: znode, acl: this.#access.of(znode) }, { op: 'delete', path: znode });
        return;
      }
      if (isMarker(path)) plan.ops.push({ op: 'delete', path: znode });
      else if (seen.live) plan.ops.push({ op: 'setData', path: znode, data: TOMBSTONE, version });
      else {
        if (isChecked) plan.ops.push({ op: 'check', path: znode, version });
        return;
      }
    } else if (seen === null) {
      plan.ops.push({ op: 'create', path: znode, data: liveContent(json), acl: this.#access.of(znode) });
    } else {
      plan.ops.push({ op: 'setData', path: znode, data: liveContent(json), version });
    }
    plan.writes = true;
  }

  /** Entries are read before they are written: the same again changes nothing, and what is not there need not be removed. */
  async #planEntries(
    zk: ZooKeeper,
    plan: Plan,
    drops: ReadonlySet<string>,
    entries: readonly Extract<NodeOp, { op: 'putEntry' | 'removeEntry' }>[],
  ): Promise<void> {
    const roots = new Map<string, TableRoot | undefined>();
    const wanted = new Set([...drops, ...entries.map(({ table }) => tablePlace(table).root)]);
    if (wanted.size === 0) return;
    this.#reader.fresh();
    await Promise.all(
      [...wanted].map(async (root) => {
        roots.set(root, toRoot(await this.#reader.data(root)));
      }),
    );
    const rooted = new Set(entries.filter(({ op }) => op === 'putEntry').map(({ table }) => tablePlace(table).root));
    await Promise.all(
      [...rooted].map(async (root) => {
        if (roots.get(root) !== undefined) return;
        await this.#directories.ensure(zk, parentOf(root));
        await zk
          .create(root, newEpoch(), { acl: this.#access.of(root) })
          .catch(ignoring('WEFT_ZK_NODE_EXISTS', 'WEFT_ZK_NO_NODE'));
        roots.set(root, toRoot(await this.#reader.data(root)));
      }),
    );
    for (const root of drops) {
      const found = roots.get(root);
      const epoch = newEpoch();
      if (found !== undefined) {
        plan.ops.push({ op: 'setData', path: root, data: epoch, version: found.version });
        plan.dropped.push({ root, epoch: found.epoch });
        plan.writes = true;
        roots.set(root, { epoch, version: -1 });
      } else {
        await this.#directories.ensure(zk, parentOf(root));
        plan.ops.push({ op: 'create', path: root, acl: this.#access.of(root) }, { op: 'delete', path: root });
      }
    }
    const places = entries.map((entry) => {
      const { root, sub } = tablePlace(entry.table);
      const found = roots.get(root);
      const space = spaceOf(entry.table, entry.owner);
      const directory = found && `${root}/${found.epoch}/${sub}`;
      return { entry, root, found, directory, path: directory && entryZnode(directory, space, entry.key, entry.owner) };
    });
    await this.#ensureBuckets(zk, places);
    const present = await Promise.all(
      places.map(({ path, found }) => (path === undefined || found!.version < 0 ? undefined : this.#reader.data(path))),
    );
    const checked = new Set<string>();
    for (const [i, { entry, root, found, path, directory }] of places.entries()) {
      const znode = present[i];
      if (path === undefined || (entry.op === 'removeEntry' && znode === undefined)) continue;
      if (entry.op === 'putEntry' && znode !== undefined) {
        const old = toEntry(path, znode);
        // Unless another host has taken the key over since.
        if (old.value === entry.value && !(await this.#isOvertaken(directory!, path, znode))) continue;
      }
      if (!checked.has(root) && found!.version >= 0) {
        checked.add(root);
        plan.ops.push({ op: 'check', path: root, version: found!.version });
      }
      if (entry.op === 'removeEntry') plan.ops.push({ op: 'delete', path });
      else if (znode !== undefined) plan.ops.push({ op: 'setData', path, data: entry.value });
      else plan.ops.push({ op: 'create', path, data: entry.value, acl: this.#access.of(path) });
      plan.writes = true;
    }
  }

  async #ensureBuckets(
    zk: ZooKeeper,
    places: readonly {
      readonly entry: { op: string; table: string; owner: string | null };
      readonly path?: string | undefined;
    }[],
  ): Promise<void> {
    const needed = new Set<string>();
    for (const { entry, path } of places) {
      if (entry.op !== 'putEntry' || path === undefined) continue;
      needed.add(parentOf(path));
      const space = spaceOf(entry.table, entry.owner);
      if (entry.owner !== null && space === entry.owner) needed.add(ownedTableZnode(entry.owner, entry.table));
    }
    await Promise.all([...needed].map((path) => this.#directories.ensure(zk, path)));
  }

  /** True if another host's entry of the same key is newer. The operator's is beaten by any. */
  async #isOvertaken(directory: string, path: string, own: Znode): Promise<boolean> {
    const { key, owner } = toEntry(path, own);
    if (owner === null) return false;
    const space = path.split('/')[6];
    const others = (await this.#reader.children(directory)).filter((name) => name !== space && name !== '-');
    const rivals = await Promise.all(others.map((name) => this.#reader.data(entryZnode(directory, name, key, name))));
    return rivals.some((rival) => rival !== undefined && rival.stat.mzxid > own.stat.mzxid);
  }

  /**
   * What the nodes are: remembered, where that will do, or read. What is written unchecked is always read, but for markers: those
   * that come are not there, and those that go are; if not, the multi fails, and they are looked at.
   */
  async #look(
    checks: ReadonlyMap<string, unknown>,
    writes: ReadonlyMap<string, string | null>,
    fresh: boolean,
  ): Promise<Map<string, Seen>> {
    const seen = new Map<string, Seen>();
    const unknown: string[] = [];
    for (const path of new Set([...checks.keys(), ...writes.keys()])) {
      const isUnchecked = !checks.has(path);
      const isOnlySeen = !this.#access.mayCreate(nodeZnode(path));
      if (isOnlySeen) this.#reader.fresh();
      const assumed = writes.get(path) === null ? { mzxid: 0n, version: -1, live: true } : null;
      const known =
        fresh || isOnlySeen
          ? undefined
          : isUnchecked && isMarker(path)
            ? assumed
            : isUnchecked
              ? undefined
              : this.#recall(path);
      if (known === undefined) unknown.push(path);
      else seen.set(path, known);
    }
    // To remove what seems not to be there is to do nothing: that must be so.
    if (unknown.some((path) => writes.get(path) === null)) this.#reader.fresh();
    await Promise.all(
      unknown.map(async (path) => {
        this.note(path, await this.#reader.data(nodeZnode(path)));
        seen.set(path, this.#recall(path)!);
      }),
    );
    return seen;
  }

  async #ensureParents(
    zk: ZooKeeper,
    paths: readonly string[],
    writes: ReadonlyMap<string, string | null>,
  ): Promise<void> {
    const parents = new Set(paths.map(parentOf));
    // The stamp above a marker is written with it: in the same commit, and before it.
    const needed = [...parents].filter((path) => typeof writes.get(path) !== 'string');
    await Promise.all(needed.map((path) => this.#directories.ensure(zk, nodeZnode(path))));
  }

  /** After a commit its own writes are what is there. */
  #learn(ops: readonly MultiOp[], results: readonly unknown[], revision: bigint | undefined): void {
    for (const [i, op] of ops.entries()) {
      if (!op.path.startsWith('/n/') || op.op === 'check') continue;
      const path = op.path.slice('/n/'.length);
      if (op.op === 'delete' || revision === undefined) {
        this.#seen.delete(path);
        continue;
      }
      const live = op.data !== TOMBSTONE && op.data !== undefined;
      const { stat } = results[i] as { stat?: { version: number } };
      this.#remember(path, { mzxid: revision, version: op.op === 'create' ? 0 : stat!.version, live });
    }
  }

  #recall(path: string): Seen | undefined {
    const known = this.#seen.get(path);
    return known !== undefined && performance.now() - known.at < MEMORY ? known.seen : undefined;
  }

  #remember(path: string, seen: Seen): void {
    this.#seen.delete(path);
    if (this.#seen.size >= MAX_KNOWN) this.#seen.delete(this.#seen.keys().next().value!);
    this.#seen.set(path, { seen, at: performance.now() });
  }
}

/** Failures of an operation that say that the state is another one than the multi was made from. */
const CHANGED = ['WEFT_ZK_NO_NODE', 'WEFT_ZK_NODE_EXISTS', 'WEFT_ZK_BAD_VERSION', 'WEFT_ZK_NOT_EMPTY'] as const;

function requireHolds(path: string, seen: Seen, version: Revision | 'present' | 'absent'): void {
  const live = seen?.live === true;
  const holds = version === 'absent' ? !live : version === 'present' ? live : live && Number(seen!.mzxid) === version;
  if (!holds) throw new Conflict(`${path} is no longer ${version}`);
}

const newEpoch = (): string => randomBytes(6).toString('hex');
const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/'));
/** Whether a table goes when another is dropped: it is that, or one below it. */
const under = (table: string, dropped: string): boolean => table === dropped || table.startsWith(`${dropped}/`);
