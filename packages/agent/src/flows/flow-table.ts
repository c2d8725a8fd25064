/**
 * User space's own copy of the installed flows: masked key → slot, and per slot the value as installed. The slot number is
 * the flow's counter slot in the datapath. Everything lives in typed arrays of a fixed capacity; nothing is allocated per flow.
 */
import { FLOW_VALUE_SIZE, KEY_SIZE, MASK_CLASS_COUNT, maskKey } from '@weft/flow';

const EMPTY = -1;
const WORDS = KEY_SIZE / 4;

export class FlowTable {
  readonly capacity: number;
  /** Masked key of each slot, 64 bytes each. */
  readonly keys: Uint8Array;
  /** Action and first packet's key of each slot, FLOW_VALUE_SIZE bytes each. */
  readonly values: Uint8Array;
  private readonly keyWords: Uint32Array;
  private readonly buckets: Int32Array;
  private readonly bucketMask: number;
  private readonly free: Int32Array;
  private freeCount: number;
  private readonly used: Uint8Array;
  private readonly classCounts = new Int32Array(MASK_CLASS_COUNT);
  private readonly probe = new Uint8Array(KEY_SIZE);
  private readonly probeWords = new Uint32Array(this.probe.buffer);

  constructor(capacity: number) {
    this.capacity = capacity;
    this.keys = new Uint8Array(capacity * KEY_SIZE);
    this.keyWords = new Uint32Array(this.keys.buffer);
    this.values = new Uint8Array(capacity * FLOW_VALUE_SIZE);
    this.used = new Uint8Array(capacity);
    let size = 1024;
    while (size < capacity * 2) size *= 2;
    this.buckets = new Int32Array(size).fill(EMPTY);
    this.bucketMask = size - 1;
    this.free = new Int32Array(capacity);
    for (let i = 0; i < capacity; i++) this.free[i] = capacity - 1 - i;
    this.freeCount = capacity;
  }

  get size(): number {
    return this.capacity - this.freeCount;
  }

  isUsed(slot: number): boolean {
    return this.used[slot] === 1;
  }

  /** Flow that a packet with this full key would hit, the most general class first as the kernel does; -1 if none. */
  match(key: Uint8Array): number {
    for (let c = 0; c < MASK_CLASS_COUNT; c++) {
      if (this.classCounts[c] === 0) continue;
      maskKey(key, 0, c, this.probe, 0);
      const slot = this.findProbe();
      if (slot !== EMPTY) return slot;
    }
    return EMPTY;
  }

  /** Slot of a masked key (with class byte), or -1. */
  find(masked: Uint8Array, base = 0): number {
    for (let i = 0; i < KEY_SIZE; i++) this.probe[i] = masked[base + i];
    return this.findProbe();
  }

  private findProbe(): number {
    let b = hashWords(this.probeWords, 0) & this.bucketMask;
    for (;;) {
      const slot = this.buckets[b];
      if (slot === EMPTY) return EMPTY;
      if (this.equalsProbe(slot)) return slot;
      b = (b + 1) & this.bucketMask;
    }
  }

  private equalsProbe(slot: number): boolean {
    const at = slot * WORDS;
    for (let i = 0; i < WORDS; i++) if (this.keyWords[at + i] !== this.probeWords[i]) return false;
    return true;
  }

  /**
   * Takes a slot for a masked key that is not in the table. `wanted`: that very slot (adoption), which must be free.
   * @returns the slot, or -1 if the table is full (or `wanted` is taken).
   */
  add(masked: Uint8Array, base = 0, wanted = EMPTY): number {
    const slot = wanted === EMPTY ? this.takeFree() : this.takeWanted(wanted);
    if (slot === EMPTY) return EMPTY;
    this.keys.set(masked.subarray(base, base + KEY_SIZE), slot * KEY_SIZE);
    let b = hashWords(this.keyWords, slot * WORDS) & this.bucketMask;
    while (this.buckets[b] !== EMPTY) b = (b + 1) & this.bucketMask;
    this.buckets[b] = slot;
    this.used[slot] = 1;
    this.classCounts[masked[base + KEY_SIZE - 1]]++;
    return slot;
  }

  private takeFree(): number {
    while (this.freeCount > 0) {
      const slot = this.free[--this.freeCount];
      if (this.used[slot] === 0) return slot;
    }
    return EMPTY;
  }

  /** Adoption only, before any other use: a linear search is fine there, but a swap keeps the free stack exact. */
  private takeWanted(wanted: number): number {
    if (wanted >= this.capacity || this.used[wanted] === 1) return EMPTY;
    // Freshly built, slot s stands at capacity-1-s; earlier swaps may have moved it: look there first, then everywhere.
    let at = this.capacity - 1 - wanted;
    if (at >= this.freeCount || this.free[at] !== wanted) at = this.free.subarray(0, this.freeCount).indexOf(wanted);
    if (at < 0) return EMPTY;
    this.free[at] = this.free[--this.freeCount];
    return wanted;
  }

  /** Takes a flow out; its slot can be taken again. */
  remove(slot: number): void {
    if (this.used[slot] === 0) return;
    this.unlink(slot);
    this.release(slot);
  }

  /** Takes a flow out; nobody gets its slot before `release`. */
  unlink(slot: number): void {
    if (this.used[slot] === 0) return;
    let b = hashWords(this.keyWords, slot * WORDS) & this.bucketMask;
    while (this.buckets[b] !== slot) b = (b + 1) & this.bucketMask;
    this.closeGap(b);
    this.used[slot] = 0;
    this.classCounts[this.keys[slot * KEY_SIZE + KEY_SIZE - 1]]--;
  }

  /** The slot of a flow that was unlinked can be taken again. */
  release(slot: number): void {
    this.free[this.freeCount++] = slot;
  }

  /** Backward-shift deletion: no tombstones, so a table under churn stays as fast as a fresh one. */
  private closeGap(gap: number): void {
    let b = gap;
    for (;;) {
      b = (b + 1) & this.bucketMask;
      const slot = this.buckets[b];
      if (slot === EMPTY) break;
      const home = hashWords(this.keyWords, slot * WORDS) & this.bucketMask;
      // Move it up unless its home lies cyclically in (gap, b].
      if (((b - home) & this.bucketMask) >= ((b - gap) & this.bucketMask)) {
        this.buckets[gap] = slot;
        gap = b;
      }
    }
    this.buckets[gap] = EMPTY;
  }

  forEach(visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.capacity; slot++) if (this.used[slot] === 1) visit(slot);
  }
}

function hashWords(words: Uint32Array, at: number): number {
  let h = 0x9747b28c;
  for (let i = 0; i < WORDS; i++) {
    h = Math.imul(h ^ words[at + i], 0x5bd1e995);
    h ^= h >>> 15;
  }
  h = Math.imul(h, 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}
