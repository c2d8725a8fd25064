/**
 * Token budgets by the generic cell rate algorithm (ITU-T I.371, virtual scheduling): one number per bucket, the time at
 * which it will be full again.
 */
export class Budget {
  readonly rate: number;
  readonly burst: number;
  #fullAt = 0;

  /** @param rate tokens per second (0: nothing ever passes); @param burst tokens at most at once. */
  constructor(rate: number, burst: number) {
    this.rate = rate;
    this.burst = Math.max(1, burst);
  }

  /** Takes `cost` tokens (more than `burst` counts as `burst`). @param now monotonic ns. */
  take(now: number, cost: number): boolean {
    if (this.rate <= 0) return false;
    const interval = 1e9 / this.rate;
    const fullAt = Math.max(this.#fullAt, now) + Math.min(cost, this.burst) * interval;
    if (fullAt - now > this.burst * interval) return false;
    this.#fullAt = fullAt;
    return true;
  }
}

/** Bytes that an upcall may have for one token; a longer one costs one more for each further such piece. */
export const BYTES_PER_TOKEN = 2048;

/** Tokens of an upcall of `bytes` bytes. */
export function upcallCost(bytes: number): number {
  return 1 + Math.floor(bytes / BYTES_PER_TOKEN);
}
