/**
 * Internet checksums four bytes at a time, for what is summed once per segment of a transfer. Same results as `sumBytes` of
 * `@weft/packet`, which reads two bytes and works at any address.
 *
 * Words are read in this machine's order, which is little-endian wherever Node runs; the sum of swapped words is the swapped
 * sum (RFC 1071 §2 B).
 */

/** One buffer as halfwords and words. */
export interface Words {
  readonly halves: Uint16Array;
  readonly words: Int32Array;
}

/** @param bytes begins at a multiple of 4 in its buffer and is a multiple of 4 long */
export function wordsOf(bytes: Uint8Array): Words {
  return {
    halves: new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 1),
    words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2),
  };
}

/**
 * Folded sum of `length` bytes (at most 65,535) from the even offset `at` on, plus `sum`. In this machine's order:
 * `swap16` makes it the network's.
 * @param sum of the same order, below 2^24
 */
export function sumWords({ halves, words }: Words, at: number, length: number, sum = 0): number {
  const end = at + (length & ~1);
  let i = at;
  let low = sum;
  let high = 0;
  if (i & 2 && i < end) {
    low += halves[i >>> 1];
    i += 2;
  }
  const last = end >>> 2;
  let k = i >>> 2;
  for (; k + 3 < last; k += 4) {
    const a = words[k];
    const b = words[k + 1];
    const c = words[k + 2];
    const d = words[k + 3];
    low += (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff);
    high += (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16);
  }
  for (; k < last; k++) {
    const a = words[k];
    low += a & 0xffff;
    high += a >>> 16;
  }
  i = Math.max(i, k << 2);
  if (i < end) low += halves[i >>> 1];
  // The last byte of an odd number is the first, low one of a halfword whose other byte is 0.
  if (length & 1) low += halves[end >>> 1] & 0xff;
  return fold(fold(low) + fold(high));
}

function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

export function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

/**
 * Folded sum of an L4 packet of `length` bytes and its pseudo-header, in this machine's order; 0xffff when its checksum is right.
 * @param l3 where the IP header begins, @param l4 the L4 header; both even
 */
export function sumL4(w: Words, l3: number, l4: number, length: number, ipv4: boolean, proto: number): number {
  const addresses = ipv4 ? sumWords(w, l3 + 12, 8) : sumWords(w, l3 + 8, 32);
  return sumWords(w, l4, length, addresses + swap16(length) + (proto << 8));
}
