/**
 * Blocks of ports for source NAT, between the packet worker and the state database: requests, returns, and what this host holds, asked for
 * at each start and whenever that may have changed without this host: its session was given up meanwhile, the database was restored.
 */
import { DEFAULT_TIMEOUTS, type Timeouts } from '@weft/flowstate';
import { type HostSession, isNsdbError, type Nsdb } from '@weft/nsdb/client';
import type { Log } from '../events.ts';
import type { NatBlock } from '../worker/connections/nat-pools.ts';
import type { PacketWorker } from './packet-worker.ts';

const LOOK_MS = 1_000;
/** Beyond the longest idle time of a connection: what is on its way, and clocks that differ a little. */
const MARGIN_MS = 60_000;

export class NatBlocks {
  private readonly nsdb: Pick<Nsdb, 'generation'>;
  private readonly session: () => HostSession | null;
  private readonly worker: Pick<PacketWorker, 'granted' | 'blocks' | 'kept'>;
  private readonly log: Log;
  /** How long a block rests that nobody holds any more. */
  private readonly coolMs: number;
  /** Generation of the database and incarnation of the session whose holdings were told last. */
  private told = '';
  /** Rises whenever an answer that is on its way may not be the last word: what was given back must not be held again. */
  private changes = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    nsdb: Pick<Nsdb, 'generation'>,
    session: () => HostSession | null,
    worker: Pick<PacketWorker, 'granted' | 'blocks' | 'kept'>,
    timeouts: Partial<Timeouts>,
    log: Log,
  ) {
    this.nsdb = nsdb;
    this.session = session;
    this.worker = worker;
    this.log = log;
    const { tombstone: _, sticky: __, ...idle } = { ...DEFAULT_TIMEOUTS, ...timeouts };
    this.coolMs = Math.ceil(Math.max(...Object.values(idle))) + MARGIN_MS;
  }

  start(): void {
    this.timer = setInterval(() => void this.look(), LOOK_MS);
    void this.look();
  }

  close(): void {
    clearInterval(this.timer);
  }

  async allocate(pool: string, first: number, last: number, count: number): Promise<void> {
    const session = this.session();
    try {
      const blocks = session === null ? null : await session.allocate(pool, { first, last }, count, this.coolMs);
      this.worker.granted(pool, blocks);
    } catch (error) {
      this.log('nat.refused', { pool, error: (error as Error).message });
      // What was taken although the answer was lost is in the next list.
      if (isNsdbError(error, 'WEFT_OUTCOME_UNKNOWN')) this.lookAgain();
      this.worker.granted(pool, null);
    }
  }

  async release(blocks: readonly NatBlock[]): Promise<void> {
    this.changes++;
    try {
      await this.session()?.release(blocks);
      this.changes++;
    } catch {
      // They stay this host's: the worker is told of them again, and gives them back again when they are idle.
      this.lookAgain();
    }
  }

  /** Takes over blocks that nobody holds any more. What is refused now is asked for again while connections stand on it. */
  async keep(blocks: readonly NatBlock[]): Promise<void> {
    try {
      const kept = (await this.session()?.keep(blocks)) ?? [];
      if (kept.length === 0) return;
      this.log('nat.kept', { blocks: kept.length });
      this.worker.kept(kept);
    } catch {
      // The store is away; what was taken although the answer was lost is in the next list.
      this.lookAgain();
    }
  }

  private lookAgain(): void {
    this.changes++;
    this.told = '';
  }

  private async look(): Promise<void> {
    const session = this.session();
    if (session === null || this.nameOf(session) === this.told) return;
    const name = this.nameOf(session);
    const { changes } = this;
    try {
      const blocks = await session.allocations();
      // Next time, unless nothing has changed meanwhile.
      if (this.changes !== changes || this.nameOf(session) !== name) return;
      this.worker.blocks(blocks);
      this.told = name;
    } catch {
      // The store is away: next time.
    }
  }

  private nameOf({ incarnation }: HostSession): string {
    return `${this.nsdb.generation}/${incarnation}`;
  }
}
