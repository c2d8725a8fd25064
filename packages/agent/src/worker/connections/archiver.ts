/**
 * What of connections goes to the archive: records that began, changed or were cut, and those whose archived lifetime has fallen far behind.
 * Packets only note a record's number; a bounded number of them is written out at each tick, as they are then, so that of many changes the
 * last one goes. While the main thread is slow nothing is handed to it, and the notes wait here: one a record, no more.
 */
import {
  ARCHIVE_ENTRY_SIZE,
  ArchiveWriter,
  ConnectionRecord,
  FLAG_LIVE,
  type FlowStateTable,
  R_INGRESS,
  RECORD_WORDS,
} from '@weft/flowstate';

/** Records that one tick writes out: some 200 µs. */
const PER_TICK = 512;
/** Of its lifetime so much may pass before it is archived again, as long as packets are seen. */
const REFRESH_SHARE = 1 / 4;

export interface ArchiverOptions {
  readonly table: FlowStateTable;
  /** Whether a port (its number in the table) is bound to this host. */
  readonly isHere: (port: number) => boolean;
  /** Takes entries over, one behind the other; false: not now. */
  readonly hand: (entries: Uint8Array<ArrayBuffer>) => boolean;
}

export class Archiver {
  private readonly options: ArchiverOptions;
  private readonly writer: ArchiveWriter;
  private readonly record = new ConnectionRecord();
  private readonly buffer = new Uint8Array(PER_TICK * ARCHIVE_ENTRY_SIZE);
  /** Records that are noted, a ring in the order of their first change since; and of each record whether it is. */
  private readonly ring: Int32Array;
  private readonly isNoted: Uint8Array;
  private head = 0;
  private count = 0;
  /** By record: when it expires, as archived last; 0: it was not. */
  private readonly archived: Float64Array;
  /** Records that this process inherited are looked at from here on; -1: all have been. */
  private hand: number;

  constructor(options: ArchiverOptions) {
    const { table } = options;
    this.options = options;
    this.writer = new ArchiveWriter(table.uuids);
    this.ring = new Int32Array(table.capacity);
    this.isNoted = new Uint8Array(table.capacity);
    this.archived = new Float64Array(table.capacity);
    this.hand = table.size > 0 ? 0 : -1;
  }

  /** Records that wait to be handed over. */
  get waiting(): number {
    return this.count;
  }

  /** A record has begun, changed, or been cut. Allocates nothing. */
  changed(record: number): void {
    if (this.isNoted[record] === 1) return;
    this.isNoted[record] = 1;
    this.ring[(this.head + this.count++) % this.ring.length] = record;
  }

  /** Packets of a record have been seen, here or elsewhere. */
  seen(record: number): void {
    const { table } = this.options;
    const expiry = table.expiry(record);
    if (expiry - this.archived[record] > (expiry - table.lastSeen(record)) * REFRESH_SHARE) this.changed(record);
  }

  /** A record is gone; its place may be another's soon. */
  forget(record: number): void {
    this.archived[record] = 0;
  }

  /** Hands a step of what is noted over. @param now on the table's clock */
  tick(now: number): void {
    this.inherit();
    const { table, hand } = this.options;
    let length = 0;
    let taken = 0;
    for (; taken < PER_TICK && taken < this.count; taken++) {
      const record = this.ring[(this.head + taken) % this.ring.length];
      if (!this.isMine(record)) continue;
      length += this.writer.write(table.read(record, now, this.record), this.buffer, length);
    }
    if (length > 0 && !hand(this.buffer.slice(0, length))) return;
    for (let i = 0; i < taken; i++) {
      const record = this.ring[this.head];
      this.head = (this.head + 1) % this.ring.length;
      this.isNoted[record] = 0;
      this.archived[record] = table.flags(record) & FLAG_LIVE ? table.expiry(record) : 0;
    }
    this.count -= taken;
  }

  /** Of what an earlier process noted and did not hand over nothing is known: all of it goes once more. */
  private inherit(): void {
    const { table } = this.options;
    for (let n = 0; n < PER_TICK && this.hand >= 0; n++) {
      this.hand = table.nextRecord(this.hand);
      if (this.hand >= 0) this.changed(this.hand++);
    }
  }

  /** This host keeps its own records, and those of ports that have come to it: their owner may go. */
  private isMine(record: number): boolean {
    const { table, isHere } = this.options;
    if ((table.flags(record) & FLAG_LIVE) === 0) return false;
    return table.owner(record) === table.self || isHere(table.words[record * RECORD_WORDS + R_INGRESS]);
  }
}
