import { blockTableBytes } from './block-table.ts';
import { FlowStateError, needInteger } from './errors.ts';
import { RECORD_WORDS } from './record.ts';
import type { Timeouts } from './timeouts.ts';
import { MAX_DEVICE } from './tuple.ts';
import { uuidTableBytes } from './uuid-table.ts';
import { wordAt } from './words.ts';

const MAGIC = 0x53464657;
/** Changes with every layout of what is kept in the memory. */
const LAYOUT = 1;
const HEADER_WORDS = 16;
const H_HIGH_WATER = 5;

/** Settings of a table. */
export interface TableOptions {
  /** UUID of this host, 16 bytes. */
  readonly self: Uint8Array;
  /**
   * Incarnation of this agent, from 1: greater than any it had before, also after its state was lost. Recommended: the greater of
   * the last one + 1 and the Unix time in seconds.
   */
  readonly incarnation: number;
  /** Most records, tombstones included. */
  readonly capacity: number;
  /** Now, in milliseconds of a steady clock. All times given later are of this clock. */
  readonly now: number;
  /** Most different devices, ports, rules and hosts. Default 65,536. */
  readonly uuids?: number;
  /** Most blocks of NAT ports known. Default 16,384. */
  readonly blocks?: number;
  /** Most removals remembered at a time. Default a quarter of `capacity`. */
  readonly tombstones?: number;
  /** Most records that a port of this host can cause. Default 65,536. */
  readonly portCap?: number;
  readonly timeouts?: Partial<Timeouts>;
  /** Milliseconds of a bucket of the timer wheel: how late a record may expire. Default 1,000. */
  readonly tick?: number;
  /** Buckets of the timer wheel. Default 4,096. */
  readonly wheelSlots?: number;
  /** Secret of the hash indexes, two random 32-bit words: tenants choose what is hashed. Taken from the memory if it has one. */
  readonly seed: readonly [number, number];
  /** Memory of {@link regionBytes}, 8-byte aligned: a mapped file, so that records outlive the agent. Default: its own. */
  readonly region?: ArrayBufferLike;
  readonly regionOffset?: number;
  /** 16 bytes that name the run of the clock (the kernel's boot id): records of another run are not taken over. */
  readonly clock?: Uint8Array;
}

/** The settings with their defaults, checked. */
export interface Sizes {
  readonly capacity: number;
  readonly uuids: number;
  readonly blocks: number;
}

/** @throws FlowStateError */
export function sizesOf(options: Pick<TableOptions, 'capacity' | 'uuids' | 'blocks'>): Sizes {
  const { capacity, uuids = 65_536, blocks = 16_384 } = options;
  needInteger('capacity', capacity, 1, 1 << 24);
  needInteger('uuids', uuids, 1, MAX_DEVICE);
  needInteger('blocks', blocks, 1, 1 << 20);
  return { capacity, uuids, blocks };
}

/** Rounds up to the 8 bytes at which records must stand. */
function align(bytes: number): number {
  return (bytes + 7) & ~7;
}

/** Bytes of memory that a table with these settings keeps its records in. */
export function regionBytes(options: Pick<TableOptions, 'capacity' | 'uuids' | 'blocks'>): number {
  const sizes = sizesOf(options);
  return (
    align(HEADER_WORDS * 4 + uuidTableBytes(sizes.uuids) + blockTableBytes(sizes.blocks)) +
    sizes.capacity * RECORD_WORDS * 4
  );
}

/** The memory of a table: where its parts stand, and whether it held a table of the same shape, host and run of the clock. */
export class Memory {
  readonly region: ArrayBufferLike;
  readonly uuidsAt: number;
  readonly blocksAt: number;
  readonly recordsAt: number;
  /** It holds what an earlier life left. */
  readonly inherited: boolean;
  readonly k0: number;
  readonly k1: number;
  private readonly header: Int32Array;

  constructor(options: TableOptions, sizes: Sizes) {
    const bytes = regionBytes(options);
    const offset = options.regionOffset ?? 0;
    this.region = options.region ?? new ArrayBuffer(bytes);
    if (offset % 8 !== 0 || this.region.byteLength < offset + bytes) {
      throw new FlowStateError(
        'WEFT_FLOWSTATE_REGION',
        `A table of ${sizes.capacity} records needs ${bytes} bytes, aligned to 8, not ${this.region.byteLength - offset} at ${offset}.`,
      );
    }
    this.uuidsAt = offset + HEADER_WORDS * 4;
    this.blocksAt = this.uuidsAt + uuidTableBytes(sizes.uuids);
    this.recordsAt = offset + bytes - sizes.capacity * RECORD_WORDS * 4;
    this.header = new Int32Array(this.region, offset, HEADER_WORDS);
    const wanted = [MAGIC, LAYOUT, sizes.capacity, sizes.uuids, sizes.blocks];
    const names = [...words16(options.clock), ...words16(options.self)];
    this.inherited =
      wanted.every((word, i) => this.header[i] === word) && names.every((word, i) => this.header[8 + i] === word);
    if (!this.inherited) {
      if (options.region !== undefined) new Uint8Array(this.region, offset, bytes).fill(0);
      this.header.set(names, 8);
      this.header[6] = options.seed[0];
      this.header[7] = options.seed[1];
      this.header.set(wanted);
    }
    this.k0 = this.header[6];
    this.k1 = this.header[7];
  }

  /** Records at and behind this number were never used. */
  get highWater(): number {
    return this.header[H_HIGH_WATER];
  }
  set highWater(value: number) {
    this.header[H_HIGH_WATER] = value;
  }
}

function words16(bytes: Uint8Array | undefined): number[] {
  return [0, 4, 8, 12].map((at) => (bytes === undefined ? 0 : wordAt(bytes, at)));
}
