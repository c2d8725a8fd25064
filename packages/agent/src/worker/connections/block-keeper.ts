/**
 * Keeps which blocks of NAT ports this host holds for its next process, which may start while the state database is away. They
 * are believed only for as long as nobody else can have got them meanwhile.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { NatBlock, NatPools } from './nat-pools.ts';

/** What was written last, and how long ago in ms; null: nothing that can be believed. */
export interface BlockStore {
  load(): { readonly blocks: readonly NatBlock[]; readonly ageMs: number } | null;
  save(blocks: readonly NatBlock[]): void;
}

/** Blocks cool for longer than this before others get them. */
const BELIEVED_MS = 3_600_000;
/** Written also when nothing changed: they were held until then. */
const REFRESH_MS = 60_000;

export class BlockKeeper {
  private readonly pools: NatPools;
  private readonly store: BlockStore | undefined;
  private readonly clock: () => number;
  private written = '';
  private nextRefresh = 0;
  private lastTick: number;

  constructor(pools: NatPools, store: BlockStore | undefined, clock: () => number) {
    this.pools = pools;
    this.store = store;
    this.clock = clock;
    this.lastTick = clock();
  }

  restore(): void {
    const kept = this.store?.load() ?? null;
    if (kept !== null && kept.ageMs < BELIEVED_MS) this.pools.confirm(kept.blocks);
  }

  tick(now: number): void {
    // Whoever slept for so long may have been given up.
    if (now - this.lastTick > BELIEVED_MS) this.pools.forgetHeld();
    this.lastTick = now;
    const text = JSON.stringify(this.pools.list());
    if (text !== this.written || now >= this.nextRefresh) this.save(now);
  }

  save(now = this.clock()): void {
    const blocks = this.pools.list();
    this.written = JSON.stringify(blocks);
    this.nextRefresh = now + REFRESH_MS;
    try {
      this.store?.save(blocks);
    } catch {
      // Without it a start while the store is away has no ports until the store is back.
    }
  }
}

/** Keeps them in a file. @param boot the kernel's boot id: the clock of another boot says nothing @param clock CLOCK_MONOTONIC, ms */
export function fileBlockStore(path: string, boot: string, clock: () => number): BlockStore {
  return {
    load() {
      try {
        const kept = JSON.parse(readFileSync(path, 'utf8')) as { boot: string; at: number; blocks: NatBlock[] };
        const ageMs = clock() - kept.at;
        // A negative or unknown age is none that this boot's clock can have written.
        if (kept.boot !== boot || !(ageMs >= 0) || !Array.isArray(kept.blocks) || !kept.blocks.every(isBlock))
          return null;
        return { blocks: kept.blocks, ageMs };
      } catch {
        return null;
      }
    },
    save(blocks) {
      writeFileSync(`${path}.new`, JSON.stringify({ boot, at: clock(), blocks }), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}

function isBlock(block: Partial<NatBlock> | null): boolean {
  const { pool, index, token } = block ?? {};
  return typeof pool === 'string' && Number.isInteger(index) && Number.isInteger(token);
}
