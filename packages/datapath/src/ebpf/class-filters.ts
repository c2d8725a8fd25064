/**
 * Which mask classes a port has flows of, and a filter over each class's keys, in memory that the programs read (struct weft_filter): they
 * probe the flow table only for classes whose filter knows the packet's masked key. Bits are set before a flow goes in, and cleared
 * after the last flow that needs them is out; a bit too many costs a probe, one too few would hide a flow.
 */
import { K_MASK_CLASS, KEY_SIZE, keyInPort, MASK_CLASS_COUNT } from '@weft/flow';
import type { NativeBuffer } from '@weft/sys';
import { FILTER_CLASS_WORDS, FILTER_HEAD_WORDS, FILTER_ROWS, FILTER_SIZE } from './layout.ts';

const ROW_WORDS = FILTER_SIZE / 4;
const CLASS_BITS = FILTER_CLASS_WORDS * 32;

/** Flows per class and per bit of each class, of the ports that share a row. */
type Counts = { readonly classes: Uint32Array; readonly bits: Uint32Array };

/** Number of a masked key's bit in its class's filter, as `filter_sum` and `filter_has` in bpf/lookup.h. */
export function filterBit(keys: Uint8Array, base: number): number {
  let sum = 0;
  for (let i = 0; i < KEY_SIZE / 4; i++) {
    const at = base + i * 4;
    // The class number is not part of the key that was masked.
    const last = at + 3 === base + K_MASK_CLASS ? 0 : keys[at + 3];
    const word = keys[at] | (keys[at + 1] << 8) | (keys[at + 2] << 16) | (last << 24);
    sum = (sum + Math.imul(word, 0x9e3779b1 + i * 0x85ebca6a)) | 0;
  }
  return Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d) >>> 23;
}

/** Class number of a stored key; one that no program knows counts as the last. */
function classOf(keys: Uint8Array, base: number): number {
  return Math.min(keys[base + K_MASK_CLASS], MASK_CLASS_COUNT - 1);
}

export class ClassFilters {
  readonly #words: Uint32Array;
  readonly #rows = new Map<number, Counts>();

  constructor(memory: NativeBuffer) {
    this.#words = new Uint32Array(memory.buffer, 0, FILTER_ROWS * ROW_WORDS);
  }

  #counts(row: number): Counts {
    let counts = this.#rows.get(row);
    if (!counts) {
      counts = {
        classes: new Uint32Array(MASK_CLASS_COUNT),
        bits: new Uint32Array(MASK_CLASS_COUNT * CLASS_BITS),
      };
      this.#rows.set(row, counts);
    }
    return counts;
  }

  /** Sets the bits of a flow that is about to go in. */
  announce(keys: Uint8Array, base: number): void {
    const c = classOf(keys, base);
    const row = (keyInPort(keys, base) % FILTER_ROWS) * ROW_WORDS;
    const bit = filterBit(keys, base);
    // The key's bit first: the class bit is what makes programs look.
    Atomics.or(this.#words, row + FILTER_HEAD_WORDS + c * FILTER_CLASS_WORDS + (bit >>> 5), 1 << (bit & 31));
    Atomics.or(this.#words, row, 1 << c);
  }

  /** Counts a flow that is in. */
  add(keys: Uint8Array, base: number): void {
    this.announce(keys, base);
    this.#count(keys, base, 1);
  }

  /** Counts a flow that is out. */
  remove(keys: Uint8Array, base: number): void {
    this.#count(keys, base, -1);
    this.retract(keys, base);
  }

  #count(keys: Uint8Array, base: number, change: 1 | -1): void {
    const c = classOf(keys, base);
    const counts = this.#counts(keyInPort(keys, base) % FILTER_ROWS);
    counts.classes[c] += change;
    counts.bits[c * CLASS_BITS + filterBit(keys, base)] += change;
  }

  /** Clears the bits of a flow that is not in, unless others need them. */
  retract(keys: Uint8Array, base: number): void {
    const c = classOf(keys, base);
    const row = keyInPort(keys, base) % FILTER_ROWS;
    const bit = filterBit(keys, base);
    const counts = this.#counts(row);
    const at = row * ROW_WORDS;
    if (counts.classes[c] === 0) Atomics.and(this.#words, at, ~(1 << c));
    if (counts.bits[c * CLASS_BITS + bit] > 0) return;
    Atomics.and(this.#words, at + FILTER_HEAD_WORDS + c * FILTER_CLASS_WORDS + (bit >>> 5), ~(1 << (bit & 31)));
  }

  /** Clears what an earlier process left and no flow needs, once all flows that are in have been counted. */
  sweep(): void {
    for (let row = 0; row < FILTER_ROWS; row++) {
      const at = row * ROW_WORDS;
      const counts = this.#rows.get(row);
      let classes = 0;
      for (let c = 0; c < MASK_CLASS_COUNT; c++) {
        if (counts && counts.classes[c] > 0) classes |= 1 << c;
        for (let w = 0; w < FILTER_CLASS_WORDS; w++) {
          const word = at + FILTER_HEAD_WORDS + c * FILTER_CLASS_WORDS + w;
          if (this.#words[word] === 0) continue;
          let needed = 0;
          for (let b = 0; counts && b < 32; b++) if (counts.bits[c * CLASS_BITS + w * 32 + b] > 0) needed |= 1 << b;
          Atomics.and(this.#words, word, needed);
        }
      }
      if (this.#words[at] !== classes) Atomics.and(this.#words, at, classes);
    }
  }
}
