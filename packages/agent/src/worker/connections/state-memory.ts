/**
 * The memory that connections outlive the agent in: a file on the run directory's tmpfs, mapped. What it holds is believed as far as its
 * check words and the kernel's boot id say so; a file of another size is made anew.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync } from 'node:fs';
import { FlowStateTable, regionBytes, type TableOptions, type Timeouts } from '@weft/flowstate';
import { NativeBuffer } from '@weft/sys';
import { uuidBytes } from './numbers.ts';

/** The kernel's boot id, a UUID. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

export interface StateMemoryOptions {
  readonly file: string;
  readonly hostId: string;
  readonly incarnation: number;
  readonly capacity: number;
  readonly portCap: number;
  readonly timeouts: Partial<Timeouts>;
  /** CLOCK_MONOTONIC, ms. */
  readonly now: number;
  /** Two random words. */
  readonly seed: readonly [number, number];
}

/** Opens the table over the file. @throws SysError if it cannot be mapped */
export function openStateTable(options: StateMemoryOptions): { table: FlowStateTable; close(): void } {
  const { capacity, hostId, incarnation, portCap, timeouts, now, seed } = options;
  const shape: TableOptions = {
    self: uuidBytes(hostId),
    incarnation,
    capacity,
    portCap,
    timeouts,
    now,
    seed,
    clock: uuidBytes(bootId()),
  };
  const bytes = regionBytes(shape);
  const fd = openSync(options.file, 'a+', 0o600);
  try {
    if (fstatSync(fd).size !== bytes) {
      ftruncateSync(fd, 0);
      ftruncateSync(fd, bytes);
    }
    const memory = NativeBuffer.mapFd(fd, bytes);
    const table = new FlowStateTable({ ...shape, region: memory.bytes.buffer });
    return { table, close: () => memory.close() };
  } finally {
    closeSync(fd);
  }
}
