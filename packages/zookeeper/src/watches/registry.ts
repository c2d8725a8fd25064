/**
 * The watches of a session, by the server's paths: told what happened, named again after a reconnect.
 *
 * A path has watches of one mode at a time (one-shot, persistent or recursive): servers before 3.9 keep only one mode per connection
 * and path, and silently forget the other. Whoever wants to watch *claims* the mode before the request is sent.
 */
import { ZooKeeperError } from '../errors.ts';
import type { Chroot } from '../paths.ts';
import { parentOf } from '../paths.ts';
import type { WatchPaths } from '../protocol/records.ts';
import { callSafely, type NodeEvent, type OneShotWatch, type WatchEnded, type WatchEvent } from './events.ts';

export type WatchMode = 'one-shot' | 'persistent' | 'recursive';

/** What the server files a one-shot watch under. */
export type OneShotKind = 'data' | 'exists' | 'children';

/** Whoever a persistent watch belongs to. */
export interface WatchSink {
  readonly path: string;
  event(event: WatchEvent): void;
  /** The session has ended. */
  lost(error: ZooKeeperError | undefined): void;
}

interface Entry {
  readonly mode: WatchMode;
  claims: number;
  data: OneShotWatch[] | undefined;
  exists: OneShotWatch[] | undefined;
  children: OneShotWatch[] | undefined;
  readonly sinks: Set<WatchSink>;
}

/** Which one-shot watches an event uses up. */
const FIRES: Readonly<Record<NodeEvent['type'], readonly OneShotKind[]>> = {
  created: ['data', 'exists'],
  dataChanged: ['data', 'exists'],
  deleted: ['data', 'exists', 'children'],
  childrenChanged: ['children'],
};
const KINDS = ['data', 'exists', 'children'] as const;

export class WatchRegistry {
  readonly #chroot: Chroot;
  readonly #entries = new Map<string, Entry>();
  #recursive = 0;

  constructor(chroot: Chroot) {
    this.#chroot = chroot;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Reserves the path for watches of this mode; WEFT_ZK_ARGUMENT if it has others. Each claim is released once. */
  claim(path: string, mode: WatchMode): void {
    const entry = this.#entries.get(path);
    if (entry === undefined) {
      this.#entries.set(path, {
        mode,
        claims: 1,
        data: undefined,
        exists: undefined,
        children: undefined,
        sinks: new Set(),
      });
      if (mode === 'recursive') this.#recursive++;
    } else if (entry.mode === mode) entry.claims++;
    else {
      throw new ZooKeeperError(
        'WEFT_ZK_ARGUMENT',
        `${path} has a ${entry.mode} watch of this client already; servers before 3.9 cannot keep a ${mode} one beside it`,
        { path },
      );
    }
  }

  /** Gives claims back. True: nobody watches the path any more. */
  release(path: string, claims = 1): boolean {
    const entry = this.#entries.get(path);
    if (entry === undefined) return false; // the session ended meanwhile
    entry.claims -= claims;
    if (entry.claims > 0) return false;
    this.#entries.delete(path);
    if (entry.mode === 'recursive') this.#recursive--;
    return true;
  }

  /** The server keeps a one-shot watch, for which the path was claimed. */
  arm(path: string, kind: OneShotKind, watch: OneShotWatch): void {
    const entry = this.#entries.get(path);
    if (entry === undefined) callSafely(watch, { type: 'lost', path: this.#shown(path) });
    else (entry[kind] ??= []).push(watch);
  }

  /** A persistent watch, for which the path was claimed, is told from now on. */
  attach(path: string, sink: WatchSink): void {
    this.#entries.get(path)?.sinks.add(sink);
  }

  /** Releases its claim, too. True: nobody watches the path any more. */
  detach(path: string, sink: WatchSink): boolean {
    return this.#entries.get(path)?.sinks.delete(sink) === true && this.release(path);
  }

  /**
   * The server told that something happened at `path` (its own). `oneShotOnly`: persistent watches will be told of a gap, which
   * covers this.
   */
  dispatch(type: NodeEvent['type'], path: string, zxid: bigint | undefined, oneShotOnly = false): void {
    const shown = this.#chroot.fromServer(path);
    if (shown === undefined) return;
    const event: NodeEvent = { type, path: shown, zxid };
    const entry = this.#entries.get(path);
    if (entry?.mode === 'one-shot') this.#use(path, entry, FIRES[type], event);
    if (oneShotOnly) return;
    if (entry?.mode === 'persistent') for (const sink of entry.sinks) sink.event(event);
    if (this.#recursive === 0 || type === 'childrenChanged') return;
    for (let at: string | undefined = path; at !== undefined; at = parentOf(at)) {
      const above = this.#entries.get(at);
      if (above?.mode === 'recursive') for (const sink of above.sinks) sink.event(event);
    }
  }

  /** The server removed one-shot watches of these kinds. */
  removed(path: string, kinds: readonly OneShotKind[]): void {
    const entry = this.#entries.get(path);
    if (entry !== undefined) this.#use(path, entry, kinds, { type: 'removed', path: this.#shown(path) });
  }

  /** There was no connection for a while, and something may have happened. */
  gap(): void {
    for (const { sinks } of this.#entries.values())
      for (const sink of sinks) sink.event({ type: 'gap', reason: 'reconnected', path: sink.path });
  }

  /** The session has ended; `error`: not because its owner closed it. Nothing is watched any more. */
  end(error: ZooKeeperError | undefined): void {
    const entries = [...this.#entries];
    this.#entries.clear();
    this.#recursive = 0;
    for (const [path, entry] of entries) {
      for (const sink of entry.sinks) sink.lost(error);
      const event: WatchEnded = { type: 'lost', path: this.#shown(path) };
      for (const kind of KINDS) for (const watch of entry[kind] ?? []) callSafely(watch, event);
    }
  }

  /**
   * What the server is to be told after a reconnect, in portions of about `limit` bytes of paths. Paths that are only claimed
   * are not among it: their request is sent, or fails, by itself.
   */
  *paths(limit: number): Generator<WatchPaths> {
    let portion = emptyPaths();
    let bytes = 0;
    for (const [path, entry] of this.#entries) {
      const cost = 4 + Buffer.byteLength(path);
      const add = (list: string[]) => {
        list.push(path);
        bytes += cost;
      };
      for (const kind of KINDS) if (entry[kind] !== undefined) add(portion[kind]);
      if (entry.sinks.size > 0) add(portion[entry.mode === 'recursive' ? 'recursive' : 'persistent']);
      if (bytes < limit) continue;
      yield portion;
      portion = emptyPaths();
      bytes = 0;
    }
    if (bytes > 0) yield portion;
  }

  #use(path: string, entry: Entry, kinds: readonly OneShotKind[], event: NodeEvent | WatchEnded): void {
    const used: OneShotWatch[] = [];
    for (const kind of kinds) {
      used.push(...(entry[kind] ?? []));
      entry[kind] = undefined;
    }
    if (used.length > 0) this.release(path, used.length);
    for (const watch of used) callSafely(watch, event);
  }

  #shown(path: string): string {
    return this.#chroot.fromServer(path) ?? path;
  }
}

const emptyPaths = (): WatchPaths => ({ data: [], exists: [], children: [], persistent: [], recursive: [] });
