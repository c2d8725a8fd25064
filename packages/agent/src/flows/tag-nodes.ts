/**
 * A relation between owners (small numbers) and tags, in typed arrays: all tags of an owner, all owners of a tag. Two
 * intrusive lists over one pool of nodes, so that every operation costs what it touches.
 */
const NONE = -1;

export class TagNodes {
  private tags = new Uint32Array(1024);
  private owners = new Int32Array(1024);
  private nextOfOwner = new Int32Array(1024);
  private prevOfTag = new Int32Array(1024);
  private nextOfTag = new Int32Array(1024);
  private ownerHead = new Int32Array(256).fill(NONE);
  private freeHead = NONE;
  private nodeCount = 0;
  /** First node of each live tag. */
  private readonly tagHead = new Map<number, number>();

  get tagCount(): number {
    return this.tagHead.size;
  }

  has(tag: number): boolean {
    return this.tagHead.has(tag);
  }

  add(owner: number, tag: number): void {
    if (owner >= this.ownerHead.length) this.growOwners(owner);
    const n = this.takeNode();
    this.tags[n] = tag;
    this.owners[n] = owner;
    this.nextOfOwner[n] = this.ownerHead[owner];
    this.ownerHead[owner] = n;
    const head = this.tagHead.get(tag) ?? NONE;
    this.prevOfTag[n] = NONE;
    this.nextOfTag[n] = head;
    if (head !== NONE) this.prevOfTag[head] = n;
    this.tagHead.set(tag, n);
  }

  /** Forgets all tags of an owner. */
  drop(owner: number): void {
    let n = this.ownerHead[owner] ?? NONE;
    while (n !== NONE) {
      const prev = this.prevOfTag[n];
      const next = this.nextOfTag[n];
      if (next !== NONE) this.prevOfTag[next] = prev;
      if (prev !== NONE) this.nextOfTag[prev] = next;
      else if (next !== NONE) this.tagHead.set(this.tags[n], next);
      else this.tagHead.delete(this.tags[n]);
      const following = this.nextOfOwner[n];
      this.nextOfOwner[n] = this.freeHead;
      this.freeHead = n;
      n = following;
    }
    if (owner < this.ownerHead.length) this.ownerHead[owner] = NONE;
  }

  /** Visits the owners of a tag. The relation must not change meanwhile. */
  forEachOwner(tag: number, visit: (owner: number) => void): void {
    for (let n = this.tagHead.get(tag) ?? NONE; n !== NONE; n = this.nextOfTag[n]) visit(this.owners[n]);
  }

  private takeNode(): number {
    if (this.freeHead !== NONE) {
      const n = this.freeHead;
      this.freeHead = this.nextOfOwner[n];
      return n;
    }
    if (this.nodeCount === this.tags.length) this.growNodes();
    return this.nodeCount++;
  }

  private growNodes(): void {
    const size = this.tags.length * 2;
    const tags = new Uint32Array(size);
    tags.set(this.tags);
    this.tags = tags;
    this.owners = grown(this.owners, size);
    this.nextOfOwner = grown(this.nextOfOwner, size);
    this.prevOfTag = grown(this.prevOfTag, size);
    this.nextOfTag = grown(this.nextOfTag, size);
  }

  private growOwners(owner: number): void {
    const before = this.ownerHead.length;
    this.ownerHead = grown(this.ownerHead, Math.max(before * 2, owner + 1));
    this.ownerHead.fill(NONE, before);
  }
}

function grown(from: Int32Array, size: number): Int32Array<ArrayBuffer> {
  const to = new Int32Array(size);
  to.set(from);
  return to;
}
