/**
 * Clears away the pools of deleted owners, in commits of bounded size. The deletion itself writes one node, which stands until
 * all is gone; allocations count as gone from that node on.
 */
import type { NodeOp, NodeStore } from '../backend.ts';
import {
  DROPPED_OWNERS_PATH,
  droppedOwnerOf,
  droppedOwnerPath,
  holdingPath,
  lastPart,
  numbersPath,
  ownedPoolsPath,
  poolOf,
  TOKEN_FLOOR_PATH,
} from '../objects/paths.ts';
import { commitChecked } from './checked.ts';
import { parseNumber, timeToken } from './number.ts';

/** Nodes cleared away in one commit at most. */
const CHUNK = 500;

export class PoolCleaner {
  readonly #store: NodeStore;
  readonly #random: () => number;
  readonly #running = new Map<string, Promise<void>>();
  #closed = false;

  constructor(store: NodeStore, random: () => number) {
    this.#store = store;
    this.#random = random;
  }

  /** Goes on with what an earlier life of the process has left. */
  async resume(): Promise<void> {
    for (const { path } of await this.#store.children(DROPPED_OWNERS_PATH)) {
      const { kind, id } = droppedOwnerOf(path);
      this.start(kind, id);
    }
  }

  /** Cleans in the background. What fails is done by the next `clean` of this owner, or the next `resume`. */
  start(kind: string, id: string): void {
    if (!this.#closed) this.clean(kind, id).catch(() => {});
  }

  /** Resolves when nothing is left of the deleted owner's pools. */
  clean(kind: string, id: string): Promise<void> {
    const path = droppedOwnerPath(kind, id);
    let running = this.#running.get(path);
    if (running === undefined) {
      running = this.#clean(kind, id).finally(() => this.#running.delete(path));
      this.#running.set(path, running);
    }
    return running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#running.values()]);
  }

  async #clean(kind: string, id: string): Promise<void> {
    let more = true;
    while (more && !this.#closed) more = await this.#step(kind, id);
  }

  /** False: nothing was left to do. */
  #step(kind: string, id: string): Promise<boolean> {
    return commitChecked(this.#store, this.#random, async (reads) => {
      const dropped = droppedOwnerPath(kind, id);
      if ((await reads.get(dropped)) === undefined) return { ops: [], result: false };
      const stamp = ownedPoolsPath(kind, id);
      await reads.get(stamp);
      const ops: NodeOp[] = [];
      let highest = 0;
      for (const marker of await this.#store.children(stamp)) {
        const pool = poolOf(marker.path);
        for (const node of await this.#store.children(numbersPath(pool))) {
          if (ops.length >= CHUNK) break;
          const { host, token } = parseNumber(node);
          highest = Math.max(highest, token);
          ops.push({ op: 'remove', path: node.path });
          ops.push({ op: 'remove', path: holdingPath(host, pool, Number(lastPart(node.path))) });
        }
        if (ops.length >= CHUNK) break;
        ops.push({ op: 'remove', path: marker.path });
      }
      // The forgotten numbers' tokens are below those that come later: by the time that has passed, or by the floor.
      if (highest >= timeToken(await this.#store.now())) {
        const floor = await reads.get(TOKEN_FLOOR_PATH);
        if (highest > Number(floor?.json ?? 0)) ops.push({ op: 'put', path: TOKEN_FLOOR_PATH, json: String(highest) });
      }
      const isLast = ops.length < CHUNK;
      if (isLast) ops.push({ op: 'remove', path: stamp }, { op: 'remove', path: dropped });
      return { ops, result: !isLast };
    });
  }
}
