/** Connections in words: their tuples, what is translated, whose they are and who is told of them. */
import {
  type ConnectionRecord,
  connectionState,
  FLAG_KEEP,
  FLAG_TOMBSTONE,
  hasPorts,
  KIND_CONNTRACK,
  KIND_DNAT,
  KIND_SNAT,
  KIND_STICKY,
  R_RETURN,
  TUPLE_WORDS,
  tupleDevice,
  tupleKind,
  tupleProtocol,
  wordsToAddress,
} from '@weft/flowstate';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, ipFormat, ipProtocolName } from '@weft/packet';
import type { Names, Ref } from '@weft/simulator';
import type { Core } from '../worker/core.ts';
import type { FlowWords } from './flow-words.ts';

/** `affinity`: a client keeps the target that was once chosen for it. */
export type ConnectionKind = 'tracking' | 'snat' | 'dnat' | 'affinity';

/** A host that owns a connection or is told of it. */
export interface HostRef {
  readonly id: string;
  /** `this host`, or as destinations are named. */
  readonly name: string;
}

/** Packets of one direction. Ports of protocols that have them; of an ICMP echo its identifier. */
export interface TupleInWords {
  readonly src: string;
  readonly dst: string;
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly id?: number;
  /** `10.0.0.1:1000 > 1.1.1.1:80`, `10.0.0.1 > 1.1.1.1 id 7`. */
  readonly text: string;
}

/** What a connection is, known or about to begin. */
export interface ConnectionInWords {
  readonly device: Ref;
  readonly kind: ConnectionKind;
  /** `tcp`; `proto 99` for what has no name. */
  readonly protocol: string;
  /** A packet of the direction that opened it, as the device saw it; and an answer to what left the device. */
  readonly forward: TupleInWords;
  readonly return: TupleInWords;
  /** `source 10.0.0.1:1000 becomes 2.2.2.2:5000`; '' if nothing is translated. */
  readonly translation: string;
  /** The rule that let it begin; with `keeps` the chain of the rule. Null: none. */
  readonly rule: Ref | null;
  /** It finishes although rules change (`onChange`). */
  readonly keeps: boolean;
}

const KINDS: Readonly<Record<number, ConnectionKind>> = {
  [KIND_CONNTRACK]: 'tracking',
  [KIND_SNAT]: 'snat',
  [KIND_DNAT]: 'dnat',
  [KIND_STICKY]: 'affinity',
};

export class ConnectionWords {
  private readonly core: Core;
  private readonly names: Names;
  private readonly words: FlowWords;
  private readonly address = new Uint8Array(16);
  private readonly tupleWords = new Int32Array(TUPLE_WORDS);

  constructor(core: Core, names: Names, words: FlowWords) {
    this.core = core;
    this.names = names;
    this.words = words;
  }

  kind(meta: number): ConnectionKind {
    return KINDS[tupleKind(meta)] ?? 'tracking';
  }

  /** What has this number in the table of connections. */
  ref(n: number): Ref {
    return this.names.of(this.core.connections.table.uuids.text(n));
  }

  /** A host by its number in the table. */
  host(n: number): HostRef {
    return this.hostOf(this.core.connections.table.uuids.text(n));
  }

  hostOf(id: string): HostRef {
    return { id, name: id === this.core.hostId ? 'this host' : this.words.host(id) };
  }

  /** The hosts that are told of a record, this one among them if it is not the owner. */
  told(record: number): HostRef[] {
    const { table } = this.core.connections;
    const owner = table.owner(record);
    const hosts = new Set(table.audiences.members(table.audience(record)));
    if (owner !== table.self) hosts.add(table.self);
    hosts.delete(owner);
    return [...hosts].map((host) => this.host(host));
  }

  state({ kind, protocol, bits, flags }: ConnectionRecord): string {
    return connectionState(kind, protocol, bits, (flags & FLAG_TOMBSTONE) !== 0);
  }

  /** @param rule handle of the rule or chain that let it begin; absent: the record says, by its number in the table */
  connection(record: ConnectionRecord, rule?: number): ConnectionInWords {
    const { words, flags } = record;
    const forward = this.tuple(words, 0);
    this.tupleWords[0] = words[0];
    for (let i = 1; i < TUPLE_WORDS; i++) this.tupleWords[i] = words[R_RETURN + i - 1];
    const answer = this.tuple(this.tupleWords, 0);
    const decided = rule === undefined ? record.rule : rule;
    return {
      device: this.ref(tupleDevice(words[0])),
      kind: this.kind(words[0]),
      protocol: ipProtocolName(tupleProtocol(words[0])),
      forward,
      return: answer,
      translation: translationOf(forward, answer),
      rule: decided === 0 ? null : rule === undefined ? this.ref(decided) : this.names.ref(decided),
      keeps: (flags & FLAG_KEEP) !== 0,
    };
  }

  /** The tuple at `words[at …]`. */
  tuple(words: Int32Array, at: number): TupleInWords {
    const protocol = tupleProtocol(words[at]);
    const ports = words[at + 1] >>> 0;
    const src = this.ip(words, at + 2);
    const dst = this.ip(words, at + 6);
    if (hasPorts(protocol)) {
      const srcPort = ports >>> 16;
      const dstPort = ports & 0xffff;
      return { src, dst, srcPort, dstPort, text: `${end(src, srcPort)} > ${end(dst, dstPort)}` };
    }
    const echo = protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6;
    if (!echo || ports === 0) return { src, dst, text: `${src} > ${dst}` };
    const id = ports & 0xffff;
    return { src, dst, id, text: `${src} > ${dst} id ${id}` };
  }

  private ip(words: Int32Array, at: number): string {
    wordsToAddress(words, at, this.address, 0);
    return ipFormat(this.address);
  }
}

/** Address and port as one writes them. */
function end(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** What left the device is the reverse of the answer. The identifier of an echo goes with its source. */
function translationOf(forward: TupleInWords, answer: TupleInWords): string {
  const parts: string[] = [];
  const change = (what: string, from: string, to: string): void => {
    if (from !== to) parts.push(`${what} ${from} becomes ${to}`);
  };
  const id = (tuple: TupleInWords): string => (tuple.id === undefined ? '' : ` id ${tuple.id}`);
  change('source', end(forward.src, forward.srcPort) + id(forward), end(answer.dst, answer.dstPort) + id(answer));
  change('destination', end(forward.dst, forward.dstPort), end(answer.src, answer.srcPort));
  return parts.join(', ');
}
