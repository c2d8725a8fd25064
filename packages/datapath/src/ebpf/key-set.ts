/** Which flow keys are in the kernel's table: needed to know whether an insert replaced, so that class counts stay exact. */
import { KEY_SIZE } from '@weft/flow';

const EMPTY = 0;
const DELETED = 1;

/**
 * A set of 64-byte keys, kept as 96-bit fingerprints under a random seed (two keys of a set of a million meet by chance with
 * probability 2^-56; the seed keeps tenants from making them meet). Open addressing, no allocation per key.
 */
export class KeySet {
  #a: Uint32Array;
  #b: Uint32Array;
  #c: Uint32Array;
  #mask: number;
  #used = 0;
  #size = 0;
  readonly #seed = new Uint32Array(3);
  readonly #hash = new Uint32Array(3);

  constructor(expected = 1024) {
    crypto.getRandomValues(this.#seed);
    let slots = 1024;
    while (slots < expected * 2) slots *= 2;
    this.#a = new Uint32Array(slots);
    this.#b = new Uint32Array(slots);
    this.#c = new Uint32Array(slots);
    this.#mask = slots - 1;
  }

  get size(): number {
    return this.#size;
  }

  #fingerprint(keys: Uint8Array, base: number): void {
    let x = this.#seed[0] | 0;
    let y = this.#seed[1] | 0;
    let z = this.#seed[2] | 0;
    for (let i = base; i < base + KEY_SIZE; i += 4) {
      const w = keys[i] | (keys[i + 1] << 8) | (keys[i + 2] << 16) | (keys[i + 3] << 24);
      x = Math.imul(x ^ w, 0x85ebca6b);
      x = ((x << 13) | (x >>> 19)) + z;
      y = Math.imul(y ^ ((w << 16) | (w >>> 16)), 0xc2b2ae35);
      y = ((y << 15) | (y >>> 17)) + x;
      z = Math.imul(z ^ w ^ y, 0x27d4eb2f);
      z = (z << 11) | (z >>> 21);
    }
    x ^= x >>> 16;
    y ^= Math.imul(x, 0x9e3779b1) ^ (y >>> 15);
    z ^= Math.imul(y, 0x85ebca77) ^ (z >>> 14);
    const first = x >>> 0;
    this.#hash[0] = first > DELETED ? first : first + 2;
    this.#hash[1] = y;
    this.#hash[2] = z;
  }

  /** Slot of the fingerprint in #hash, or ~(slot to put it into). */
  #find(): number {
    const [a, b, c] = this.#hash;
    let at = b & this.#mask;
    let free = -1;
    for (;;) {
      const x = this.#a[at];
      if (x === EMPTY) return ~(free < 0 ? at : free);
      if (x === DELETED) {
        if (free < 0) free = at;
      } else if (x === a && this.#b[at] === b && this.#c[at] === c) return at;
      at = (at + 1) & this.#mask;
    }
  }

  #put(slot: number): void {
    if (this.#a[slot] === EMPTY) this.#used++;
    this.#a[slot] = this.#hash[0];
    this.#b[slot] = this.#hash[1];
    this.#c[slot] = this.#hash[2];
  }

  /** @returns true if the key at `keys[base …]` was not in the set. */
  add(keys: Uint8Array, base: number): boolean {
    if (this.#used * 4 > this.#mask * 3) this.#rebuild();
    this.#fingerprint(keys, base);
    const slot = this.#find();
    if (slot >= 0) return false;
    this.#put(~slot);
    this.#size++;
    return true;
  }

  has(keys: Uint8Array, base: number): boolean {
    this.#fingerprint(keys, base);
    return this.#find() >= 0;
  }

  /** @returns true if the key was in the set. */
  delete(keys: Uint8Array, base: number): boolean {
    this.#fingerprint(keys, base);
    const slot = this.#find();
    if (slot < 0) return false;
    this.#a[slot] = DELETED;
    this.#size--;
    return true;
  }

  /** Drops the deleted marks, and doubles the room when it is needed. */
  #rebuild(): void {
    const [a, b, c] = [this.#a, this.#b, this.#c];
    const slots = this.#size * 2 > this.#mask ? (this.#mask + 1) * 2 : this.#mask + 1;
    this.#a = new Uint32Array(slots);
    this.#b = new Uint32Array(slots);
    this.#c = new Uint32Array(slots);
    this.#mask = slots - 1;
    this.#used = 0;
    for (let i = 0; i < a.length; i++) {
      if (a[i] <= DELETED) continue;
      this.#hash[0] = a[i];
      this.#hash[1] = b[i];
      this.#hash[2] = c[i];
      this.#put(~this.#find());
    }
  }
}
