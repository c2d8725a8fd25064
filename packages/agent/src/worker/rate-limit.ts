/** Token buckets by number (a port): how often something may happen per second, with a burst of one second's worth. */

interface Bucket {
  tokens: number;
  at: number;
}

export class RateLimit {
  private readonly perSecond: number;
  private readonly buckets = new Map<number, Bucket>();

  constructor(perSecond: number) {
    this.perSecond = perSecond;
  }

  /** Takes a token for `id` if there is one. `now` in ms. */
  take(id: number, now: number): boolean {
    let bucket = this.buckets.get(id);
    if (!bucket) this.buckets.set(id, (bucket = { tokens: this.perSecond, at: now }));
    bucket.tokens = Math.min(this.perSecond, bucket.tokens + ((now - bucket.at) * this.perSecond) / 1000);
    bucket.at = now;
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** Forgets buckets that are full again. */
  collect(now: number): void {
    for (const [id, { tokens, at }] of this.buckets) {
      if (tokens + ((now - at) * this.perSecond) / 1000 >= this.perSecond) this.buckets.delete(id);
    }
  }
}
