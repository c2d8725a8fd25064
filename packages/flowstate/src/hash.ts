/**
 * Two hashes over words. The first finds table slots and has a secret seed, because tenants choose the addresses and ports
 * that it hashes. The second names a record the same on every host.
 */
import { MAPPED_WORD } from './words.ts';

/** Places of words that follow each other. */
const CONSECUTIVE = Int32Array.from({ length: 16 }, (_, i) => i);
/** Places in a tuple of what differs between IPv4 packets: first word, ports, and the last word of each address. */
const V4_WORDS = Int32Array.of(0, 1, 5, 9);

/**
 * HalfSipHash-1-3 (Aumasson and Bernstein; the variant for hash tables) over `count` words, at most 16, to 32 bits.
 * @param k0,k1 the 64-bit secret
 */
export function keyedHash(words: Int32Array, at: number, count: number, k0: number, k1: number): number {
  return hashPlaces(words, at, CONSECUTIVE, count, k0, k1);
}

/** {@link keyedHash} of a tuple of ten words (tuple.ts); of an IPv4 one, over the four words that are not constant. */
export function tupleHash(words: Int32Array, at: number, k0: number, k1: number): number {
  const v4 = words[at + 4] === MAPPED_WORD && words[at + 8] === MAPPED_WORD;
  if (!v4 || (words[at + 2] | words[at + 3] | words[at + 6] | words[at + 7]) !== 0)
    return hashPlaces(words, at, CONSECUTIVE, 10, k0, k1);
  return hashPlaces(words, at, V4_WORDS, 4, k0, k1);
}

/** Over the words at the first `count` of `places`, counted from `at`. */
function hashPlaces(words: Int32Array, at: number, places: Int32Array, count: number, k0: number, k1: number): number {
  let v0 = k0 | 0;
  let v1 = k1 | 0;
  let v2 = k0 ^ 0x6c796765;
  let v3 = k1 ^ 0x74656462;
  const last = count + 4;
  for (let i = 0; i < last; i++) {
    const m = i < count ? words[at + places[i]] : i === count ? count << 26 : 0;
    if (i === count + 1) v2 ^= 0xff;
    v3 ^= m;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
  }
  return v1 ^ v3;
}

/** One step of a public hash: mixes a word into a running value. */
export function mixWord(h: number, word: number): number {
  h = Math.imul(h ^ Math.imul(word, 0xcc9e2d51), 0x1b873593);
  h = (h << 13) | (h >>> 19);
  return (Math.imul(h, 5) + 0xe6546b64) | 0;
}

/** Spreads the bits of a running value; the last step. */
export function finish(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
