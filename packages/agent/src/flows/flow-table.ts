/**
 * User space's own copy of the installed flows: masked key → slot, and per slot the action as installed and the key of the packet that
 * made the flow. The masked key is that key under the mask of the flow's class, and is not kept. The slot number is the flow's counter
 * slot in the datapath. Everything lives in typed arrays of a fixed capacity; nothing is allocated per flow.
 */
import { ACTION_SIZE, K_MASK_CLASS, KEY_SIZE, MASK_BYTES, MASK_CLASS_COUNT, maskKey } from '@weft/flow';

const EMPTY = -1;
const FREE = 0;
const WORDS = KEY_SIZE / 4;
/** The last word of a key without its last byte, which is the class (little endian). */
const WITHOUT_CLASS = 0x00ffffff;
const MASK_WORDS = new Int32Array(MASK_BYTES.buffer, MASK_BYTES.byteOffset, MASK_CLASS_COUNT * WORDS);

export class FlowTable {
  readonly capacity: number;
  /** Action of each slot, ACTION_SIZE bytes each. */
  readonly actions: Uint8Array;
  /** First packet's key of each slot, KEY_SIZE bytes each. It may be replaced by another one that has the same masked key. */
  readonly firstKeys: Uint8Array;
  private readonly firstWords: Int32Array;
  /** Hash of each slot's masked key: the buckets stay right whatever stands in `firstKeys`. */
  private readonly hashes: Int32Array;
  /** Class of each slot plus one, or FREE. */
  private readonly classes: Uint8Array;
  private readonly buckets: Int32Array;
  private readonly bucketMask: number;
  private readonly free: Int32Array;
  private freeCount: number;
  private readonly classCounts = new Int32Array(MASK_CLASS_COUNT);
  private readonly key = new Uint8Array(KEY_SIZE);
  private readonly keyWords = new Int32Array(this.key.buffer);
  private readonly probe = new Uint8Array(KEY_SIZE);
  private readonly probeWords = new Int32Array(this.probe.buffer);

  /** @param firstKeys memory for the first keys, if the datapath has it: KEY_SIZE bytes for each slot */
  constructor(capacity: number, firstKeys: Uint8Array = new Uint8Array(capacity * KEY_SIZE)) {
    this.capacity = capacity;
    this.actions = new Uint8Array(capacity * ACTION_SIZE);
    this.firstKeys = firstKeys;
    this.firstWords = new Int32Array(firstKeys.buffer, firstKeys.byteOffset, capacity * WORDS);
    this.hashes = new Int32Array(capacity);
    this.classes = new Uint8Array(capacity);
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
    return this.classes[slot] !== FREE;
  }

  /** Mask class of a flow. */
  classOf(slot: number): number {
    return this.classes[slot] - 1;
  }

  /** Writes the masked key of a flow, with class byte, to `out`. */
  maskedKey(slot: number, out: Uint8Array, outBase = 0): void {
    maskKey(this.firstKeys, slot * KEY_SIZE, this.classOf(slot), out, outBase);
  }

  /** Flow that a packet with this full key would hit, the most general class first as the kernel does; -1 if none. */
  match(key: Uint8Array): number {
    for (let i = 0; i < KEY_SIZE; i++) this.key[i] = key[i];
    for (let c = 0; c < MASK_CLASS_COUNT; c++) {
      if (this.classCounts[c] === 0) continue;
      this.maskInto(c);
      const slot = this.findProbe(c, hashWords(this.probeWords));
      if (slot !== EMPTY) return slot;
    }
    return EMPTY;
  }

  /** Slot of a masked key (with class byte), or -1. */
  find(masked: Uint8Array, base = 0): number {
    for (let i = 0; i < KEY_SIZE; i++) this.probe[i] = masked[base + i];
    return this.findProbe(this.probe[K_MASK_CLASS], hashWords(this.probeWords));
  }

  /** `key` under the mask of class `c` becomes the probe. */
  private maskInto(c: number): void {
    for (let i = 0, m = c * WORDS; i < WORDS; i++, m++) this.probeWords[i] = this.keyWords[i] & MASK_WORDS[m];
    this.probe[K_MASK_CLASS] = c;
  }

