/**
 * A timer wheel over record numbers: buckets of one tick, doubly linked in typed arrays. A record that is refreshed
 * stays where it is and is moved when its bucket comes up; only an expiry that comes *nearer* moves it at once.
 */
const NONE = -1;

export class ExpiryWheel {
  readonly tick: number;
  /** How many records are in the wheel. */
  count = 0;
  private readonly slots: number;
  private readonly heads: Int32Array;
  private readonly nextOf: Int32Array;
  private readonly previousOf: Int32Array;
  /** Bucket of a record + 1; 0: not in the wheel. */
  private readonly bucketOf: Int32Array;
  /** The oldest tick whose bucket has not been emptied. Every record stands in a bucket of [cursor, cursor + slots). */
  private cursor: number;

  /**
   * @param tick milliseconds of a bucket
   * @param slots number of buckets: what lies further ahead waits in the last one
   */
  constructor(capacity: number, tick: number, slots: number, now: number) {
    this.tick = tick;
    this.slots = slots;
    this.heads = new Int32Array(slots).fill(NONE);
    this.nextOf = new Int32Array(capacity);
    this.previousOf = new Int32Array(capacity);
    this.bucketOf = new Int32Array(capacity);
    this.cursor = Math.floor(now / tick);
  }

  /** Puts in a record that is not in the wheel. */
  add(record: number, expiry: number): void {
    const bucket = this.place(expiry);
    const head = this.heads[bucket];
    this.nextOf[record] = head;
    this.previousOf[record] = NONE;
    if (head !== NONE) this.previousOf[head] = record;
    this.heads[bucket] = record;
    this.bucketOf[record] = bucket + 1;
    this.count++;
  }

  remove(record: number): void {
    const bucket = this.bucketOf[record] - 1;
    if (bucket < 0) return;
    const next = this.nextOf[record];
    const previous = this.previousOf[record];
    if (next !== NONE) this.previousOf[next] = previous;
    if (previous !== NONE) this.nextOf[previous] = next;
    else this.heads[bucket] = next;
    this.bucketOf[record] = 0;
    this.count--;
  }

  /** The expiry changed: moves the record if it would otherwise be looked at too late. */
  moved(record: number, expiry: number): void {
    const bucket = this.bucketOf[record] - 1;
    const wanted = this.place(expiry);
    const start = this.cursor % this.slots;
    const ahead = (b: number) => (b >= start ? b - start : b - start + this.slots);
    if (bucket >= 0 && ahead(wanted) >= ahead(bucket)) return;
    this.remove(record);
    this.add(record, expiry);
  }

  /**
   * Looks at the records whose tick is over, at most `budget` of them.
   * @param expiryOf time at which a record expires now
   * @param expired called for each one that is due; it is no longer in the wheel then
   * @returns false if the budget ended first: call again
   */
  advance(
    now: number,
    budget: number,
    expiryOf: (record: number) => number,
    expired: (record: number) => void,
  ): boolean {
    const end = Math.floor(now / this.tick);
    let left = budget;
    while (this.cursor < end) {
      if (this.count === 0) {
        this.cursor = end;
        break;
      }
      const bucket = this.cursor % this.slots;
      for (let record = this.heads[bucket]; record !== NONE; record = this.heads[bucket]) {
        if (left-- <= 0) return false;
        const expiry = expiryOf(record);
        this.remove(record);
        if (Math.floor(expiry / this.tick) <= this.cursor) expired(record);
        else this.add(record, expiry);
      }
      this.cursor++;
    }
    return true;
  }

  private place(expiry: number): number {
    const tick = Math.floor(expiry / this.tick);
    const last = this.cursor + this.slots - 1;
    return Math.min(Math.max(tick, this.cursor), last) % this.slots;
  }
}
