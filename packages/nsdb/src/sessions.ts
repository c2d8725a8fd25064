/**
 * Hosts' sessions on the serving side. A session outlives the connection that it came by, and the restart of the store:
 * incarnations are persistent, and after a start every host that had a session has the whole grace time to come back.
 *
 * A host's ephemeral entries go when it left on purpose, or when it has been away for longer than the grace time *and*
 * nobody has vouched for it during the last grace time. Losing the session alone is not death. At the same moment the numbers
 * that it holds begin to cool (`HostLives`).
 */
import { HostLives } from './allocations/host-lives.ts';
import { Conflict, type NodeOp, type NodeStore } from './backend.ts';
import type { HostConvergence, Revision } from './contract.ts';
import { NsdbError } from './errors.ts';
import { checkEntry, checkId, TABLE_OWNERS, TOPOLOGY_TABLES, tableOwner } from './interests.ts';
import { objectPath, typePath } from './objects/paths.ts';

export interface SessionOptions {
  /** Milliseconds that a host's ephemeral state survives without session and without anybody vouching. Default 30,000. */
  readonly grace?: number;
  /** Milliseconds that `convergence` waits for the reports of reachable hosts. Default 100. */
  readonly reportWait?: number;
}

/** One entry to write (`value` null: remove), of the host itself. */
export interface OwnEntry {
  readonly table: string;
  readonly key: string;
  readonly value: string | null;
}

interface HostState {
  incarnation: number;
  /** Connections (or in-process handles) that hold the current incarnation: 0 or 1. */
  attached: boolean;
  /** It may own entries. */
  present: boolean;
  timer: NodeJS.Timeout | undefined;
  /** When somebody last vouched, in the clock of `performance.now()`. */
  vouched: number;
  applied: Revision | null;
  /** When it was last heard of, by the store's clock; null while it is attached, or never was. */
  lastHeard: number | null;
  /** Called when a newer incarnation takes over. */
  onSuperseded: (() => void) | undefined;
}

/** Table in which hosts with ephemeral state are listed: key host id, value incarnation. */
export const ALIVE_TABLE = 'alive/hosts';

type MaybePromise<T> = T | Promise<T>;

/** Hosts' sessions over any back end; what each call means stands at `Sessions`. */
export interface HostSessions {
  /** Milliseconds, see `SessionOptions`. */
  readonly grace: number;
  open(hostId: string, onSuperseded: () => void, floor?: number): Promise<number>;
  attach(hostId: string, incarnation: number, onSuperseded: () => void): MaybePromise<boolean>;
  superseded(hostId: string, incarnation: number): MaybePromise<boolean>;
  detach(hostId: string, incarnation: number, holder: () => void): void;
  leave(hostId: string, incarnation: number): Promise<void>;
  vouch(hostId: string): void;
  write(hostId: string, incarnation: number, entries: readonly OwnEntry[]): Promise<(NsdbError | undefined)[]>;
  applied(hostId: string, incarnation: number, generation: string, revision: Revision): void;
  passed(revision: Revision): Promise<boolean>;
  convergence(): Promise<HostConvergence[]>;
  close(): Promise<void>;
}