  private findProbe(c: number, hash: number): number {
    let b = hash & this.bucketMask;
    for (;;) {
      const slot = this.buckets[b];
      if (slot === EMPTY) return EMPTY;
      if (this.hashes[slot] === hash && this.classes[slot] === c + 1 && this.equalsProbe(slot, c)) return slot;
      b = (b + 1) & this.bucketMask;
    }
  }

  private equalsProbe(slot: number, c: number): boolean {
    const at = slot * WORDS;
    const m = c * WORDS;
    const last = WORDS - 1;
    for (let i = 0; i < last; i++) {
      if ((this.firstWords[at + i] & MASK_WORDS[m + i]) !== this.probeWords[i]) return false;
    }
    return (this.firstWords[at + last] & MASK_WORDS[m + last]) === (this.probeWords[last] & WITHOUT_CLASS);
  }

  /**
   * Takes a slot for the flow of class `c` of a packet with this key; its masked key must not be in the table. `wanted`: that very slot
   * (adoption), which must be free.
   * @returns the slot, or -1 if the table is full (or `wanted` is taken).
   */
  add(key: Uint8Array, base: number, c: number, wanted = EMPTY): number {
    const slot = wanted === EMPTY ? this.takeFree() : this.takeWanted(wanted);
    if (slot === EMPTY) return EMPTY;
    this.firstKeys.set(key.subarray(base, base + KEY_SIZE), slot * KEY_SIZE);
    maskKey(key, base, c, this.probe, 0);
    const hash = hashWords(this.probeWords);
    let b = hash & this.bucketMask;
    while (this.buckets[b] !== EMPTY) b = (b + 1) & this.bucketMask;
    this.buckets[b] = slot;
    this.hashes[slot] = hash;
    this.classes[slot] = c + 1;
    this.classCounts[c]++;
    return slot;
  }

  private takeFree(): number {
    while (this.freeCount > 0) {
      const slot = this.free[--this.freeCount];
      if (!this.isUsed(slot)) return slot;
    }
    return EMPTY;
  }

  /** Adoption only, before any other use: a linear search is fine there, but a swap keeps the free stack exact. */
  private takeWanted(wanted: number): number {
    if (wanted >= this.capacity || this.isUsed(wanted)) return EMPTY;
    // Freshly built, slot s stands at capacity-1-s; earlier swaps may have moved it: look there first, then everywhere.
    let at = this.capacity - 1 - wanted;
    if (at >= this.freeCount || this.free[at] !== wanted) at = this.free.subarray(0, this.freeCount).indexOf(wanted);
    if (at < 0) return EMPTY;
    this.free[at] = this.free[--this.freeCount];
    return wanted;
  }

  /** Takes a flow out; its slot can be taken again. */
  remove(slot: number): void {
    if (!this.isUsed(slot)) return;
    this.unlink(slot);
    this.release(slot);
  }

  /** Takes a flow out; nobody gets its slot before `release`. */
  unlink(slot: number): void {
    if (!this.isUsed(slot)) return;
    let b = this.hashes[slot] & this.bucketMask;
    while (this.buckets[b] !== slot) b = (b + 1) & this.bucketMask;
    this.closeGap(b);
    this.classCounts[this.classOf(slot)]--;
    this.classes[slot] = FREE;
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
      const home = this.hashes[slot] & this.bucketMask;
      // Move it up unless its home lies cyclically in (gap, b].
      if (((b - home) & this.bucketMask) >= ((b - gap) & this.bucketMask)) {
        this.buckets[gap] = slot;
        gap = b;
      }
    }
    this.buckets[gap] = EMPTY;
  }

  forEach(visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.capacity; slot++) if (this.isUsed(slot)) visit(slot);
  }
}

function hashWords(words: Int32Array): number {
  let h = 0x9747b28c | 0;
  for (let i = 0; i < WORDS; i++) {
    h = Math.imul(h ^ words[i], 0x5bd1e995);
    h ^= h >>> 15;
  }
  h = Math.imul(h, 0x85ebca6b);
  return h ^ (h >>> 13);
}
