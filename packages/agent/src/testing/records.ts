/** What a host's table of connections holds, in words that are the same on every host. */
import {
  ConnectionRecord,
  type FlowStateTable,
  KIND_CONNTRACK,
  KIND_DNAT,
  KIND_SNAT,
  T_DST,
  T_PORTS,
  T_SRC,
  tupleKind,
  tupleProtocol,
  wordsToAddress,
} from '@weft/flowstate';
import { ipFormat } from '@weft/packet';

const KINDS: Record<number, string> = { [KIND_CONNTRACK]: 'track', [KIND_SNAT]: 'snat', [KIND_DNAT]: 'dnat' };

export interface RecordInWords {
  readonly record: number;
  /** `snat udp 10.0.1.10:1000>198.51.100.7:53 as 203.0.113.1:1024`; of what is tracked without `as`. */
  readonly text: string;
  readonly owner: string;
  /** UUIDs of those who are told. */
  readonly audience: readonly string[];
  readonly bits: number;
  /** Milliseconds until it expires. */
  readonly remaining: number;
}

function end(words: Int32Array, at: number, port: number): string {
  const bytes = new Uint8Array(16);
  wordsToAddress(words, at, bytes, 0);
  return `${ipFormat(bytes)}:${port}`;
}

function textOf({ words }: ConnectionRecord): string {
  const ports = words[T_PORTS];
  const from = end(words, T_SRC, ports >>> 16);
  const to = end(words, T_DST, ports & 0xffff);
  const kind = tupleKind(words[0]);
  const head = `${KINDS[kind] ?? kind} ${{ 6: 'tcp', 17: 'udp' }[tupleProtocol(words[0])] ?? 'icmp'} ${from}>${to}`;
  // The return tuple: ports, source, destination.
  if (kind === KIND_SNAT) return `${head} as ${end(words, 15, words[10] & 0xffff)}`;
  if (kind === KIND_DNAT) return `${head} as ${end(words, 11, words[10] >>> 16)}`;
  return head;
}

/** All that lookups find, in the order of their text. */
export function recordsOf(table: FlowStateTable, now: number): RecordInWords[] {
  const out: RecordInWords[] = [];
  const scratch = new ConnectionRecord();
  for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
    if (!table.isVisible(record)) continue;
    table.read(record, now, scratch);
    out.push({
      record,
      text: textOf(scratch),
      owner: table.uuids.text(scratch.owner),
      audience: table.audiences
        .members(table.audience(record))
        .map((n) => table.uuids.text(n))
        .sort(),
      bits: scratch.bits,
      remaining: scratch.remaining,
    });
  }
  return out.sort((a, b) => (a.text < b.text ? -1 : 1));
}
