import { finish, mixWord } from './hash.ts';

/** Buckets of a digest. */
export const DIGEST_BUCKETS = 64;
/** Words of a digest: two per bucket. */
export const DIGEST_WORDS = DIGEST_BUCKETS * 2;

/** Bucket of a record, by the first word of its name. */
export function digestBucket(name: number): number {
  return name & (DIGEST_BUCKETS - 1);
}

/**
 * Sums over sets of records, one per host: for each bucket the sum, modulo 2^64 as two words, of a hash of
 * (name of the record, epoch, version). The order does not matter, and what is taken away leaves no trace. Two hosts that hold the same
 * versions have the same 64 sums; where they differ, the buckets say where to look.
 */
export class DigestSet {
  private readonly sums = new Map<number, Int32Array>();
  private readonly counts = new Map<number, number>();

  /** Adds (`sign` 1) or takes away (-1) a record from the digest of `host`. */
  change(host: number, name0: number, name1: number, epoch: number, version: number, sign: 1 | -1): void {
    let sums = this.sums.get(host);
    if (sums === undefined) {
      sums = new Int32Array(DIGEST_WORDS);
      this.sums.set(host, sums);
    }
    const h = mixWord(mixWord(mixWord(name0, name1), epoch), version);
    const at = digestBucket(name0) * 2;
    sums[at] += Math.imul(finish(h), sign);
    sums[at + 1] += Math.imul(finish(mixWord(h, name1)), sign);
    this.counts.set(host, (this.counts.get(host) ?? 0) + sign);
  }

  /** The sums of a host: {@link DIGEST_WORDS} words, all 0 when nothing is in it. Read only. */
  of(host: number): Int32Array {
    return this.sums.get(host) ?? ZERO;
  }

  /** How many records are in the digest of a host. */
  count(host: number): number {
    return this.counts.get(host) ?? 0;
  }

  /** Hosts that have records here. */
  hosts(): number[] {
    return [...this.counts].filter(([, count]) => count > 0).map(([host]) => host);
  }

  /** Forgets digests without records. */
  prune(): void {
    for (const [host, count] of this.counts) {
      if (count > 0) continue;
      this.counts.delete(host);
      this.sums.delete(host);
    }
  }
}

const ZERO = new Int32Array(DIGEST_WORDS);

/** Bit set (two words) of the buckets in which two digests differ; both 0 if they agree. */
export function differingBuckets(a: Int32Array, b: Int32Array, out: Int32Array): boolean {
  out[0] = 0;
  out[1] = 0;
  for (let i = 0; i < DIGEST_BUCKETS; i++) {
    if (a[i * 2] !== b[i * 2] || a[i * 2 + 1] !== b[i * 2 + 1]) out[i >>> 5] |= 1 << (i & 31);
  }
  return (out[0] | out[1]) !== 0;
}
