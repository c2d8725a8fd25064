/** Connections in words: their tuples, what is translated, whose they are and who is told of them. */
import {
  type ConnectionRecord,
  connectionState,
  FLAG_KEEP,
  FLAG_TOMBSTONE,
  KIND_STICKY,
  R_RETURN,
  tupleDevice,
  tupleKind,
} from '@weft/flowstate';
import {
  CONNECTION_KINDS,
  type ExplainedConnection,
  type ExplainedTuple,
  endWords,
  explainedTuple,
  type Names,
  type Ref,
  reversed,
  tupleWords,
} from '@weft/simulator';
import type { Core } from '../worker/core.ts';
import type { FlowWords } from './flow-words.ts';

/** `affinity`: a client keeps the target that was once chosen for it. */
export type ConnectionKind = ExplainedConnection['kind'] | 'affinity';

/** A host that owns a connection or is told of it. */
export interface HostRef {
  readonly id: string;
  /** `this host`, or as destinations are named. */
  readonly name: string;
}

export interface ConnectionInWords {
  readonly device: Ref;
  readonly kind: ConnectionKind;
  /** `tcp 10.0.0.1:1000 > 1.1.1.1:80`, and `source 10.0.0.1:1000 becomes 2.2.2.2:5000` or, if nothing is translated, ''. */
  readonly text: string;
  readonly translation: string;
  /** A packet of the direction that opened it, as the device saw it; and an answer to what left the device. */
  readonly forward: ExplainedTuple;
  readonly return: ExplainedTuple;
  /** The rule that let it begin; with `keeps` the chain of the rule. Null: none. */
  readonly rule: Ref | null;
  /** It finishes although rules change (`onChange`). */
  readonly keeps: boolean;
}

const KINDS: Readonly<Record<number, ConnectionKind>> = { ...CONNECTION_KINDS, [KIND_STICKY]: 'affinity' };

export class ConnectionWords {
  private readonly core: Core;
  private readonly names: Names;
  private readonly words: FlowWords;

  constructor(core: Core, names: Names, words: FlowWords) {
    this.core = core;
    this.names = names;
    this.words = words;
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

  connection({ words, flags, rule }: ConnectionRecord): ConnectionInWords {
    const forward = explainedTuple(words, 0, words[0]);
    // The return tuple has no first word of its own.
    const answer = explainedTuple(words, R_RETURN - 1, words[0]);
    return {
      device: this.ref(tupleDevice(words[0])),
      kind: KINDS[tupleKind(words[0])] ?? 'tracking',
      text: tupleWords(forward),
      translation: translationOf(forward, answer),
      forward,
      return: answer,
      rule: rule === 0 ? null : this.ref(rule),
      keeps: (flags & FLAG_KEEP) !== 0,
    };
  }
}

function translationOf(came: ExplainedTuple, answer: ExplainedTuple): string {
  const left = reversed(answer);
  const parts: string[] = [];
  const change = (what: string, from: string, to: string): void => {
    if (from !== to) parts.push(`${what} ${from} becomes ${to}`);
  };
  change('source', source(came), source(left));
  change('destination', endWords(came.dst, came.dstPort), endWords(left.dst, left.dstPort));
  return parts.join(', ');
}

/** The identifier of an echo goes with its source. */
function source({ src, srcPort, id = 0 }: ExplainedTuple): string {
  return `${endWords(src, srcPort)}${id === 0 ? '' : ` id ${id}`}`;
}
