/**
 * Records by themselves, as archives keep them: what a datagram would carry of one, and beside it what finding, ordering and expiring it needs.
 * An entry:
 *
 *   0  bytes of the entry (16 bits)       4  epoch       16  owner      64  name: kind, protocol, UUID of the device (16 bytes), the
 *   2  1: a removal; 2: has an egress     8  version     32  ingress        nine words of the forward tuple behind the first
 *   3  zero                              12  remaining   48  egress    118  WIRE_VERSION, body of a datagram with this record; none of a removal
 */
import { type ConnectionRecord, FLAG_TOMBSTONE } from '../record.ts';
import { TUPLE_WORDS } from '../tuple.ts';
import type { UuidTable } from '../uuid-table.ts';
import {
  DATAGRAM_SIZE,
  getU16,
  getU32,
  HEADER_SIZE,
  putU16,
  putU32,
  WIRE_OK,
  WIRE_VERSION,
  WireHeader,
} from './header.ts';
import { RecordReader, RecordWriter } from './records.ts';

const NAME = 64;
const NAME_SIZE = 18 + (TUPLE_WORDS - 1) * 4;
const BODY = NAME + NAME_SIZE;
const ENTRY_REMOVAL = 1;
const ENTRY_EGRESS = 2;
/** Most bytes of an entry: one record and five names. */
export const ARCHIVE_ENTRY_SIZE = BODY + 1 + 5 + 102 + 5 * 16;

/** Writes entries. Make one, use it again. */
export class ArchiveWriter {
  private readonly uuids: UuidTable;
  private readonly writer: RecordWriter;

  constructor(uuids: UuidTable) {
    this.uuids = uuids;
    this.writer = new RecordWriter(uuids);
  }

  /**
   * Writes a record, or its removal if it is a tombstone. There must be room for ARCHIVE_ENTRY_SIZE bytes.
   * @returns the bytes of the entry; 0: it has no port that it could be kept under
   */
  write(record: ConnectionRecord, out: Uint8Array, at: number): number {
    const { uuids, writer } = this;
    const ingress = record.ingress || record.egress;
    if (ingress === 0) return 0;
    const removal = (record.flags & FLAG_TOMBSTONE) !== 0;
    const hasEgress = record.egress !== 0 && record.egress !== ingress;
    out.fill(0, at, at + BODY);
    out[at + 2] = (removal ? ENTRY_REMOVAL : 0) | (hasEgress ? ENTRY_EGRESS : 0);
    putU32(out, at + 4, record.epoch);
    putU32(out, at + 8, record.version);
    putU32(out, at + 12, Math.min(Math.ceil(record.remaining), 0xffffffff));
    uuids.write(record.owner, out, at + 16);
    uuids.write(ingress, out, at + 32);
    if (hasEgress) uuids.write(record.egress, out, at + 48);
    out[at + NAME] = record.kind;
    out[at + NAME + 1] = record.protocol;
    uuids.write(record.device, out, at + NAME + 2);
    for (let i = 1; i < TUPLE_WORDS; i++) putU32(out, at + NAME + 14 + i * 4, record.words[i]);
    let size = BODY;
    if (!removal) {
      writer.begin();
      writer.add(record);
      const body = writer.finish();
      out[at + BODY] = WIRE_VERSION;
      for (let i = 0; i < body; i++) out[at + BODY + 1 + i] = writer.bytes[HEADER_SIZE + i];
      size += 1 + body;
    }
    putU16(out, at, size);
    return size;
  }
}

/** An entry taken apart: views into the bytes that it was read from. */
export interface ArchiveEntry {
  readonly removal: boolean;
  readonly epoch: number;
  readonly version: number;
  /** Milliseconds until it expires. */
  readonly remaining: number;
  readonly owner: Uint8Array;
  readonly ingress: Uint8Array;
  readonly egress: Uint8Array | null;
  /** The same for all versions of the record, on all hosts. */
  readonly name: Uint8Array;
  /** For {@link ArchiveReader}; empty of a removal. */
  readonly record: Uint8Array;
}

/** The entries that a writer has put one behind the other into `bytes[0 … length)`. Allocates. */
export function* archiveEntries(bytes: Uint8Array, length = bytes.length): Generator<ArchiveEntry> {
  for (let at = 0; at + BODY <= length; ) {
    const size = getU16(bytes, at);
    if (size < BODY || at + size > length) return;
    yield {
      removal: (bytes[at + 2] & ENTRY_REMOVAL) !== 0,
      epoch: getU32(bytes, at + 4),
      version: getU32(bytes, at + 8),
      remaining: getU32(bytes, at + 12),
      owner: bytes.subarray(at + 16, at + 32),
      ingress: bytes.subarray(at + 32, at + 48),
      egress: bytes[at + 2] & ENTRY_EGRESS ? bytes.subarray(at + 48, at + 64) : null,
      name: bytes.subarray(at + NAME, at + BODY),
      record: bytes.subarray(at + BODY, at + size),
    };
    at += size;
  }
}

/** Reads the records of entries back, whatever the bytes. Make one, use it again. */
export class ArchiveReader {
  private readonly reader: RecordReader;
  private readonly header = new WireHeader();
  private readonly bytes = new Uint8Array(DATAGRAM_SIZE);

  constructor(uuids: UuidTable) {
    this.reader = new RecordReader(uuids);
    this.header.count = 1;
  }

  /** @param remaining of its life, ms: what stands in the bytes was so when they were written @returns false: these bytes are no record */
  read(entry: Uint8Array, remaining: number, record: ConnectionRecord): boolean {
    const { bytes, header, reader } = this;
    if (entry.length < 2 || entry.length - 1 > bytes.length - HEADER_SIZE || entry[0] !== WIRE_VERSION) return false;
    bytes.set(entry.subarray(1), HEADER_SIZE);
    header.bodySize = entry.length - 1;
    if (reader.open(bytes, header) !== WIRE_OK || reader.next(record) !== 1 || reader.next(record) !== 0) return false;
    record.remaining = remaining;
    return true;
  }
}
