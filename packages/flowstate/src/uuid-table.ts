import { finish, keyedHash, mixWord } from './hash.ts';
import { SlotIndex } from './slot-index.ts';
import { wordAt, wordsToAddress } from './words.ts';

/** Words of an entry: the UUID, its check word, one to spare. */
const STRIDE = 6;

/** Bytes of memory that hold `capacity` UUIDs. */
export function uuidTableBytes(capacity: number): number {
  return (capacity + 1) * STRIDE * 4;
}

/**
 * Small numbers for UUIDs: devices, ports, rules and hosts, in one space from 1 to `capacity`; 0 is the all-zero UUID, "none".
 * Numbers mean something on this host only.
 *
 * A number stays while something retains it; the numbers that nothing retains are given back by {@link reclaim}. So a
 * number that was just interned is good until the next `reclaim`, and who keeps one longer retains it.
 */
export class UuidTable {
  readonly capacity: number;
  /** How many numbers are in use. */
  size = 0;
  private readonly words: Int32Array;
  private readonly index: SlotIndex;
  private readonly references: Int32Array;
  private readonly used: Uint8Array;
  private readonly names: Int32Array;
  private readonly probe = new Int32Array(4);
  private readonly k0: number;
  private readonly k1: number;
  /** Where the search for a free number goes on. */
  private hand = 1;

  /**
   * @param region memory of {@link uuidTableBytes}, which may hold the entries of an earlier life: see {@link adopt}
   * @param k0,k1 secret of the index
   */
  constructor(capacity: number, region: ArrayBufferLike, byteOffset: number, k0: number, k1: number) {
    this.capacity = capacity;
    this.words = new Int32Array(region, byteOffset, (capacity + 1) * STRIDE);
    this.index = new SlotIndex(capacity);
    this.references = new Int32Array(capacity + 1);
    this.used = new Uint8Array(capacity + 1);
    this.names = new Int32Array((capacity + 1) * 2);
    this.k0 = k0;
    this.k1 = k1;
  }

  /** Takes over the entries that the memory holds and that are whole. */
  adopt(): void {
    for (let n = 1; n <= this.capacity; n++) {
      const at = n * STRIDE;
      const { words } = this;
      if ((words[at] | words[at + 1] | words[at + 2] | words[at + 3]) === 0) continue;
      if (words[at + 4] !== this.check(at)) continue;
      for (let i = 0; i < 4; i++) this.probe[i] = words[at + i];
      if (this.lookUp() === 0) this.enter(n);
    }
  }

  /** Number of the UUID at `bytes[offset … +16]`, made if need be; 0 for the all-zero UUID, and if the table is full. */
  intern(bytes: Uint8Array, offset = 0): number {
    const found = this.find(bytes, offset);
    if (found !== 0 || !this.probeIsSomething() || this.size >= this.capacity) return found;
    let n = this.hand;
    while (this.used[n] !== 0) n = n === this.capacity ? 1 : n + 1;
    this.hand = n;
    const at = n * STRIDE;
    for (let i = 0; i < 4; i++) this.words[at + i] = this.probe[i];
    this.words[at + 4] = this.check(at);
    this.enter(n);
    return n;
  }

  /** Number of a UUID, or 0 if it has none. */
  find(bytes: Uint8Array, offset = 0): number {
    for (let i = 0; i < 4; i++) this.probe[i] = wordAt(bytes, offset + i * 4);
    return this.lookUp();
  }

  /** Whether `n` stands for a UUID now. */
  has(n: number): boolean {
    return n > 0 && n <= this.capacity && this.used[n] !== 0;
  }

  /** Writes the UUID of a number as 16 bytes. */
  write(n: number, out: Uint8Array, offset = 0): void {
    wordsToAddress(this.words, n * STRIDE, out, offset);
  }

  /** The UUID of a number in its usual form, '' for 0. Allocates. */
  text(n: number): string {
    if (n === 0) return '';
    const bytes = new Uint8Array(16);
    this.write(n, bytes);
    const hex = Buffer.from(bytes).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  /** Order of two UUIDs that is the same on every host: negative, 0 or positive. */
  compare(a: number, b: number): number {
    if (a === b) return 0;
    const { words } = this;
    for (let i = 0; i < 4; i++) {
      const x = words[a * STRIDE + i] >>> 0;
      const y = words[b * STRIDE + i] >>> 0;
      if (x !== y) return x < y ? -1 : 1;
    }
    return 0;
  }

  /** One of two words (`which` 0 or 1) that stand for the UUID on every host alike. */
  name(n: number, which: number): number {
    return this.names[n * 2 + which];
  }

  retain(n: number): void {
    this.references[n]++;
  }

  release(n: number): void {
    this.references[n]--;
  }

  /** Gives back the numbers that nothing retains. Returns how many. */
  reclaim(): number {
    let given = 0;
    for (let n = 1; n <= this.capacity; n++) {
      if (this.used[n] === 0 || this.references[n] > 0) continue;
      const at = n * STRIDE;
      this.index.remove(this.hash(this.words, at), n);
      this.words.fill(0, at, at + STRIDE);
      this.used[n] = 0;
      given++;
    }
    this.size -= given;
    return given;
  }

  private probeIsSomething(): boolean {
    const { probe } = this;
    return (probe[0] | probe[1] | probe[2] | probe[3]) !== 0;
  }

  private hash(words: Int32Array, at: number): number {
    return keyedHash(words, at, 4, this.k0, this.k1);
  }

  private lookUp(): number {
    const { index, probe, words } = this;
    const { pairs } = index;
    const hash = this.hash(probe, 0);
    for (let i = index.first(hash); pairs[i + 1] !== 0; i = index.next(i)) {
      if (pairs[i] !== hash) continue;
      const at = (pairs[i + 1] - 1) * STRIDE;
      if (
        words[at] === probe[0] &&
        words[at + 1] === probe[1] &&
        words[at + 2] === probe[2] &&
        words[at + 3] === probe[3]
      ) {
        return pairs[i + 1] - 1;
      }
    }
    return 0;
  }

  private enter(n: number): void {
    const { words, names } = this;
    const at = n * STRIDE;
    this.index.add(this.hash(words, at), n);
    this.used[n] = 1;
    this.references[n] = 0;
    this.size++;
    let a = 0x9e3779b9 | 0;
    let b = 0x7f4a7c15;
    for (let i = 0; i < 4; i++) {
      a = mixWord(a, words[at + i]);
      b = mixWord(b ^ a, words[at + i]);
    }
    names[n * 2] = finish(a);
    names[n * 2 + 1] = finish(b);
  }

  private check(at: number): number {
    let h = 0x57465455;
    for (let i = 0; i < 4; i++) h = mixWord(h, this.words[at + i]);
    return finish(h);
  }
}
