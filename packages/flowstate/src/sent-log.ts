import type { FlowStateTable } from './table.ts';

/**
 * What this host lately sent to one peer: which records stood in which datagram. A peer that misses a datagram gets its records as
 * they are *now*; what was in the datagram itself is not kept.
 */
export class SentLog {
  private readonly table: FlowStateTable;
  private readonly datagrams: number;
  /** Per place of the ring: sequence number, then where its records start. */
  private readonly sequences: Float64Array;
  private readonly starts: Float64Array;
  private readonly counts: Int32Array;
  private readonly records: Int32Array;
  private readonly generations: Int32Array;
  /** Records noted so far; the ring holds the latest. */
  private written = 0;

  /**
   * @param datagrams most datagrams remembered
   * @param records most records in them
   */
  constructor(table: FlowStateTable, datagrams = 1024, records = 16_384) {
    this.table = table;
    this.datagrams = datagrams;
    this.sequences = new Float64Array(datagrams);
    this.starts = new Float64Array(datagrams);
    this.counts = new Int32Array(datagrams);
    this.records = new Int32Array(records);
    this.generations = new Int32Array(records);
  }

  /** A datagram is begun; the records that are noted next stand in it. Also for datagrams without records. */
  begin(sequence: number): void {
    const place = sequence % this.datagrams;
    this.sequences[place] = sequence;
    this.starts[place] = this.written;
    this.counts[place] = 0;
  }

  /** A record was put into the datagram `sequence`, the latest begun. */
  note(sequence: number, record: number): void {
    const at = this.written % this.records.length;
    this.records[at] = record;
    this.generations[at] = this.table.generation(record);
    this.written++;
    this.counts[sequence % this.datagrams]++;
  }

  /**
   * The records of a datagram that still exist.
   * @param visit called for each
   * @returns false if the datagram is not remembered: the peer needs a full synchronisation
   */
  recall(sequence: number, visit: (record: number) => void): boolean {
    const place = sequence % this.datagrams;
    const start = this.starts[place];
    if (this.sequences[place] !== sequence || this.written - start > this.records.length) return false;
    for (let i = 0; i < this.counts[place]; i++) {
      const at = (start + i) % this.records.length;
      const record = this.records[at];
      if (this.table.generation(record) === this.generations[at]) visit(record);
    }
    return true;
  }
}
