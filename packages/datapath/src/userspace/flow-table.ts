/**
 * The table of flows: open addressing over typed arrays, 64-byte keys, nothing allocated per packet or flow. All mask classes
 * share it (the class is the key's last byte); a port's class bits say which to probe.
 */
import {
  A_OWNER_CLASS,
  A_OWNER_PORT,
  ACTION_SIZE,
  actionIntact,
  FLOW_VALUE_SIZE,
  K_MASK_CLASS,
  KEY_SIZE,
  keyInPort,
  MASK_BYTES,
  MASK_CLASS_COUNT,
  readU32le,
} from '@weft/flow';

const WORDS = KEY_SIZE / 4;
const LAST_WORD_CLASS_SHIFT = 24;
const EMPTY = -1;

/** Mask bytes as words of this machine's order. */
const MASK_WORDS = new Uint32Array(Uint8Array.from(MASK_BYTES).buffer);

/** Flows of one ingress port, per mask class. */
class PortFlows {
  readonly counts = new Int32Array(MASK_CLASS_COUNT);
  bits = 0;
}

export class FlowTable {
  readonly capacity: number;
  /** Value of entry n from n × FLOW_VALUE_SIZE on. */
  readonly values: Uint8Array;
  readonly #keys: Uint8Array;
  readonly #keyWords: Uint32Array;
  /** Entry of each bucket, or EMPTY. At most half of the buckets are used. */
  readonly #buckets: Int32Array;
  readonly #mask: number;
  readonly #free: Int32Array;
  #freeCount: number;
  readonly #probe = new Uint8Array(KEY_SIZE);
  readonly #probeWords = new Uint32Array(this.#probe.buffer);
  readonly #ports = new Map<number, PortFlows>();

  constructor(capacity: number) {
    this.capacity = capacity;
    this.values = new Uint8Array(capacity * FLOW_VALUE_SIZE);
    this.#keys = new Uint8Array(capacity * KEY_SIZE);
    this.#keyWords = new Uint32Array(this.#keys.buffer);
    let size = 64;
    while (size < capacity * 2) size *= 2;
    this.#mask = size - 1;
    this.#buckets = new Int32Array(size).fill(EMPTY);
    this.#free = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#freeCount = capacity;
  }

  get size(): number {
    return this.capacity - this.#freeCount;
  }

