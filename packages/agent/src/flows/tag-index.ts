/**
 * Which flows stand on which tag. Two intrusive lists over one pool of nodes: all nodes of a slot, all nodes of a tag.
 * Adding, dropping a slot and visiting a tag cost what they touch, nothing more.
 */
const NONE = -1;

export class TagIndex {
  private tags: Uint32Array;
  private slots: Int32Array;
  private nextOfSlot: Int32Array;
  private prevOfTag: Int32Array;
  private nextOfTag: Int32Array;
  private freeHead = NONE;
  private nodeCount = 0;
  private readonly slotHead: Int32Array;
  /** First node of each tag. Tags are 32-bit numbers: a Map on small integers and doubles, one entry per live tag. */
  private readonly tagHead = new Map<number, number>();

  constructor(slotCapacity: number) {
    const nodes = Math.max(1024, slotCapacity);
    this.tags = new Uint32Array(nodes);
    this.slots = new Int32Array(nodes);
    this.nextOfSlot = new Int32Array(nodes);
    this.prevOfTag = new Int32Array(nodes);
    this.nextOfTag = new Int32Array(nodes);
    this.slotHead = new Int32Array(slotCapacity).fill(NONE);
  }

  /** Live tags. */
  get tagCount(): number {
    return this.tagHead.size;
  }

  /** True if some flow stands on the tag. */
  has(tag: number): boolean {
    return this.tagHead.has(tag);
  }

  add(slot: number, tag: number): void {
    const n = this.takeNode();
    this.tags[n] = tag;
    this.slots[n] = slot;
    this.nextOfSlot[n] = this.slotHead[slot];
    this.slotHead[slot] = n;
    const head = this.tagHead.get(tag) ?? NONE;
    this.prevOfTag[n] = NONE;
    this.nextOfTag[n] = head;
    if (head !== NONE) this.prevOfTag[head] = n;
    this.tagHead.set(tag, n);
  }

  /** Forgets all tags of a slot. */
  drop(slot: number): void {
    let n = this.slotHead[slot];
    while (n !== NONE) {
      const prev = this.prevOfTag[n];
      const next = this.nextOfTag[n];
      if (next !== NONE) this.prevOfTag[next] = prev;
      if (prev !== NONE) this.nextOfTag[prev] = next;
      else if (next !== NONE) this.tagHead.set(this.tags[n], next);
      else this.tagHead.delete(this.tags[n]);
      const nextOfSlot = this.nextOfSlot[n];
      this.nextOfSlot[n] = this.freeHead;
      this.freeHead = n;
      n = nextOfSlot;
    }
    this.slotHead[slot] = NONE;
  }

  /** Visits the slots that stand on `tag`. The index must not change meanwhile. */
  forEach(tag: number, visit: (slot: number) => void): void {
    for (let n = this.tagHead.get(tag) ?? NONE; n !== NONE; n = this.nextOfTag[n]) visit(this.slots[n]);
  }

  /** Tags of a slot. */
  tagsOf(slot: number): number[] {
    const out: number[] = [];
    for (let n = this.slotHead[slot]; n !== NONE; n = this.nextOfSlot[n]) out.push(this.tags[n]);
    return out;
  }

  private takeNode(): number {
    if (this.freeHead !== NONE) {
      const n = this.freeHead;
      this.freeHead = this.nextOfSlot[n];
      return n;
    }
    if (this.nodeCount === this.tags.length) this.grow();
    return this.nodeCount++;
  }

  private grow(): void {
    const size = this.tags.length * 2;
    const bigger = (from: Int32Array): Int32Array => {
      const to = new Int32Array(size);
      to.set(from);
      return to;
    };
    const tags = new Uint32Array(size);
    tags.set(this.tags);
    this.tags = tags;
    this.slots = bigger(this.slots);
    this.nextOfSlot = bigger(this.nextOfSlot);
    this.prevOfTag = bigger(this.prevOfTag);
    this.nextOfTag = bigger(this.nextOfTag);
  }
}
