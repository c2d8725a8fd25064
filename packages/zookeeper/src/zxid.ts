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

  /** `high` signed, `low` unsigned. True if it is newer than all before. Numbers up to 0 say nothing. */
  observe(high: number, low: number): boolean {
    if (high < this.#high || (high === this.#high && low <= this.#low)) return false;
    this.#high = high;
    this.#low = low;
    return true;
  }

  reset(): void {
    this.#high = 0;
    this.#low = 0;
  }
}

export const joinZxid = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
