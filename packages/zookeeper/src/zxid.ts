/**
 * The newest transaction that a client has heard of. Every answer brings one, so it is kept in two halves: a bigint is made only when
 * somebody asks.
 */
export class ZxidMark {
  #high = 0;
  #low = 0;

  get value(): bigint {
    return joinZxid(this.#high, this.#low);
  }

  /** `high` signed, `low` unsigned. Older ones, and numbers up to 0, say nothing. */
  observe(high: number, low: number): void {
    if (!this.isNews(high, low)) return;
    this.#high = high;
    this.#low = low;
  }

  /** It is newer than all before. */
  isNews(high: number, low: number): boolean {
    return high > this.#high || (high === this.#high && low > this.#low);
  }

  /** Takes over what another mark has heard of. */
  join(other: ZxidMark): void {
    this.observe(other.#high, other.#low);
  }

  reset(): void {
    this.#high = 0;
    this.#low = 0;
  }
}

export const joinZxid = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
