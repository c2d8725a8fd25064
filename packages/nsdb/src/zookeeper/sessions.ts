/**
 * Hosts' sessions where no process serves all: what is known of a host stands in the store. Its presence is an ephemeral node
 * of whoever holds its session; its incarnation, and whether it was given up, is its life (`HostLives`). Every write of the
 * host checks its life, so an older incarnation, or one that was given up, can write nothing.
 */
import type { Watch } from '@weft/zookeeper';
import { HostLives } from '../allocations/host-lives.ts';
import { parseLife } from '../allocations/number.ts';
import { Conflict, type StoreNode } from '../backend.ts';
import type { HostConvergence, Revision } from '../contract.ts';
import { isNsdbError, NsdbError } from '../errors.ts';
import { checkId } from '../interests.ts';
import { lifePath, objectPath, typePath } from '../objects/paths.ts';
import { ALIVE_TABLE, type HostSessions, type OwnEntry, ownEntryOps, type SessionOptions } from '../sessions.ts';
import { Absences } from './absences.ts';
import { ASK_PATH, appliedZnode, nodeZnode, presencePath, vouchedZnode, type Znode } from './layout.ts';
import type { ZookeeperStore } from './store.ts';
import { ignoring } from './tables.ts';

/** Bytes of entries in one commit: well below what servers take by default. */
const MAX_BYTES = 400_000;
/** Milliseconds between reports that nobody has asked for. */
const REPORT_INTERVAL = 5_000;
/** Milliseconds for which every report is passed on at once, behind somebody's question. */
const ASKED = 1_000;

interface Held {
  readonly incarnation: number;
  readonly onSuperseded: () => void;
}

export class ZookeeperSessions implements HostSessions {
  /** As this process was told, or the store's, once it is known. */
  grace: number;
  readonly #store: ZookeeperStore;
  readonly #lives: HostLives;
  readonly #reportWait: number;
  readonly absences: Absences;
  readonly #held = new Map<string, Held>();
  readonly #reports = new Map<string, Revision>();
  #dirty = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #asked = Number.NEGATIVE_INFINITY;
  #ask: Promise<Watch> | undefined;
  #closed = false;

