/**
 * Which flows looked up which connection, by the connection's tag: nearly every flow has a tag of its own here, so that nothing is
 * shared, and everything stands in typed arrays. Twenty-eight bytes a flow and tag, and no garbage.
 *
 * Numbers of slots and nodes are kept plus one, 0 for none: what was never used is never written, and takes no room.
 */
const NONE = 0;
const START = 1024;

export class StateTags {
  /** First node of each slot, of each bucket of tags. */
  private readonly ofSlot: Int32Array;
  private readonly buckets: Int32Array;
  private readonly mask: number;
  private tags = new Uint32Array(START);
  private slots = new Int32Array(START);
  private nextOfSlot = new Int32Array(START);
  /** In the bucket; `prev` of the first one is the bucket, negative. */
  private next = new Int32Array(START);
  private prev = new Int32Array(START);
  private free = NONE;
  private used = 0;
  /** Pairs of a flow and a tag. */
  size = 0;

  constructor(slotCapacity: number) {
    let buckets = START;
    while (buckets < slotCapacity) buckets *= 2;
    this.ofSlot = new Int32Array(slotCapacity);
    this.buckets = new Int32Array(buckets);
    this.mask = buckets - 1;
  }

  add(slot: number, tag: number): void {
    const n = this.take();
    const bucket = tag & this.mask;
    const head = this.buckets[bucket];
    this.tags[n - 1] = tag;
    this.slots[n - 1] = slot;
    this.nextOfSlot[n - 1] = this.ofSlot[slot];
    this.ofSlot[slot] = n;
    this.next[n - 1] = head;
    this.prev[n - 1] = -1 - bucket;
    if (head !== NONE) this.prev[head - 1] = n;
    this.buckets[bucket] = n;
    this.size++;
  }

  /** Forgets all tags of a flow. */
  drop(slot: number): void {
    let n = this.ofSlot[slot];
    while (n !== NONE) {
      const at = n - 1;
      const prev = this.prev[at];
      const next = this.next[at];
      if (prev < 0) this.buckets[-1 - prev] = next;
      else this.next[prev - 1] = next;
      if (next !== NONE) this.prev[next - 1] = prev;
      const following = this.nextOfSlot[at];
      this.nextOfSlot[at] = this.free;
      this.free = n;
      this.size--;
      n = following;
    }
    this.ofSlot[slot] = NONE;
  }

  has(tag: number): boolean {
    for (let n = this.buckets[tag & this.mask]; n !== NONE; n = this.next[n - 1])
      if (this.tags[n - 1] === tag) return true;
    return false;
  }

  /** Visits the flows of a tag. Nothing may change meanwhile. */
  forEach(tag: number, visit: (slot: number) => void): void {
    for (let n = this.buckets[tag & this.mask]; n !== NONE; n = this.next[n - 1]) {
      if (this.tags[n - 1] === tag) visit(this.slots[n - 1]);
    }
  }

  /** Appends the tags of a flow. */
  append(slot: number, to: number[]): void {
    for (let n = this.ofSlot[slot]; n !== NONE; n = this.nextOfSlot[n - 1]) to.push(this.tags[n - 1]);
  }

  /** A free node, its number plus one. */
  private take(): number {
    const { free } = this;
    if (free !== NONE) {
      this.free = this.nextOfSlot[free - 1];
      return free;
    }
    if (this.used === this.tags.length) this.grow();
    return ++this.used;
  }

  private grow(): void {
    const size = this.tags.length * 2;
    const tags = new Uint32Array(size);
    tags.set(this.tags);
    this.tags = tags;
    const grown = (from: Int32Array): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(size);
      to.set(from);
      return to;
    };
    this.slots = grown(this.slots);
    this.nextOfSlot = grown(this.nextOfSlot);
    this.next = grown(this.next);
    this.prev = grown(this.prev);
  }
}
