/**
 * A port's records on their way from the host that it was on to the host that it is on. Pure: what carries the bytes is the caller's,
 * and may cut them anywhere. Frames:
 *
 *   0  length of the whole                 8  FRAME_BEGIN: format (1), then the port's UUID
 *   4  CRC-32 of all that follows             FRAME_RECORDS: of each remaining lifetime (ms), length of the body (16 bits), body
 *   8  type                                   FRAME_END: how many records there were
 */
import { crc32 } from 'node:zlib';
import { NsdbError } from '../errors.ts';
import { decodeBody, encodeBody, MAX_BODY, uuidAt } from './codec.ts';
import {
  type ArchivedRecord,
  CHUNK_RECORDS,
  type FlowStateArchive,
  MAX_REMAINING,
  type ReadOptions,
} from './contract.ts';

const FORMAT = 1;
const FRAME_BEGIN = 1;
const FRAME_RECORDS = 2;
const FRAME_END = 3;
const HEADER = 9;
const MAX_FRAME = HEADER + CHUNK_RECORDS * (6 + MAX_BODY);

function frame(type: number, parts: readonly Uint8Array[]): Buffer {
  const out = Buffer.concat([Buffer.alloc(HEADER), ...parts]);
  out.writeUInt32BE(out.length, 0);
  out[8] = type;
  out.writeUInt32BE(crc32(out.subarray(8)), 4);
  return out;
}

/** All that `archive` has of a port, for `ingest` on another host. @throws what `read` throws */
export async function* serve(
  archive: FlowStateArchive,
  port: string,
  options: ReadOptions = {},
): AsyncGenerator<Uint8Array> {
  const begin = Buffer.from(`${FORMAT.toString(16).padStart(2, '0')}${port.replaceAll('-', '')}`, 'hex');
  yield frame(FRAME_BEGIN, [begin]);
  let total = 0;
  for await (const records of archive.read(port, options)) {
    const parts: Buffer[] = [];
    for (const record of records) {
      const body = encodeBody(record, record.bytes)!;
      const head = Buffer.alloc(6);
      head.writeUInt32BE(Math.floor(record.remaining), 0);
      head.writeUInt16BE(body.length, 4);
      parts.push(head, body);
    }
    yield frame(FRAME_RECORDS, parts);
    total += records.length;
  }
  const end = Buffer.alloc(4);
  end.writeUInt32BE(total, 0);
  yield frame(FRAME_END, [end]);
}

export interface IngestOptions {
  /** Records that are taken; more are an error. */
  readonly maxRecords?: number;
}

/**
 * The records of a port out of what `serve` made on another host. Give them to the table, and to this host's own archive. The bytes are not
 * trusted; that their sender may speak for the port is for the caller to see to.
 * @throws NsdbError WEFT_ARCHIVE_STREAM, behind the records that came whole; what `stream` throws
 */
export async function* ingest(
  stream: AsyncIterable<Uint8Array>,
  port: string,
  options: IngestOptions = {},
): AsyncGenerator<readonly ArchivedRecord[]> {
  const maxRecords = options.maxRecords ?? 1_000_000;
  let begun = false;
  let total = 0;
  for await (const whole of frames(stream)) {
    const payload = whole.subarray(HEADER);
    const type = whole[8];
    if (begun ? type === FRAME_BEGIN : type !== FRAME_BEGIN) throw malformed('Its frames are in the wrong order');
    if (type === FRAME_BEGIN) {
      if (payload.length !== 17 || payload[0] !== FORMAT || uuidAt(payload, 1) !== port)
        throw malformed('It is not of the port that was asked for');
      begun = true;
    } else if (type === FRAME_RECORDS) {
      const records = recordsOf(payload, port);
      total += records.length;
      if (total > maxRecords) throw malformed(`There are more than ${maxRecords} records`);
      yield records;
    } else if (type === FRAME_END) {
      if (payload.length !== 4 || payload.readUInt32BE(0) !== total) throw malformed('Records are missing');
      return;
    } else {
      throw malformed('It has a frame of an unknown type');
    }
  }
  throw malformed('It ended early');
}

function malformed(why: string): NsdbError {
  return new NsdbError('WEFT_ARCHIVE_STREAM', why);
}

/** Whole frames out of bytes that were cut anywhere. Holds one frame and one piece at most. */
async function* frames(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  for await (const piece of stream) {
    rest = rest.length === 0 ? Buffer.from(piece) : Buffer.concat([rest, piece]);
    while (rest.length >= 4) {
      const length = rest.readUInt32BE(0);
      if (length < HEADER || length > MAX_FRAME) throw malformed('It has a frame of an impossible length');
      if (rest.length < length) break;
      const whole = rest.subarray(0, length);
      if (crc32(whole.subarray(8)) !== whole.readUInt32BE(4)) throw malformed('It has a damaged frame');
      yield whole;
      rest = rest.subarray(length);
    }
  }
}

function recordsOf(payload: Buffer, port: string): ArchivedRecord[] {
  const records: ArchivedRecord[] = [];
  for (let at = 0; at < payload.length; ) {
    if (at + 6 > payload.length) throw malformed('It has a record that is cut off');
    const end = at + 6 + payload.readUInt16BE(at + 4);
    if (end > payload.length) throw malformed('It has a record that is cut off');
    const record = decodeBody(payload.subarray(at + 6, end));
    if (record === undefined || (record.ingress !== port && record.egress !== port))
      throw malformed('It has a record that is none of this port');
    const remaining = Math.min(payload.readUInt32BE(at), MAX_REMAINING);
    if (remaining > 0) records.push({ ...record, remaining });
    at = end;
  }
  if (records.length > CHUNK_RECORDS) throw malformed('It has too many records in a frame');
  return records;
}
