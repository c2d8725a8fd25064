/**
 * Which connections an installed flow belongs to: per slot a short list of (record, direction). A record's place may be used anew, so its
 * generation stands beside it.
 */
const NONE = -1;
const START = 1024;

export class FlowStates {
  private readonly heads: Int32Array;
  private entries = new Int32Array(START);
  private generations = new Int32Array(START);
  private next = new Int32Array(START);
  private free = NONE;
  private used = 0;

  /** @param capacity of the flow table */
  constructor(capacity: number) {
    this.heads = new Int32Array(capacity).fill(NONE);
  }

  /** Whether the flow belongs to any connection. */
  has(slot: number): boolean {
    return this.heads[slot] !== NONE;
  }

  /** Forgets the connections of a flow. */
  drop(slot: number): void {
    let n = this.heads[slot];
    while (n !== NONE) {
      const following = this.next[n];
      this.next[n] = this.free;
      this.free = n;
      n = following;
    }
    this.heads[slot] = NONE;
  }

  /** @param entry record << 1 | direction @param generation of the record's place */
  add(slot: number, entry: number, generation: number): void {
    const n = this.take();
    this.entries[n] = entry;
    this.generations[n] = generation;
    this.next[n] = this.heads[slot];
    this.heads[slot] = n;
  }

  /** First node of a flow, or -1; then {@link following}. */
  first(slot: number): number {
    return this.heads[slot];
  }

  following(node: number): number {
    return this.next[node];
  }

  entry(node: number): number {
    return this.entries[node];
  }

  generation(node: number): number {
    return this.generations[node];
  }

  private take(): number {
    if (this.free !== NONE) {
      const n = this.free;
      this.free = this.next[n];
      return n;
    }
    if (this.used === this.entries.length) {
      const grow = (from: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
        const to = new Int32Array(from.length * 2);
        to.set(from);
        return to;
      };
      this.entries = grow(this.entries);
      this.generations = grow(this.generations);
      this.next = grow(this.next);
    }
    return this.used++;
  }
}