  constructor(store: ZookeeperStore, options: SessionOptions = {}) {
    this.#store = store;
    this.#lives = new HostLives(store);
    this.grace = options.grace ?? 30_000;
    this.#reportWait = options.reportWait ?? 500;
    this.absences = new Absences(store);
    store.listen({
      up: () => {
        if (this.#held.size > 0) this.#listen();
      },
      down: () => {
        this.#ask = undefined;
      },
    });
  }

  async open(hostId: string, onSuperseded: () => void, floor = 0): Promise<number> {
    checkId(hostId);
    if ((await this.#store.get(objectPath('Host', hostId))) === undefined)
      throw new NsdbError('WEFT_NOT_FOUND', `There is no Host ${hostId}; register it first`);
    const path = lifePath(hostId);
    // What notes which tables it has entries in may have been cleared away with its earlier life.
    this.#store.directories.forget();
    for (;;) {
      const node = await this.#store.get(path);
      const incarnation = Math.max(node === undefined ? 0 : parseLife(node).incarnation, floor) + 1;
      try {
        await this.#store.commit([
          { op: 'check', path, version: node?.version ?? 'absent' },
          { op: 'put', path, json: JSON.stringify({ incarnation, died: null }) },
        ]);
      } catch (error) {
        if (error instanceof Conflict) continue;
        throw error;
      }
      if (!(await this.attach(hostId, incarnation, onSuperseded))) continue;
      try {
        await this.write(hostId, incarnation, [{ table: ALIVE_TABLE, key: hostId, value: String(incarnation) }]);
        return incarnation;
      } catch (error) {
        // Given up already: it must have taken long. Another one began: that one has it.
        if (!isNsdbError(error, 'WEFT_SESSION_LOST') || (await this.superseded(hostId, incarnation))) throw error;
      }
    }
  }

  /** See `Sessions.attach`. The presence and a janitor's giving up the host exclude each other. */
  async attach(hostId: string, incarnation: number, onSuperseded: () => void): Promise<boolean> {
    for (;;) {
      const node = await this.#life(hostId, incarnation);
      if (node === undefined) return false;
      if (await this.#present(hostId, incarnation)) break;
    }
    const previous = this.#held.get(hostId);
    this.#held.set(hostId, { incarnation, onSuperseded });
    await this.#touchReport(hostId);
    if (previous !== undefined && previous.onSuperseded !== onSuperseded) previous.onSuperseded();
    this.#listen();
    return true;
  }

  async superseded(hostId: string, incarnation: number): Promise<boolean> {
    const node = await this.#store.get(lifePath(hostId));
    return node !== undefined && parseLife(node).incarnation > incarnation;
  }

  detach(hostId: string, incarnation: number, holder: () => void): void {
    void this.left(hostId, incarnation, holder).catch(() => {}); // then it goes with the session of ZooKeeper
  }

  /** Like `detach`; resolves when the host is not present any longer. */
  async left(hostId: string, incarnation: number, holder: () => void): Promise<void> {
    const held = this.#held.get(hostId);
    if (this.#closed || held?.incarnation !== incarnation || held.onSuperseded !== holder) return;
    this.#held.delete(hostId);
    await this.#flush();
    const zk = this.#store.link.use();
    const znode = nodeZnode(presencePath(hostId));
    const found = await zk.exists(znode);
    if (found?.ephemeralOwner === zk.session.id) await zk.delete(znode).catch(ignoring('WEFT_ZK_NO_NODE'));
  }

  async leave(hostId: string, incarnation: number): Promise<void> {
    const held = this.#held.get(hostId);
    if (held?.incarnation === incarnation) await this.left(hostId, incarnation, held.onSuperseded);
    await this.#lives.end(hostId, incarnation);
    const node = await this.#store.get(lifePath(hostId));
    if (node !== undefined && parseLife(node).incarnation === incarnation) await this.#store.removeOwned(hostId);
  }

  vouch(hostId: string): void {
    if (!HOST_ID.test(hostId)) return;
    this.#store.write(vouchedZnode(hostId), '').catch(() => {}); // the next one comes soon
  }

  async write(hostId: string, incarnation: number, entries: readonly OwnEntry[]): Promise<(NsdbError | undefined)[]> {
    const results: (NsdbError | undefined)[] = [];
    let portion: OwnEntry[] = [];
    let bytes = 0;
    const flush = async () => {
      results.push(...(await this.#writeSome(hostId, incarnation, portion)));
      [portion, bytes] = [[], 0];
    };
    for (const entry of entries) {
      portion.push(entry);
      // Beside key and value the request bears the path of the entry.
      bytes += 200 + Buffer.byteLength(entry.key) * 3 + Buffer.byteLength(entry.value ?? '');
      if (bytes >= MAX_BYTES) await flush();
    }
    if (portion.length > 0) await flush();
    return results;
  }

  async #writeSome(hostId: string, incarnation: number, entries: OwnEntry[]): Promise<(NsdbError | undefined)[]> {
    for (;;) {
      const life = await this.#life(hostId, incarnation);
      if (life === undefined) throw new NsdbError('WEFT_SESSION_LOST');
      const { ops, results } = await ownEntryOps(this.#store, hostId, entries);
      try {
        await this.#store.commit([{ op: 'check', path: life.path, version: life.version }, ...ops]);
        return results;
      } catch (error) {
        if (!(error instanceof Conflict)) throw error; // an owner was deleted, or this incarnation ended: look again
      }
    }
  }

  applied(hostId: string, incarnation: number, generation: string, revision: Revision): void {
    if (this.#held.get(hostId)?.incarnation !== incarnation || generation !== this.#store.generation) return;
    if (!Number.isSafeInteger(revision) || revision < 0 || revision > this.#store.revision) return;
    if (revision <= (this.#reports.get(hostId) ?? -1)) return;
    this.#reports.set(hostId, revision);
    this.#dirty.add(hostId);
    if (performance.now() - this.#asked < ASKED) void this.#flush().catch(() => {});
    else this.#timer ??= setTimeout(() => void this.#flush().catch(() => {}), REPORT_INTERVAL).unref();
  }

  async passed(revision: Revision): Promise<boolean> {
    await this.#flush();
    const hosts = await this.#store.children(typePath('Host'));
    const applied = await Promise.all(hosts.map(({ path }) => this.#appliedOf(path.slice('o/Host/'.length))));
    return applied.every((known) => known !== null && known >= revision);
  }

  async convergence(): Promise<HostConvergence[]> {
    this.absences.attend();
    const target = await this.#store.commit([]);
    await this.#flush();
    await this.#store.write(ASK_PATH, '');
    this.#store.pushMarks();
    const limit = performance.now() + this.#reportWait;
    for (;;) {
      const hosts = await this.#converged();
      const isComplete = hosts.every(({ applied, reachable }) => !reachable || (applied ?? -1) >= target);
      if (isComplete || performance.now() > limit) return hosts;
      await new Promise((resolve) => setTimeout(resolve, this.#reportWait / 20));
    }
  }

  async close(): Promise<void> {
    await this.#flush().catch(() => {});
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  // ---- parts ----

  async #converged(): Promise<HostConvergence[]> {
    const { reader } = this.#store;
    const [hosts, now] = await Promise.all([this.#store.children(typePath('Host')), this.#store.now()]);
    return Promise.all(
      hosts.map(async ({ path }) => {
        const hostId = path.slice('o/Host/'.length);
        const [report, present, note] = await Promise.all([
          reader.data(appliedZnode(hostId)),
          reader.data(nodeZnode(presencePath(hostId))),
          reader.data(Absences.znode(hostId)),
        ]);
        const reachable = present !== undefined;
        const since = reachable ? null : await this.absences.since(hostId, note, report);
        return {
          hostId,
          applied: this.#revisionOf(report),
          reachable,
          unknownFor: since === null ? null : Math.max(0, now - since),
        };
      }),
    );
  }

  async #appliedOf(hostId: string): Promise<Revision | null> {
    return this.#revisionOf(await this.#store.reader.data(appliedZnode(hostId)));
  }

  #revisionOf(report: Znode | undefined): Revision | null {
    if (report === undefined || report.data.length === 0) return null;
    const { generation, revision } = JSON.parse(Buffer.from(report.data).toString()) as {
      generation: string;
      revision: Revision;
    };
    return generation === this.#store.generation ? revision : null;
  }

  /** The host is here: notes of its absence are older than this. */
  async #touchReport(hostId: string): Promise<void> {
    const path = appliedZnode(hostId);
    const report = await this.#store.reader.data(path);
    await this.#store.write(path, Buffer.from(report?.data ?? '').toString());
  }

  /** The host's life, if it is of this incarnation and goes on. */
  async #life(hostId: string, incarnation: number): Promise<StoreNode | undefined> {
    const node = await this.#store.get(lifePath(hostId));
    if (node === undefined) return undefined;
    const life = parseLife(node);
    return life.incarnation === incarnation && life.died === null ? node : undefined;
  }

  /** Has this process be the one that the host is present by. False: its life changed meanwhile. */
  async #present(hostId: string, incarnation: number): Promise<boolean> {
    const zk = this.#store.link.use();
    const path = nodeZnode(presencePath(hostId));
    const life = nodeZnode(lifePath(hostId));
    const [lived, found] = await Promise.all([this.#store.reader.data(life), this.#store.reader.data(path)]);
    if (lived === undefined) return false;
    const data = String(incarnation);
    const isThere = found !== undefined && Buffer.from(found.data).toString() === data;
    if (isThere && (await zk.exists(path))?.ephemeralOwner === zk.session.id) return true;
    const done = await zk
      .multi([
        { op: 'check', path: life, version: lived.stat.version },
        ...(found === undefined ? [] : [{ op: 'delete', path } as const]),
        { op: 'create', path, data, mode: 'ephemeral', acl: this.#store.access.of(path) },
      ])
      .catch(ignoring('WEFT_ZK_NO_NODE', 'WEFT_ZK_NODE_EXISTS', 'WEFT_ZK_BAD_VERSION'));
    return done !== undefined;
  }

  /** Hears of those who want fresh reports. */
  #listen(): void {
    if (this.#ask !== undefined || !this.#store.link.isUp) return;
    const watch = this.#store.link.use().addWatch(ASK_PATH, { onEvent: () => this.#wanted() });
    this.#ask = watch;
    watch.catch(() => {
      if (this.#ask === watch) this.#ask = undefined;
    });
  }

  #wanted(): void {
    this.#asked = performance.now();
    this.#store.pushMarks();
    void this.#flush().catch(() => {});
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const dirty = this.#dirty;
    this.#dirty = new Set();
    const { generation } = this.#store;
    await Promise.all(
      [...dirty].map(async (hostId) => {
        try {
          const revision = this.#reports.get(hostId)!;
          await this.#store.write(appliedZnode(hostId), JSON.stringify({ generation, revision }));
        } catch (error) {
          this.#dirty.add(hostId);
          throw error;
        }
      }),
    );
  }
}

const HOST_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
