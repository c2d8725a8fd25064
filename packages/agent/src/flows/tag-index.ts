/**
 * Which flows stand on which tag. Flows that took the same way through the topology stand on the same tags, and there are many of
 * them: the tags are kept once per *set*, and a flow belongs to one set. So a flow costs twelve bytes here however long its way. Tags of
 * connections are hardly ever shared: they stand beside the sets, flow by flow.
 */
import { isStateTag } from '@weft/flow';
import { StateTags } from './state-tags.ts';
import { TagNodes } from './tag-nodes.ts';

const NONE = -1;

interface TagSet {
  readonly id: number;
  readonly hash: number;
  readonly tags: Uint32Array;
  /** First flow of the set. */
  head: number;
}

export class TagIndex {
  private readonly nodes = new TagNodes();
  private readonly states: StateTags;
  /** Of the flow at hand: the tags that are kept by set. */
  private readonly shared: number[] = [];
  private readonly sets: (TagSet | undefined)[] = [];
  private readonly freeSets: number[] = [];
  /** Hash of the tags → sets with it; nearly always one. */
  private readonly byHash = new Map<number, TagSet[]>();
  private readonly setOf: Int32Array;
  private readonly prev: Int32Array;
  private readonly next: Int32Array;

  constructor(slotCapacity: number) {
    this.states = new StateTags(slotCapacity);
    this.setOf = new Int32Array(slotCapacity).fill(NONE);
    this.prev = new Int32Array(slotCapacity);
    this.next = new Int32Array(slotCapacity);
  }

  /** Live tags; one of a connection counts once per flow. */
  get tagCount(): number {
    return this.nodes.tagCount + this.states.size;
  }

  /** Distinct sets of tags, but for those of connections. */
  get setCount(): number {
    return this.sets.length - this.freeSets.length;
  }

  /** True if some flow stands on the tag. */
  has(tag: number): boolean {
    return isStateTag(tag) ? this.states.has(tag) : this.nodes.has(tag);
  }

  /** The flow stands on exactly these tags from now on. The order counts only for how well sets are shared. */
  assign(slot: number, tags: readonly number[]): void {
    const { shared, states } = this;
    shared.length = 0;
    states.drop(slot);
    for (let i = 0; i < tags.length; i++) {
      if (isStateTag(tags[i])) states.add(slot, tags[i]);
      else shared.push(tags[i]);
    }
    const set = this.intern(shared);
    if (this.setOf[slot] === set.id) return;
    const before = this.setOf[slot];
    if (before !== NONE) this.leave(slot, before);
    this.setOf[slot] = set.id;
    this.prev[slot] = NONE;
    this.next[slot] = set.head;
    if (set.head !== NONE) this.prev[set.head] = slot;
    set.head = slot;
  }

  /** The flow is gone. */
  drop(slot: number): void {
    const set = this.setOf[slot];
    if (set === NONE) return;
    this.states.drop(slot);
    this.setOf[slot] = NONE;
    this.leave(slot, set);
  }

  /** Visits the flows that stand on `tag`. The index must not change meanwhile. */
  forEach(tag: number, visit: (slot: number) => void): void {
    if (isStateTag(tag)) {
      this.states.forEach(tag, visit);
      return;
    }
    this.nodes.forEachOwner(tag, (id) => {
      for (let slot = this.sets[id]!.head; slot !== NONE; slot = this.next[slot]) visit(slot);
    });
  }

  /** Tags of a flow. */
  tagsOf(slot: number): readonly number[] {
    if (this.setOf[slot] === NONE) return [];
    const tags = [...this.sets[this.setOf[slot]]!.tags];
    this.states.append(slot, tags);
    return tags;
  }

  private intern(tags: readonly number[]): TagSet {
    let hash = tags.length;
    for (let i = 0; i < tags.length; i++) hash = (Math.imul(hash, 0x01000193) ^ tags[i]) | 0;
    const candidates = this.byHash.get(hash);
    for (const set of candidates ?? []) if (sameTags(set.tags, tags)) return set;
    const set = { id: this.freeSets.pop() ?? this.sets.length, hash, tags: Uint32Array.from(tags), head: NONE };
    this.sets[set.id] = set;
    if (candidates) candidates.push(set);
    else this.byHash.set(hash, [set]);
    for (const tag of set.tags) this.nodes.add(set.id, tag);
    return set;
  }

  private leave(slot: number, id: number): void {
    const set = this.sets[id]!;
    const prev = this.prev[slot];
    const next = this.next[slot];
    if (next !== NONE) this.prev[next] = prev;
    if (prev !== NONE) this.next[prev] = next;
    else set.head = next;
    if (set.head !== NONE) return;
    this.nodes.drop(id);
    this.sets[id] = undefined;
    this.freeSets.push(id);
    const left = this.byHash.get(set.hash)!.filter((s) => s !== set);
    if (left.length === 0) this.byHash.delete(set.hash);
    else this.byHash.set(set.hash, left);
  }
}

function sameTags(a: Uint32Array, b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
