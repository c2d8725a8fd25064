import { powerOfTwo } from './words.ts';

/**
 * An open-addressing index from 32-bit hashes to numbers ≥ 0, in one Int32Array of pairs (hash, number + 1); 0 ends a probe.
 * Removal shifts the followers back, so that probes never lengthen with age. It holds at most as many entries as it was
 * made for, at a load of at most one half. Equal hashes, and equal numbers under different hashes, are allowed: who looks up compares
 * what the numbers stand for:
 *
 *   for (let i = index.first(hash); pairs[i + 1] !== 0; i = index.next(i)) if (pairs[i] === hash && …) pairs[i + 1] - 1
 */
export class SlotIndex {
  readonly pairs: Int32Array;
  /** Mask of a position in `pairs`; positions are even. */
  private readonly mask: number;

  constructor(entries: number) {
    const slots = powerOfTwo(Math.max(entries * 2, 8));
    this.pairs = new Int32Array(slots * 2);
    this.mask = slots * 2 - 1;
  }

  first(hash: number): number {
    return (hash << 1) & this.mask;
  }

  next(position: number): number {
    return (position + 2) & this.mask;
  }

  add(hash: number, value: number): void {
    const { pairs } = this;
    let i = this.first(hash);
    while (pairs[i + 1] !== 0) i = this.next(i);
    pairs[i] = hash;
    pairs[i + 1] = value + 1;
  }

  /** Removes one entry (hash, value). Returns false if there is none. */
  remove(hash: number, value: number): boolean {
    const { pairs, mask } = this;
    let i = this.first(hash);
    while (pairs[i] !== hash || pairs[i + 1] !== value + 1) {
      if (pairs[i + 1] === 0) return false;
      i = this.next(i);
    }
    // Pull back every follower whose own place is not behind the hole.
    for (let j = this.next(i); pairs[j + 1] !== 0; j = this.next(j)) {
      const home = this.first(pairs[j]);
      if (((j - home) & mask) < ((j - i) & mask)) continue;
      pairs[i] = pairs[j];
      pairs[i + 1] = pairs[j + 1];
      i = j;
    }
    pairs[i] = 0;
    pairs[i + 1] = 0;
    return true;
  }

  clear(): void {
    this.pairs.fill(0);
  }
}
