/**
 * The clock of an embedded store: starts at the wall clock, or at the last time that is on disk where that is later, and goes
 * on with the steady clock. So no step of the wall clock makes it jump while the store runs, and one back makes what waits for
 * a time wait longer, never shorter. What it cannot tell is a wall clock that is wrong when the store starts, and ahead.
 */
export interface Clock {
  /** Milliseconds since 1970. May be set, in both directions. */
  wall(): number;
  /** Milliseconds since any time. Never goes back. */
  steady(): number;
}

export const SYSTEM_CLOCK: Clock = { wall: () => Date.now(), steady: () => performance.now() };

export class StoreClock {
  readonly #clock: Clock;
  readonly #ahead: number;

  /** `last`: a time that this clock has shown in an earlier life of the store. */
  constructor(clock: Clock, last: number) {
    this.#clock = clock;
    this.#ahead = Math.max(clock.wall(), last) - clock.steady();
  }

  /** Whole milliseconds. */
  now(): number {
    return Math.ceil(this.#clock.steady() + this.#ahead);
  }
}
