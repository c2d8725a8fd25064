/** Which connections are meant: what people say of them, compiled to comparisons of numbers. */
import {
  addressToWords,
  type ConnectionState,
  connectionState,
  LIVE_STATES,
  R_BITS,
  R_EGRESS,
  R_INGRESS,
  R_RETURN,
  RECORD_WORDS,
  tupleDevice,
  tupleKind,
  tupleProtocol,
} from '@weft/flowstate';
import { ipFormat, ipParse, ipProtocolName } from '@weft/packet';
import { AgentError } from '../errors.ts';
import type { Core } from '../worker/core.ts';
import type { ConnectionWords } from './connection-words.ts';

/** All that is given must hold. */
export interface ConnectionQuery {
  readonly limit: number;
  /** Entered or left by this port: its id, the beginning of it, or its interface on this host. */
  readonly port?: string;
  /** Owned by this host, or told to it: its id, the beginning of it, or its address on the underlay. */
  readonly host?: string;
  /** One of its ends is, or was translated to, this address: `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`. */
  readonly address?: string;
  /** By name or number. */
  readonly protocol?: string;
  /** As `ConnectionState`. */
  readonly state?: string;
  /** On this device: its id, the beginning of it, or its name. */
  readonly device?: string;
}

/** Shorter beginnings of an id mean too much. */
const PREFIX = 4;

type Test = (record: number) => boolean;

export class ConnectionFilter {
  private readonly core: Core;
  private readonly words: ConnectionWords;
  private readonly tests: readonly Test[];

  /** @throws AgentError WEFT_AGENT_CONTROL, naming the part that is not understood */
  constructor(core: Core, words: ConnectionWords, query: ConnectionQuery) {
    this.core = core;
    this.words = words;
    const { protocol, state, address, device, port, host } = query;
    // The cheap ones first.
    this.tests = [
      ...(protocol === undefined ? [] : [this.protocol(protocol)]),
      ...(state === undefined ? [] : [this.state(state)]),
      ...(address === undefined ? [] : [this.address(address)]),
      ...(device === undefined ? [] : [this.device(device)]),
      ...(port === undefined ? [] : [this.port(port)]),
      ...(host === undefined ? [] : [this.host(host)]),
    ];
  }

  matches(record: number): boolean {
    for (const test of this.tests) if (!test(record)) return false;
    return true;
  }

  private get table() {
    return this.core.connections.table;
  }

  private protocol(text: string): Test {
    const wanted = protocolNumber(text);
    const { words } = this.table;
    return (record) => tupleProtocol(words[record * RECORD_WORDS]) === wanted;
  }

  private state(text: string): Test {
    if (!LIVE_STATES.includes(text as ConnectionState)) throw wrong('state', text, `one of ${LIVE_STATES.join(', ')}`);
    const { words } = this.table;
    return (record) => {
      const meta = words[record * RECORD_WORDS];
      const bits = words[record * RECORD_WORDS + R_BITS] & 0xffff;
      return connectionState(tupleKind(meta), tupleProtocol(meta), bits, false) === text;
    };
  }

  private address(text: string): Test {
    const { address, port } = parseEnd(text);
    const wanted = new Int32Array(4);
    addressToWords(address, 0, wanted, 0);
    const { words } = this.table;
    // `ports`: the word with both ports; source address behind it, then the destination.
    const has = (ports: number): boolean => {
      for (let end = 0; end < 2; end++) {
        const at = ports + 1 + end * 4;
        if (port >= 0 && ((words[ports] >>> (end === 0 ? 16 : 0)) & 0xffff) !== port) continue;
        if (wanted.every((word, i) => words[at + i] === word)) return true;
      }
      return false;
    };
    return (record) => has(record * RECORD_WORDS + 1) || has(record * RECORD_WORDS + R_RETURN);
  }

  private device(text: string): Test {
    const { words } = this.table;
    const meant = this.once((n) => {
      const { id, name } = this.words.ref(n);
      return isMeant(id, text) || name.endsWith(` "${text}"`);
    });
    return (record) => meant(tupleDevice(words[record * RECORD_WORDS]));
  }

  private port(text: string): Test {
    const { words } = this.table;
    const bound = this.core.bindings.list().find(({ interfaceName }) => interfaceName === text);
    const meant = this.once((n) => isMeant(this.table.uuids.text(n), bound?.portId ?? text));
    return (record) => {
      const base = record * RECORD_WORDS;
      return meant(words[base + R_INGRESS]) || meant(words[base + R_EGRESS]);
    };
  }

  private host(text: string): Test {
    const { table } = this;
    const tunnel = this.core.tunnels.list().find(({ remote }) => ipFormat(remote) === text);
    const meant = this.once((n) => isMeant(table.uuids.text(n), tunnel?.hostId ?? text));
    return (record) => {
      const owner = table.owner(record);
      // What others own is here because this host is told of it.
      if (meant(owner) || (owner !== table.self && meant(table.self))) return true;
      return table.audiences.members(table.audience(record)).some(meant);
    };
  }

  /** Asks once for each number. */
  private once(test: (n: number) => boolean): (n: number) => boolean {
    const known = new Map<number, boolean>();
    return (n) => {
      if (n === 0) return false;
      let answer = known.get(n);
      if (answer === undefined) known.set(n, (answer = test(n)));
      return answer;
    };
  }
}

function isMeant(id: string, text: string): boolean {
  return id === text || (text.length >= PREFIX && id.startsWith(text));
}

function protocolNumber(text: string): number {
  if (/^\d{1,3}$/.test(text) && Number(text) <= 255) return Number(text);
  const name = text.toLowerCase() === 'icmpv6' ? 'icmp6' : text.toLowerCase();
  for (let number = 0; number < 256; number++) if (ipProtocolName(number) === name) return number;
  throw wrong('protocol', text, 'a protocol such as tcp, or its number');
}

/** @returns 16 bytes, and the port or -1 */
function parseEnd(text: string): { address: Uint8Array; port: number } {
  const [, bracketed, bracketedPort, plain, plainPort] =
    /^(?:\[([0-9a-fA-F:.]+)\](?::(\d+))?|(\d+\.\d+\.\d+\.\d+)(?::(\d+))?)$/.exec(text) ?? [];
  const port = bracketedPort ?? plainPort;
  try {
    if (port !== undefined && Number(port) > 65_535) throw new RangeError(port);
    return { address: ipParse(bracketed ?? plain ?? text), port: port === undefined ? -1 : Number(port) };
  } catch {
    throw wrong('address', text, 'an IP address, with or without a port: 10.0.0.1:80, [fd00::1]:80');
  }
}

function wrong(field: string, text: string, wanted: string): AgentError {
  return new AgentError('WEFT_AGENT_CONTROL', `${field} must be ${wanted}, not "${text}"`);
}
