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
      const { data, stat } = await zk.getData(CLOCK_PATH);
      const floor = Math.max(Number(Buffer.from(data).toString() || 0), this.#last);
      try {
        // The time of this change is known only from its answer; what it writes is the highest one before it.
        const wall = this.#clock?.wall();
        const { mtime } = await zk.setData(
          CLOCK_PATH,
          String(Math.max(floor, wall ?? 0, stat.mtime * +(wall === undefined))),
          {
            version: stat.version,
          },
        );
        this.#last = Math.max(floor, wall ?? mtime);
        return this.#last;
      } catch (error) {
        if (!isZooKeeperError(error, 'WEFT_ZK_BAD_VERSION') || attempt >= MAX_ATTEMPTS) throw error;
      }
    }
  }
}
