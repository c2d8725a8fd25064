/**
 * What the archive gives back, where this host knows nothing: of all its ports after a start without memory, of a port that has come from another
 * host. What is read counts like news of a peer. Packets of the port that miss something wait meanwhile, for a bounded time.
 */
import { ArchiveReader, ConnectionRecord, type FlowStateTable } from '@weft/flowstate';

/** So long packets wait for the archive at most; what it says later is taken in all the same. */
export const RESTORE_MS = 1_000;

/** A record of the archive. */
export interface Restored {
  /** As the archive got it. */
  readonly bytes: Uint8Array;
  /** Milliseconds until it expires. */
  readonly remaining: number;
}

export interface RestorerOptions {
  readonly table: FlowStateTable;
  /** Asks the archive for the records of a port (UUID). */
  readonly read: (port: string) => void;
  /** A record was taken in: see `ExchangeOptions.onApplied`. */
  readonly onApplied: (record: number, result: number) => void;
  /** Packets that wait for this may go on. */
  readonly wake: (need: string) => void;
}

interface Reading {
  readonly need: string;
  readonly deadline: number;
  /** Readings of the same port that are under way: it may have come, gone and come again. */
  left: number;
  held: boolean;
}

export class Restorer {
  private readonly options: RestorerOptions;
  private readonly reader: ArchiveReader;
  private readonly record = new ConnectionRecord();
  private readonly readings = new Map<string, Reading>();
  private lastNeed = 0;
  /** Records that were taken in, and those that were no news, fenced, or had no room. */
  applied = 0;
  refused = 0;
  /** Readings that failed, or were not over in time. */
  failed = 0;

  constructor(options: RestorerOptions) {
    this.options = options;
    this.reader = new ArchiveReader(options.table.uuids);
  }

  /** Reads what the archive has of a port. @param now on the clock of `tick` */
  begin(port: string, now: number): void {
    const before = this.readings.get(port);
    const left = (before?.left ?? 0) + 1;
    const need = before?.need ?? `r/${++this.lastNeed}`;
    this.readings.set(port, { need, deadline: now + RESTORE_MS, left, held: true });
    this.options.read(port);
  }

  /** Whether anything is being read that packets wait for: one look, for each packet. */
  get isHolding(): boolean {
    return this.readings.size > 0;
  }

  /** What a packet of a port that has missed something is to wait for; '': nothing. */
  needOf(port: string): string {
    const reading = this.readings.get(port);
    return reading?.held ? reading.need : '';
  }

  /** Whether a port's records are still being read. */
  isReading(port: string): boolean {
    return this.readings.has(port);
  }

  /** Some records of a port. */
  take(records: readonly Restored[], now: number): void {
    const { table, onApplied } = this.options;
    for (const { bytes, remaining } of records) {
      if (!this.reader.read(bytes, remaining, this.record)) {
        this.refused++;
        continue;
      }
      // Of others' records it is their owner who says the last word.
      const result = table.apply(this.record, now, this.record.owner !== table.self);
      if (result <= 0) this.refused++;
      else {
        this.applied++;
        onApplied(table.last, result);
      }
    }
  }

  /** A reading has ended. @param whole it has not failed */
  end(port: string, whole: boolean): void {
    const reading = this.readings.get(port);
    if (reading === undefined) return;
    if (!whole) this.failed++;
    if (--reading.left > 0) return;
    this.readings.delete(port);
    if (reading.held) this.options.wake(reading.need);
  }

  /** About every 50 ms: lets packets go whose time is up. */
  tick(now: number): void {
    for (const reading of this.readings.values()) {
      if (!reading.held || now < reading.deadline) continue;
      reading.held = false;
      this.failed++;
      this.options.wake(reading.need);
    }
  }
}