export class Sessions implements HostSessions {
  /** Milliseconds, see `SessionOptions`. */
  readonly grace: number;
  readonly #store: NodeStore;
  readonly #lives: HostLives;
  readonly #reportWait: number;
  readonly #hosts = new Map<string, HostState>();
  readonly #reportWaiters = new Set<() => void>();
  #appliedDirty = new Set<string>();
  #appliedTimer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(store: NodeStore, options: SessionOptions) {
    this.#store = store;
    this.#lives = new HostLives(store);
    this.grace = options.grace ?? 30_000;
    this.#reportWait = options.reportWait ?? 100;
  }

  /** Takes up the sessions that the store remembers. */
  static async load(store: NodeStore, options: SessionOptions = {}): Promise<Sessions> {
    const sessions = new Sessions(store, options);
    for (const { key, value } of await store.listMeta('session/')) {
      const { incarnation, present, applied, lastHeard } = JSON.parse(value) as {
        incarnation: number;
        present: boolean;
        applied: { generation: string; revision: Revision } | null;
        lastHeard?: number | null;
      };
      const host = sessions.#host(key.slice('session/'.length));
      host.incarnation = incarnation;
      host.present = present;
      host.applied = applied?.generation === store.generation ? applied.revision : null;
      // Attached when the store ended: since then nobody could have heard of it.
      host.lastHeard = lastHeard ?? (await store.now());
      if (present) sessions.#startGrace(key.slice('session/'.length), host);
    }
    await sessions.#lives.reconcile((hostId) => sessions.#hosts.get(hostId));
    return sessions;
  }

  /**
   * A new start of the host's agent. An older incarnation, if any, loses its right to write. The new one is above `floor`,
   * which the host remembers from before the store was restored.
   */
  async open(hostId: string, onSuperseded: () => void, floor = 0): Promise<number> {
    checkId(hostId);
    if ((await this.#store.get(objectPath('Host', hostId))) === undefined)
      throw new NsdbError('WEFT_NOT_FOUND', `There is no Host ${hostId}; register it first`);
    const host = this.#host(hostId);
    const previous = host.onSuperseded;
    host.incarnation = Math.max(host.incarnation, floor) + 1;
    host.attached = true;
    host.present = true;
    host.lastHeard = null;
    host.onSuperseded = onSuperseded;
    clearTimeout(host.timer);
    host.timer = undefined;
    const { incarnation } = host;
    previous?.();
    await this.#persist(hostId, host);
    await this.#lives.begin(hostId, incarnation);
    await this.write(hostId, incarnation, [{ table: ALIVE_TABLE, key: hostId, value: String(incarnation) }]);
    return incarnation;
  }

  /**
   * The same incarnation over a new connection; an older one that has not noticed its end may not act for the host any more.
   * False: the incarnation was superseded, or its state is gone; open a new one.
   */
  attach(hostId: string, incarnation: number, onSuperseded: () => void): boolean {
    const host = this.#hosts.get(hostId);
    if (host === undefined || host.incarnation !== incarnation || !host.present) return false;
    clearTimeout(host.timer);
    host.timer = undefined;
    host.attached = true;
    if (host.lastHeard !== null) {
      host.lastHeard = null;
      void this.#persist(hostId, host).catch(() => {});
    }
    const previous = host.onSuperseded;
    host.onSuperseded = onSuperseded;
    previous?.();
    return true;
  }

  /** Whether a newer incarnation holds the host. */
  superseded(hostId: string, incarnation: number): boolean {
    return (this.#hosts.get(hostId)?.incarnation ?? 0) > incarnation;
  }

  /** The connection is gone, the host maybe not. `holder` is what `open` or `attach` were given. */
  detach(hostId: string, incarnation: number, holder: () => void): void {
    const host = this.#hosts.get(hostId);
    if (this.#closed || host?.incarnation !== incarnation || host.onSuperseded !== holder) return;
    host.attached = false;
    host.onSuperseded = undefined;
    if (host.present) this.#startGrace(hostId, host);
    void this.#noteAway(hostId, host).catch(() => {}); // after a restart it counts from there
  }

  /** The host left on purpose: its ephemeral state goes at once. */
  async leave(hostId: string, incarnation: number): Promise<void> {
    const host = this.#hosts.get(hostId);
    if (host?.incarnation !== incarnation) return;
    await this.#clear(hostId, host);
  }

  vouch(hostId: string): void {
    const host = this.#hosts.get(hostId);
    if (host !== undefined) host.vouched = performance.now();
  }

  /** Writes entries of the host; answers for each undefined or why it was refused. */
  async write(hostId: string, incarnation: number, entries: readonly OwnEntry[]): Promise<(NsdbError | undefined)[]> {
    for (;;) {
      const host = this.#hosts.get(hostId);
      if (host === undefined || host.incarnation !== incarnation || !host.present)
        throw new NsdbError('WEFT_SESSION_LOST');
      const { ops, results } = await ownEntryOps(this.#store, hostId, entries);
      try {
        await this.#store.commit(ops);
        return results;
      } catch (error) {
        if (!(error instanceof Conflict)) throw error; // an owner was deleted meanwhile: look again
      }
    }
  }

  /** A host's report. Reports of another generation say nothing about this one. */
  applied(hostId: string, incarnation: number, generation: string, revision: Revision): void {
    const host = this.#hosts.get(hostId);
    if (host?.incarnation !== incarnation || generation !== this.#store.generation) return;
    if (!Number.isSafeInteger(revision) || revision < 0 || revision > this.#store.revision) return;
    if (host.applied !== null && revision < host.applied) return; // a report that was overtaken
    host.applied = revision;
    this.#appliedDirty.add(hostId);
    this.#appliedTimer ??= setTimeout(() => this.#persistApplied(), 1_000).unref();
    for (const waiter of this.#reportWaiters) waiter();
  }

  /** Whether every registered host has applied `revision`. */
  async passed(revision: Revision): Promise<boolean> {
    for (const { path } of await this.#store.children(typePath('Host'))) {
      const applied = this.#hosts.get(path.slice('o/Host/'.length))?.applied ?? null;
      if (applied === null || applied < revision) return false;
    }
    return true;
  }

  async convergence(): Promise<HostConvergence[]> {
    const target = this.#store.revision;
    this.#store.pushMarks();
    await this.#reported(target);
    const now = await this.#store.now();
    return (await this.#store.children(typePath('Host'))).map(({ path }) => {
      const hostId = path.slice('o/Host/'.length);
      const host = this.#hosts.get(hostId);
      const lastHeard = host?.attached ? null : (host?.lastHeard ?? null);
      return {
        hostId,
        applied: host?.applied ?? null,
        reachable: host?.attached ?? false,
        unknownFor: lastHeard === null ? null : Math.max(0, now - lastHeard),
      };
    });
  }

  async #noteAway(hostId: string, host: HostState): Promise<void> {
    const now = await this.#store.now();
    if (host.attached || host.lastHeard !== null) return;
    host.lastHeard = now;
    if (!this.#closed) await this.#persist(hostId, host);
  }

  /** Resolves when all reachable hosts have reported the target, or the wait is over. */
  #reported(target: Revision): Promise<void> {
    const complete = () => [...this.#hosts.values()].every((host) => !host.attached || (host.applied ?? -1) >= target);
    if (complete()) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#reportWaiters.delete(look);
        resolve();
      };
      const look = () => {
        if (complete()) end();
      };
      const timer = setTimeout(end, this.#reportWait);
      this.#reportWaiters.add(look);
    });
  }

  #host(hostId: string): HostState {
    let host = this.#hosts.get(hostId);
    if (host === undefined) {
      host = {
        incarnation: 0,
        attached: false,
        present: false,
        timer: undefined,
        vouched: Number.NEGATIVE_INFINITY,
        applied: null,
        lastHeard: null,
        onSuperseded: undefined,
      };
      this.#hosts.set(hostId, host);
    }
    return host;
  }

  #startGrace(hostId: string, host: HostState, wait = this.grace): void {
    clearTimeout(host.timer);
    host.timer = setTimeout(() => {
      host.timer = undefined;
      if (this.#closed || host.attached) return;
      const rest = host.vouched + this.grace - performance.now();
      if (rest > 0) this.#startGrace(hostId, host, rest);
      else void this.#clear(hostId, host).catch(() => this.#startGrace(hostId, host));
    }, wait).unref();
  }

  async #clear(hostId: string, host: HostState): Promise<void> {
    clearTimeout(host.timer);
    host.timer = undefined;
    host.attached = false;
    host.present = false;
    host.onSuperseded = undefined;
    const { incarnation } = host;
    const now = await this.#store.now();
    if (!host.attached) host.lastHeard ??= now;
    await this.#lives.end(hostId, incarnation);
    await this.#store.removeOwned(hostId);
    if (host.incarnation === incarnation) await this.#persist(hostId, host);
  }

  async #persist(hostId: string, host: HostState): Promise<void> {
    const applied = host.applied === null ? null : { generation: this.#store.generation, revision: host.applied };
    const { incarnation, present, lastHeard } = host;
    await this.#store.putMeta(`session/${hostId}`, JSON.stringify({ incarnation, present, applied, lastHeard }));
  }

  #persistApplied(): void {
    this.#appliedTimer = undefined;
    const dirty = this.#appliedDirty;
    this.#appliedDirty = new Set();
    for (const hostId of dirty)
      void this.#persist(hostId, this.#host(hostId)).catch(() => this.#appliedDirty.add(hostId));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#appliedTimer);
    for (const host of this.#hosts.values()) clearTimeout(host.timer);
    await Promise.all([...this.#appliedDirty].map((hostId) => this.#persist(hostId, this.#host(hostId))));
  }
}

/** What writes a host's entries, checks of the tables' owners among it; for each entry undefined or why it is refused. */
export async function ownEntryOps(
  store: NodeStore,
  hostId: string,
  entries: readonly OwnEntry[],
): Promise<{ ops: NodeOp[]; results: (NsdbError | undefined)[] }> {
  const results: (NsdbError | undefined)[] = [];
  const ops: NodeOp[] = [];
  const owners = new Map<string, string | undefined>();
  for (const { table, key, value } of entries) {
    const refused = await refusal(store, table, key, value, owners);
    results.push(refused);
    if (refused !== undefined) continue;
    if (value === null) ops.push({ op: 'removeEntry', table, key, owner: hostId });
    else ops.push({ op: 'putEntry', table, key, value, owner: hostId });
  }
  for (const path of owners.values()) if (path !== undefined) ops.push({ op: 'check', path, version: 'present' });
  return { ops, results };
}

async function refusal(
  store: NodeStore,
  table: string,
  key: string,
  value: string | null,
  owners: Map<string, string | undefined>,
): Promise<NsdbError | undefined> {
  try {
    checkEntry(table, key, value);
  } catch (error) {
    return error as NsdbError;
  }
  const { kind, id } = tableOwner(table);
  if (TOPOLOGY_TABLES.has(kind)) {
    return new NsdbError('WEFT_INVALID', `State table ${table} belongs to the topology; hosts do not write it`, [
      { property: 'table', message: 'written by transactions only' },
    ]);
  }
  const types = TABLE_OWNERS[kind];
  if (value === null || types === undefined) return undefined;
  if (!owners.has(table)) {
    for (const type of types)
      if ((await store.get(objectPath(type, id))) !== undefined) owners.set(table, objectPath(type, id));
  }
  return owners.has(table)
    ? undefined
    : new NsdbError('WEFT_NOT_FOUND', `State table ${table} has no owner: no ${types.join(' or ')} ${id}`);
}
