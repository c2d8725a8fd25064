import { finish, mixWord } from './hash.ts';

/** Buckets of a digest. */
export const DIGEST_BUCKETS = 64;
/** Words of a digest: two per bucket. */
export const DIGEST_WORDS = DIGEST_BUCKETS * 2;

/** Bucket of a record, by the first word of its name. */
export function digestBucket(name: number): number {
  return name & (DIGEST_BUCKETS - 1);
}

/** One of the two words (`which` 0 or 1) that a version of a record adds to its bucket. */
export function digestWord(which: number, name0: number, name1: number, epoch: number, version: number): number {
  const h = mixWord(mixWord(mixWord(name0, name1), epoch), version);
  return finish(which === 0 ? h : mixWord(h, name1));
}

interface Digest {
  readonly sums: Int32Array;
  count: number;
}

/**
 * Sums over sets of records, one per host: for each bucket the sum, modulo 2^64 as two words, of a hash of
 * (name of the record, epoch, version). The order does not matter, and what is taken away leaves no trace. Two hosts that hold the same
 * versions have the same 64 sums; where they differ, the buckets say where to look.
 */
export class DigestSet {
  private readonly digests = new Map<number, Digest>();

  /**
   * Adds (`sign` 1) or takes away (-1) a record from the digest of `host`.
   * @param bucket of the record: {@link digestBucket}
   * @param word0,word1 its hash: {@link digestWord}
   */
  change(host: number, bucket: number, word0: number, word1: number, sign: 1 | -1): void {
    let digest = this.digests.get(host);
    if (digest === undefined) {
      digest = { sums: new Int32Array(DIGEST_WORDS), count: 0 };
      this.digests.set(host, digest);
    }
    const { sums } = digest;
    sums[bucket * 2] = (sums[bucket * 2] + Math.imul(sign, word0)) | 0;
    sums[bucket * 2 + 1] = (sums[bucket * 2 + 1] + Math.imul(sign, word1)) | 0;
    digest.count += sign;
  }

  /** The sums of a host: {@link DIGEST_WORDS} words, all 0 when nothing is in it. Read only. */
  of(host: number): Int32Array {
    return this.digests.get(host)?.sums ?? ZERO;
  }

  /** How many records are in the digest of a host. */
  count(host: number): number {
    return this.digests.get(host)?.count ?? 0;
  }

  /** Hosts that have records here. */
  hosts(): number[] {
    return [...this.digests].filter(([, { count }]) => count > 0).map(([host]) => host);
  }

  /** Forgets digests without records. */
  prune(): void {
    for (const [host, { count }] of this.digests) if (count === 0) this.digests.delete(host);
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
