/**
 * Bytes and 32-bit words. Tables keep addresses and UUIDs as words that hold the bytes in memory order, which on every
 * machine that Weft runs on (x86_64, aarch64) is the little-endian reading; so the same bytes are the same words on all hosts.
 */

/** The four bytes at `offset` as a word, first byte lowest. */
export function wordAt(bytes: Uint8Array, offset: number): number {
  return bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24);
}

/** The inverse of {@link wordAt}. */
export function putWord(bytes: Uint8Array, offset: number, word: number): void {
  bytes[offset] = word;
  bytes[offset + 1] = word >>> 8;
  bytes[offset + 2] = word >>> 16;
  bytes[offset + 3] = word >>> 24;
}

/** The third word of an IPv4-mapped address (bytes 8…11: 0, 0, 0xff, 0xff); the first two are 0. */
export const MAPPED_WORD = 0xffff0000 | 0;

/** Whether the four words at `at` are an IPv4-mapped address. */
export function wordsAreV4(words: Int32Array, at: number): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED_WORD;
}

/** Copies a 16-byte address into four words. */
export function addressToWords(bytes: Uint8Array, offset: number, words: Int32Array, at: number): void {
  for (let i = 0; i < 4; i++) words[at + i] = wordAt(bytes, offset + i * 4);
}

/** The inverse of {@link addressToWords}. */
export function wordsToAddress(words: Int32Array, at: number, bytes: Uint8Array, offset: number): void {
  for (let i = 0; i < 4; i++) putWord(bytes, offset + i * 4, words[at + i]);
}

/** The next power of two ≥ n (n ≤ 2^30). */
export function powerOfTwo(n: number): number {
  let p = 1;
  while (p < n) p *= 2;
  return p;
}
