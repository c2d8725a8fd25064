/**
 * A hash table over 32-bit words in one typed array: a fixed number of key words and value words per entry, open
 * addressing. No allocation but on growth, no boxed keys. The caller fills `probe` and calls; a found entry's value words
 * stand at `words[index + keyWords …]`.
 */
const EMPTY = 0;
const USED = 1;
const DELETED = 2;

export class WordTable {
  readonly keyWords: number;
  /** Words of an entry: key, then value. */
  readonly stride: number;
  /** Key of the next operation. */
  readonly probe: Int32Array;
  words: Int32Array;
  size = 0;
  private state: Uint8Array;
  private mask: number;
  /** Entries used or deleted: what bounds the length of a probe. */
  private filled = 0;

  constructor(keyWords: number, valueWords: number, capacity = 16) {
    this.keyWords = keyWords;
    this.stride = keyWords + valueWords;
    this.probe = new Int32Array(keyWords);
    this.mask = capacity - 1;
    this.words = new Int32Array(capacity * this.stride);
    this.state = new Uint8Array(capacity);
  }

  /** Offset in `words` of the entry whose key is `probe`, or -1. */
  find(): number {
    const { probe, words, state, mask, keyWords, stride } = this;
    for (let slot = hash(probe, 0, keyWords) & mask; ; slot = (slot + 1) & mask) {
      const s = state[slot];
      if (s === EMPTY) return -1;
      if (s === DELETED) continue;
      const at = slot * stride;
      let i = 0;
      while (i < keyWords && words[at + i] === probe[i]) i++;
      if (i === keyWords) return at;
    }
  }

  /** Offset of the entry whose key is `probe`; made with value words 0 when absent. Earlier offsets may be invalid after it. */
  insert(): number {
    const found = this.find();
    if (found >= 0) return found;
    if ((this.filled + 1) * 3 > (this.mask + 1) * 2) this.rehash();
    const { probe, words, state, mask, keyWords, stride } = this;
    let slot = hash(probe, 0, keyWords) & mask;
    while (state[slot] === USED) slot = (slot + 1) & mask;
    if (state[slot] === EMPTY) this.filled++;
    state[slot] = USED;
    this.size++;
    const at = slot * stride;
    words.fill(0, at, at + stride);
    words.set(probe, at);
    return at;
  }

  /** Removes the entry at an offset. */
  removeAt(at: number): void {
    this.state[at / this.stride] = DELETED;
    this.size--;
  }

  private rehash(): void {
    const { words, state, stride, keyWords } = this;
    let capacity = 16;
    while (capacity < this.size * 3) capacity *= 2;
    this.mask = capacity - 1;
    this.words = new Int32Array(capacity * stride);
    this.state = new Uint8Array(capacity);
    this.filled = this.size;
    for (let old = 0; old < state.length; old++) {
      if (state[old] !== USED) continue;
      let slot = hash(words, old * stride, keyWords) & this.mask;
      while (this.state[slot] === USED) slot = (slot + 1) & this.mask;
      this.state[slot] = USED;
      for (let i = 0; i < stride; i++) this.words[slot * stride + i] = words[old * stride + i];
    }
  }
}

function hash(words: Int32Array, at: number, count: number): number {
  let h = count;
  for (let i = 0; i < count; i++) {
    h = Math.imul(h ^ words[at + i], 0x85ebca6b);
    h ^= h >>> 15;
  }
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}
