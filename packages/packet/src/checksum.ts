import { setU16, u16 } from './bytes.ts';

/*
 * Internet checksum (RFC 1071), its pseudo-headers, and incremental updates (RFC 1624).
 * A *sum* is a running total of 16-bit words, unfolded, kept below 2^32 by folding; a *checksum* is what stands in the
 * packet: the complement of the folded sum.
 */

/** Adds the big-endian words of `len` bytes at `off` to `sum`; an odd last byte counts as the high half of a word. */
export function sumBytes(buf: Uint8Array, off: number, len: number, sum = 0): number {
  const even = off + (len & ~1);
  let i = off;
  let total = sum;
  // 16,384 words add less than 2^30: folding per block keeps V8 in small integers for super-packets too.
  while (i < even) {
    const stop = Math.min(even, i + 32_768);
    total = (total & 0xffff) + (total >>> 16);
    for (; i < stop; i += 2) total += (buf[i] << 8) | buf[i + 1];
  }
  if (len & 1) total += buf[even] << 8;
  return total;
}

/**
 * {@link sumBytes} of `len` bytes at `off` without the word at `hole` (an even distance from `off`): a checksum's own
 * field. Adding the field's complement instead would turn the sum of all-zero data from 0 into 0xffff.
 */
export function sumAround(buf: Uint8Array, off: number, len: number, hole: number, sum = 0): number {
  return sumBytes(buf, hole + 2, off + len - hole - 2, sumBytes(buf, off, hole - off, sum));
}

/** Folds a sum to 16 bits. */
export function sumFold(sum: number): number {
  let s = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  s = (s & 0xffff) + (s >>> 16);
  return (s & 0xffff) + (s >>> 16);
}

/** Checksum of a sum: the complement of its folding. */
export function checksumOf(sum: number): number {
  return ~sumFold(sum) & 0xffff;
}

/** RFC 1071 checksum of `len` bytes at `off`. Over data that contains its own right checksum it is 0. */
export function checksum(buf: Uint8Array, off: number, len: number): number {
  return checksumOf(sumBytes(buf, off, len));
}

/**
 * Sum of the IPv4 pseudo-header (RFC 9293 §3.1): the two 4-byte addresses that stand at `addrs`, protocol, L4 length.
 * @param addrs offset of the source address in an IPv4 header; the destination follows it
 */
export function pseudoSum4(buf: Uint8Array, addrs: number, protocol: number, length: number): number {
  return sumBytes(buf, addrs, 8, protocol + (length & 0xffff) + (length >>> 16));
}

/**
 * Sum of the IPv6 pseudo-header (RFC 8200 §8.1): the two 16-byte addresses that stand at `addrs`, L4 length, protocol.
 * With a routing header the destination is the final one: then the caller sums it itself.
 */
export function pseudoSum6(buf: Uint8Array, addrs: number, protocol: number, length: number): number {
  return sumBytes(buf, addrs, 32, protocol + (length & 0xffff) + (length >>> 16));
}

/**
 * Checksum after one 16-bit word of the data changed (RFC 1624 eqn. 3). Equal to a full computation unless all data
 * become zero (an ICMP echo reply with id, sequence and payload 0 is the one such packet): then it is 0, not 0xffff.
 */
export function checksumUpdate(check: number, oldWord: number, newWord: number): number {
  return checksumOf((~check & 0xffff) + (~oldWord & 0xffff) + newWord);
}

/** Adds to `delta` the change of one 16-bit word. A delta applies to any number of checksums of the same data. */
export function deltaWord(delta: number, oldWord: number, newWord: number): number {
  return sumFold(delta + (~oldWord & 0xffff) + newWord);
}

/** Adds to `delta` the change of `len` bytes (an even number, at an even place in the data). */
export function deltaBytes(
  delta: number,
  oldBuf: Uint8Array,
  oldOff: number,
  newBuf: Uint8Array,
  newOff: number,
  len: number,
): number {
  let total = delta;
  for (let i = 0; i < len; i += 2) total += (~u16(oldBuf, oldOff + i) & 0xffff) + u16(newBuf, newOff + i);
  return sumFold(total);
}

/** Checksum after a delta (0: unchanged). */
export function checksumApply(check: number, delta: number): number {
  return delta === 0 ? check : checksumOf((~check & 0xffff) + delta);
}

/**
 * UDP's version: 0 means "none" and stays, and a result of 0 is sent as 0xffff (RFC 768).
 */
export function udpChecksumApply(check: number, delta: number): number {
  if (check === 0) return 0;
  return checksumApply(check, delta) || 0xffff;
}

/**
 * Completes a partial checksum (CHECKSUM_PARTIAL, virtio's NEEDS_CSUM): the field holds the pseudo-header's folded sum;
 * afterwards it holds the checksum of everything from `start`.
 * @param start where summing begins (the L4 header); @param field offset of the checksum field from `start`
 * @param udp write 0xffff for 0
 */
export function checksumComplete(buf: Uint8Array, start: number, field: number, end: number, udp: boolean): void {
  const check = checksum(buf, start, end - start);
  setU16(buf, start + field, udp && check === 0 ? 0xffff : check);
}
