/**
 * Blocks of ports for source NAT, between the packet worker and the state database: requests, returns, and what this host holds, asked for
 * at each start and whenever the session was given up meanwhile.
 */
import { DEFAULT_TIMEOUTS, type Timeouts } from '@weft/flowstate';
import { type HostSession, isNsdbError } from '@weft/nsdb/client';
import type { Log } from '../events.ts';
import type { NatBlock } from '../worker/connections/nat-pools.ts';
import type { PacketWorker } from './packet-worker.ts';

const LOOK_MS = 1_000;
/** Beyond the longest idle time of a connection: what is on its way, and clocks that differ a little. */
const MARGIN_MS = 60_000;

export class NatBlocks {
  private readonly session: () => HostSession | null;
  private readonly worker: Pick<PacketWorker, 'granted' | 'blocks'>;
  private readonly log: Log;
  /** How long a block rests that nobody holds any more. */
  private readonly coolMs: number;
  /** Incarnation of the session whose holdings were told last. */
  private told = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    session: () => HostSession | null,
    worker: Pick<PacketWorker, 'granted' | 'blocks'>,
    timeouts: Partial<Timeouts>,
    log: Log,
  ) {
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
      if (isNsdbError(error, 'WEFT_OUTCOME_UNKNOWN')) this.told = 0;
      this.worker.granted(pool, null);
    }
  }

  async release(blocks: readonly NatBlock[]): Promise<void> {
    try {
      await this.session()?.release(blocks);
    } catch {
      // They stay this host's: the worker is told of them again, and gives them back again when they are idle.
      this.told = 0;
    }
  }

  private async look(): Promise<void> {
    const session = this.session();
    if (session === null || session.incarnation === this.told) return;
    const { incarnation } = session;
    try {
      this.worker.blocks(await session.allocations());
      this.told = incarnation;
    } catch {
      // The store is away: next time.
    }
  }
}
