/**
 * The store's clock is the leader's: what it writes on a znode that is touched. Beside it stands the highest time that was ever
 * shown, so that it never goes back when another server leads.
 */
import { isZooKeeperError, type ZooKeeper } from '@weft/zookeeper';
import type { Clock } from '../embedded/clock.ts';
import { CLOCK_PATH } from './layout.ts';

/** Milliseconds that an answer is used for: it is behind by no more than this. */
const FRESH = 50;
const MAX_ATTEMPTS = 20;

export class ServerClock {
  readonly #use: () => ZooKeeper;
  readonly #clock: Clock | undefined;
  #last = 0;
  /** Version of the znode after this process has touched it last; undefined: to be read. */
  #known: number | undefined;
  #asked: { readonly at: number; readonly time: Promise<number> } | undefined;

  /** `clock`: its wall time counts instead of the leader's. */
  constructor(use: () => ZooKeeper, clock: Clock | undefined) {
    this.#use = use;
    this.#clock = clock;
  }

  /** Milliseconds since 1970. */
  now(): Promise<number> {
    const at = performance.now();
    const isFresh = this.#asked !== undefined && at - this.#asked.at < FRESH && this.#clock === undefined;
    if (!isFresh) {
      const time = this.#ask();
      time.catch(() => {
        if (this.#asked?.time === time) this.#asked = undefined;
      });
      this.#asked = { at, time };
    }
    return this.#asked!.time;
  }

  async #ask(): Promise<number> {
    const zk = this.#use();
    for (let attempt = 0; ; attempt++) {
      if (this.#known === undefined) {
        const { data, stat } = await zk.getData(CLOCK_PATH);
        const shown = Number(Buffer.from(data).toString() || 0);
        this.#last = Math.max(this.#last, shown, this.#clock === undefined ? stat.mtime : 0);
        this.#known = stat.version;
      }
      const version = this.#known;
      try {
        // The time of this change is known only from its answer; what it writes is the highest one before it.
        const wall = this.#clock?.wall();
        this.#last = Math.max(this.#last, wall ?? 0);
        const stat = await zk.setData(CLOCK_PATH, String(this.#last), { version });
        if (this.#known === version) this.#known = stat.version;
        this.#last = Math.max(this.#last, wall ?? stat.mtime);
        return this.#last;
      } catch (error) {
        this.#known = undefined;
        if (!isZooKeeperError(error, 'WEFT_ZK_BAD_VERSION') || attempt >= MAX_ATTEMPTS) throw error;
      }
    }
  }
}
