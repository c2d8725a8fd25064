/** The state database's part in blocks of NAT ports, for tests: each block is one host's at a time, with a token that rises. */
import type { NatBlock } from '../worker/connections/nat-pools.ts';

export class BlockBank {
  /** By pool, then index. */
  private readonly pools = new Map<string, Map<number, { host: string | null; token: number }>>();
  private readonly perPool: number;

  /** @param perPool blocks that a pool has at most, over all hosts */
  constructor(perPool = Number.POSITIVE_INFINITY) {
    this.perPool = perPool;
  }

  /** The first free ones of a range. */
  take(host: string, pool: string, first: number, last: number, count: number): NatBlock[] {
    const known = this.pools.get(pool) ?? new Map<number, { host: string | null; token: number }>();
    this.pools.set(pool, known);
    const out: NatBlock[] = [];
    let taken = 0;
    for (const one of known.values()) if (one.host !== null) taken++;
    for (let index = first; index <= last && out.length < count && taken < this.perPool; index++) {
      const one = known.get(index);
      if (one !== undefined && one.host !== null) continue;
      const token = (one?.token ?? 0) + 1;
      known.set(index, { host, token });
      out.push({ pool, index, token });
      taken++;
    }
    return out;
  }

  give(host: string, blocks: readonly NatBlock[]): void {
    for (const { pool, index, token } of blocks) {
      const one = this.pools.get(pool)?.get(index);
      if (one?.host === host && one.token === token) one.host = null;
    }
  }

  /** A host is given up: what it held is free, to be given under another token. */
  giveUp(host: string): void {
    for (const pool of this.pools.values()) for (const one of pool.values()) if (one.host === host) one.host = null;
  }

  heldBy(host: string): NatBlock[] {
    const out: NatBlock[] = [];
    for (const [pool, known] of this.pools) {
      for (const [index, one] of known) if (one.host === host) out.push({ pool, index, token: one.token });
    }
    return out;
  }
}
