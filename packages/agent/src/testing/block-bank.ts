/** The state database's part in blocks of NAT ports, for tests: each block is one host's at a time, with a token that rises. */
import type { NatBlock } from '../worker/connections/nat-pools.ts';

interface Entry {
  host: string | null;
  readonly token: number;
  kept?: true;
}

export class BlockBank {
  /** By pool, then index. */
  private readonly pools = new Map<string, Map<number, Entry>>();
  private readonly perPool: number;

  /** @param perPool blocks that a pool has at most, over all hosts */
  constructor(perPool = Number.POSITIVE_INFINITY) {
    this.perPool = perPool;
  }

  /** The first free ones of a range. */
  take(host: string, pool: string, first: number, last: number, count: number): NatBlock[] {
    const known = this.pools.get(pool) ?? new Map<number, Entry>();
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

  /** Blocks that nobody holds, under the tokens that they have had. */
  keep(host: string, blocks: readonly NatBlock[]): NatBlock[] {
    return blocks.flatMap(({ pool, index, token }) => {
      const one = this.pools.get(pool)?.get(index);
      if (one?.token !== token || (one.host !== null && one.host !== host)) return [];
      if (one.host === null) Object.assign(one, { host, kept: true });
      return [{ pool, index, token, ...(one.kept ? { kept: true as const } : {}) }];
    });
  }

  /** A host is given up: what it held is free, to be given under another token. */
  giveUp(host: string): void {
    for (const pool of this.pools.values()) for (const one of pool.values()) if (one.host === host) one.host = null;
  }

  heldBy(host: string): NatBlock[] {
    const out: NatBlock[] = [];
    for (const [pool, known] of this.pools) {
      for (const [index, { host: holder, ...rest }] of known) if (holder === host) out.push({ pool, index, ...rest });
    }
    return out;
  }
}
