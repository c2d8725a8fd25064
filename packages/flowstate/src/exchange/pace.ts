/** How often something may happen: a bucket of tokens that fills with time. It starts full. */
export class TokenBucket {
  private readonly perMs: number;
  private readonly burst: number;
  private tokens: number;
  private filled = Number.NEGATIVE_INFINITY;

  /** @param perSecond tokens a second @param burst most tokens at once */
  constructor(perSecond: number, burst: number) {
    this.perMs = perSecond / 1000;
    this.burst = burst;
    this.tokens = burst;
  }

  /** Takes a token. Returns false if there is none. */
  take(now: number): boolean {
    if (now > this.filled) {
      this.tokens = Math.min(this.burst, this.tokens + (now - this.filled) * this.perMs);
      this.filled = now;
    }
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}

/** Pauses that double while something keeps happening, and begin anew when it has been rare. */
export class Backoff {
  private readonly least: number;
  private readonly most: number;
  private pause: number;
  private next = Number.NEGATIVE_INFINITY;

  constructor(least: number, most: number) {
    this.least = least;
    this.most = most;
    this.pause = least;
  }

  /** Whether it may happen now; if so, it counts as having happened. */
  take(now: number): boolean {
    if (now < this.next) return false;
    this.pause = now - this.next < 2 * this.most ? Math.min(this.pause * 2, this.most) : this.least;
    this.next = now + this.pause;
    return true;
  }
}