  /** True if flows of this ingress port are left. */
  hasFlowsFor(inPort: number): boolean {
    return (this.#ports.get(inPort)?.bits ?? 0) !== 0;
  }

  /**
   * The flow that a packet hits: classes from the most general on, only those with flows for its port.
   * @param key full key of the packet, 4-byte aligned words in `keyWords` over the same bytes.
   * @returns entry, or -1 for a miss, or -2 if an entry was found but is torn or someone else's.
   */
  match(keyWords: Uint32Array, inPort: number): number {
    const port = this.#ports.get(inPort);
    if (port === undefined) return -1;
    let raced = -1;
    for (let c = 0; c < MASK_CLASS_COUNT; c++) {
      if ((port.bits & (1 << c)) === 0) continue;
      const m = c * WORDS;
      for (let i = 0; i < WORDS; i++) this.#probeWords[i] = keyWords[i] & MASK_WORDS[m + i];
      this.#probe[K_MASK_CLASS] = c;
      const bucket = this.#find();
      if (bucket < 0) continue;
      const entry = this.#buckets[bucket];
      if (this.#isOwn(entry, inPort, c)) return entry;
      raced = -2;
    }
    return raced;
  }

  #isOwn(entry: number, inPort: number, c: number): boolean {
    const at = entry * FLOW_VALUE_SIZE;
    return (
      actionIntact(this.values, at) &&
      readU32le(this.values, at + A_OWNER_PORT) === inPort &&
      this.values[at + A_OWNER_CLASS] === c
    );
  }

  /** Inserts or replaces. @returns false if the table is full. */
  put(keys: Uint8Array, keyAt: number, values: Uint8Array, valueAt: number): boolean {
    this.#loadProbe(keys, keyAt);
    const found = this.#find();
    let entry: number;
    if (found >= 0) {
      entry = this.#buckets[found];
    } else {
      if (this.#freeCount === 0) return false;
      entry = this.#free[--this.#freeCount];
      this.#buckets[~found] = entry;
      for (let i = 0; i < WORDS; i++) this.#keyWords[entry * WORDS + i] = this.#probeWords[i];
      this.#count(keyInPort(keys, keyAt), keys[keyAt + K_MASK_CLASS] & 7, 1);
    }
    const at = entry * FLOW_VALUE_SIZE;
    for (let i = 0; i < FLOW_VALUE_SIZE; i++) this.values[at + i] = values[valueAt + i];
    return true;
  }

  /** @returns false if there was no such flow. */
  delete(keys: Uint8Array, keyAt: number): boolean {
    this.#loadProbe(keys, keyAt);
    const bucket = this.#find();
    if (bucket < 0) return false;
    this.#free[this.#freeCount++] = this.#buckets[bucket];
    this.#closeGap(bucket);
    this.#count(keyInPort(keys, keyAt), keys[keyAt + K_MASK_CLASS] & 7, -1);
    return true;
  }

  /** Views of key and action of every flow, in no order. */
  forEach(visit: (key: Uint8Array, action: Uint8Array) => void): void {
    for (const entry of this.#buckets) {
      if (entry === EMPTY) continue;
      const at = entry * FLOW_VALUE_SIZE;
      visit(this.#keys.subarray(entry * KEY_SIZE, (entry + 1) * KEY_SIZE), this.values.subarray(at, at + ACTION_SIZE));
    }
  }

  #loadProbe(keys: Uint8Array, at: number): void {
    for (let i = 0; i < KEY_SIZE; i++) this.#probe[i] = keys[at + i];
  }

  /** Bucket of the key in the probe; if it is not there, the complement of the free bucket where it belongs. */
  #find(): number {
    let b = hashWords(this.#probeWords, 0) & this.#mask;
    for (;;) {
      const entry = this.#buckets[b];
      if (entry === EMPTY) return ~b;
      if (this.#equals(entry)) return b;
      b = (b + 1) & this.#mask;
    }
  }

  #equals(entry: number): boolean {
    const at = entry * WORDS;
    for (let i = 0; i < WORDS; i++) if (this.#keyWords[at + i] !== this.#probeWords[i]) return false;
    return true;
  }

  /** Moves later entries of the run up, so that no search ends at the gap too early (Knuth, TAOCP 6.4, algorithm R). */
  #closeGap(bucket: number): void {
    let gap = bucket;
    let b = bucket;
    for (;;) {
      b = (b + 1) & this.#mask;
      const entry = this.#buckets[b];
      if (entry === EMPTY) break;
      const home = hashWords(this.#keyWords, entry * WORDS) & this.#mask;
      // An entry may move to the gap unless its home lies behind it, cyclically in (gap, b].
      if (((b - home) & this.#mask) >= ((b - gap) & this.#mask)) {
        this.#buckets[gap] = entry;
        gap = b;
      }
    }
    this.#buckets[gap] = EMPTY;
  }

  #count(inPort: number, c: number, by: number): void {
    let port = this.#ports.get(inPort);
    if (port === undefined) {
      port = new PortFlows();
      this.#ports.set(inPort, port);
    }
    port.counts[c] += by;
    if (port.counts[c] > 0) port.bits |= 1 << c;
    else port.bits &= ~(1 << c);
    if (port.bits === 0) this.#ports.delete(inPort);
  }
}

/** Hash of 16 words. */
function hashWords(words: Uint32Array, at: number): number {
  let h = words[at + WORDS - 1] >>> LAST_WORD_CLASS_SHIFT;
  for (let i = 0; i < WORDS; i++) {
    h = Math.imul(h ^ words[at + i], 0x9e3779b1);
    h = (h << 13) | (h >>> 19);
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return h ^ (h >>> 15);
}
