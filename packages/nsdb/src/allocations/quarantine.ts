/**
 * What a restored store cannot know: numbers that were given after the backup. Each number that looks free may have been held
 * when the store came back, by a host that has the grace time to say so (`Allocations.claim`) and counts as given up after
 * that. So until the grace time and the number's cooling time have passed, nothing is given that somebody might stand on.
 */
import type { NodeStore } from '../backend.ts';

/** Meta key: when the restored store was opened first, in its clock; empty: it has not been yet. */
export const RESTORED = 'restored';

export class Quarantine {
  /** From when on the store knows of everything; -Infinity: it was never restored. */
  readonly #since: number;
  readonly #grace: number;

  private constructor(since: number, grace: number) {
    this.#since = since;
    this.#grace = grace;
  }

  static async load(store: NodeStore, grace: number): Promise<Quarantine> {
    let since = await store.getMeta(RESTORED);
    if (since === '') {
      since = String(await store.now());
      await store.putMeta(RESTORED, since);
    }
    return new Quarantine(since === undefined ? Number.NEGATIVE_INFINITY : Number(since), grace);
  }

  /** When a number can be given that has been free since `free` as far as the store knows; `cool`: its cooling time, ms. */
  freeAt(free: number, cool: number): number {
    return Math.max(free, this.#since + this.#grace + cool);
  }

  /** Whether the store has seen everything that happened since that time. */
  knows(time: number): boolean {
    return time >= this.#since;
  }
}
