/** What the tests of this package share: hosts and devices by number, tuples from small numbers, a table of them. */
import { ipOf } from '@weft/packet';
import type { TableOptions } from '../memory.ts';
import { ConnectionRecord } from '../record.ts';
import { FlowStateTable } from '../table.ts';
import { setTuple, TUPLE_WORDS, tupleMeta } from '../tuple.ts';

/** UUID number `n` as bytes: never zero. */
export function uuid(n: number): Uint8Array {
  const bytes = new Uint8Array(16).fill(0x11);
  bytes[12] = n >>> 24;
  bytes[13] = n >>> 16;
  bytes[14] = n >>> 8;
  bytes[15] = n;
  return bytes;
}

export const SELF = 1;

export function newTable(options: Partial<TableOptions> = {}): FlowStateTable {
  return new FlowStateTable({
    self: uuid(SELF),
    incarnation: 7,
    capacity: 256,
    uuids: 1024,
    blocks: 64,
    now: 0,
    seed: [0x1234567, 0x89abcde],
    ...options,
  });
}

export function address(text: string): Uint8Array {
  return ipOf(text);
}

export function tuple(
  table: FlowStateTable,
  kind: number,
  protocol: number,
  src: string,
  srcPort: number,
  dst: string,
  dstPort: number,
  device = 100,
): Int32Array {
  const words = new Int32Array(TUPLE_WORDS);
  const meta = tupleMeta(kind, table.uuids.intern(uuid(device)), protocol);
  setTuple(words, 0, meta, ipOf(src), 0, ipOf(dst), 0, srcPort, dstPort);
  return words;
}

export function recordOf(words: Int32Array): ConnectionRecord {
  return new ConnectionRecord().begin(words, 0);
}
