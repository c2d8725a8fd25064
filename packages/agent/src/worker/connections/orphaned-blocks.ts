/**
 * Blocks of NAT ports whose host is gone while connections go on that it began: their port moved here before. Such a block would go to somebody
 * else once it has cooled. So the host where the port is now takes it over, and with the next packets the connections that stand on it. No new
 * port is chosen from it: connections that are not known here may stand on the others, and who is believed gone may choose there still.
 */
import { BLOCK_PORTS, type FlowStateTable, R_INGRESS, RECORD_WORDS, wordsToAddress } from '@weft/flowstate';
import { ipFormat } from '@weft/packet';
import type { NatBlock, NatPools } from './nat-pools.ts';

/** Records looked at per tick. */
const STEP = 4_096;
/** Between two looks at all of them, ms: a connection's longest silence and this are less than a block cools. */
const ROUND_MS = 30_000;
/** Most blocks asked for at once. */
const MOST_BLOCKS = 512;

export interface OrphanedBlocksOptions {
  readonly table: FlowStateTable;
  readonly pools: Pick<NatPools, 'holds'>;
  /** Whether a port (its number) is live on this host. */
  readonly isHere: (port: number) => boolean;
  /** Whether a host (its number) has not been heard for so long that it may be gone. */
  readonly isSilent: (host: number) => boolean;
  /** Asks the state database to let this host have blocks that nobody holds any more; those that it gets are given to `NatPools.keep`. */
  readonly keepBlocks: (blocks: readonly NatBlock[]) => void;
  /** Makes this host the owner of a record. */
  readonly takeOver: (record: number) => void;
}

export class OrphanedBlocks {
  private readonly options: OrphanedBlocksOptions;
  /** By record: a packet was seen here since the last look at it. */
  private readonly seenHere: Uint8Array;
  /** By number in the BlockTable: what is to be asked for after this round. */
  private readonly wanted = new Map<number, NatBlock>();
  private hand = -1;
  private nextRound = 0;
  private readonly address = new Int32Array(4);
  private readonly bytes = new Uint8Array(16);

  constructor(options: OrphanedBlocksOptions) {
    this.options = options;
    this.seenHere = new Uint8Array(options.table.capacity);
  }

  /** A packet of a connection was seen on this host. */
  seen(record: number): void {
    this.seenHere[record] = 1;
  }

  /** About every 50 ms. @param now of the worker's clock */
  tick(now: number): void {
    if (this.hand < 0) {
      if (now < this.nextRound) return;
      this.nextRound = now + ROUND_MS;
      this.hand = 0;
    }
    const { table } = this.options;
    for (let n = 0; n < STEP; n++) {
      const record = table.nextRecord(this.hand);
      if (record < 0) {
        this.ask();
        return;
      }
      this.hand = record + 1;
      if (this.seenHere[record] === 0) continue;
      this.seenHere[record] = 0;
      this.look(record);
    }
  }

  private look(record: number): void {
    const { table, pools, isHere, isSilent, takeOver } = this.options;
    const n = table.block(record);
    if (n === 0 || !table.isVisible(record)) return;
    const owner = table.owner(record);
    const isOwn = owner === table.self;
    if (!isOwn && !isSilent(owner)) return;
    if (!isHere(table.words[record * RECORD_WORDS + R_INGRESS])) return;
    const block = this.wanted.get(n) ?? this.blockOf(n);
    if (!pools.holds(block)) this.wanted.set(n, block);
    else if (!isOwn) takeOver(record);
  }

  private ask(): void {
    this.hand = -1;
    if (this.wanted.size > 0) this.options.keepBlocks([...this.wanted.values()].slice(0, MOST_BLOCKS));
    this.wanted.clear();
  }

  private blockOf(n: number): NatBlock {
    const { blocks, uuids } = this.options.table;
    blocks.address(n, this.address, 0);
    wordsToAddress(this.address, 0, this.bytes, 0);
    return {
      pool: `nat/${uuids.text(blocks.deviceOf(n))}/${ipFormat(this.bytes)}`,
      index: blocks.firstPort(n) / BLOCK_PORTS,
      token: blocks.token(n),
    };
  }
}
