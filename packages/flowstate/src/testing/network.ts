/**
 * Hosts with tables and exchanges on a simulated network: it loses, repeats, delays and so reorders datagrams by a seeded generator, can be
 * partitioned, and records all traffic. Time moves by `run` only.
 */
import { Exchange, type ExchangeOptions, type ExchangeSettings, type PeerEvent } from '../exchange/index.ts';
import type { TableOptions } from '../memory.ts';
import { regionBytes } from '../memory.ts';
import { newHostKeys, PeerKeys } from '../peer-keys.ts';
import { FlowStateTable } from '../table.ts';
import { DATAGRAM_SIZE, HEADER_SIZE, WireHeader, writeHeader } from '../wire/header.ts';
import { uuid } from './fixtures.ts';

export interface Datagram {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
  delivered: boolean;
}

/** Milliseconds between two ticks of all hosts. */
const TICK = 10;
const CLOCK = new Uint8Array(16).fill(9);
/** X25519 is slow: all networks use the same keys. */
const KEYS = Array.from({ length: 10 }, newHostKeys);

export interface HostOptions {
  readonly table?: Partial<TableOptions>;
  readonly settings?: Partial<ExchangeSettings>;
  /** Called for what was applied: sets audiences. */
  readonly onApplied?: (host: Host, record: number, result: number) => void;
  readonly onAnswered?: (host: Host, ask: number, found: boolean) => void;
}

/** Host number `id`, from 1: its UUID is `uuid(id)`. */
export class Host {
  readonly id: number;
  table!: FlowStateTable;
  exchange!: Exchange;
  incarnation = 0;
  readonly events: string[] = [];
  readonly applied: number[] = [];
  readonly answered: [number, boolean][] = [];
  private readonly network: Network;
  private region: ArrayBuffer;
  private readonly options: HostOptions;

  constructor(network: Network, id: number, options: HostOptions) {
    this.network = network;
    this.id = id;
    this.options = options;
    this.region = this.newRegion();
    this.start();
  }

  /** A new life, over the memory of the last one or without it. Peers are set by the network. */
  restart(keepMemory: boolean): void {
    if (!keepMemory) this.region = this.newRegion();
    this.start();
    this.network.introduce(this);
  }

  /** Number of another host in this one's table. */
  numberOf(id: number): number {
    return this.table.uuids.intern(uuid(id));
  }

  audience(ids: readonly number[]): number {
    return this.table.audiences.of(ids.map((id) => this.numberOf(id)));
  }

  private newRegion(): ArrayBuffer {
    return new ArrayBuffer(regionBytes({ ...SIZES, ...this.options.table }));
  }

  private start(): void {
    const { network, options } = this;
    this.incarnation = ++network.incarnations;
    this.table = new FlowStateTable({
      ...SIZES,
      self: uuid(this.id),
      incarnation: this.incarnation,
      now: network.now,
      seed: [0x1234567, 0x89abcde],
      region: this.region,
      clock: CLOCK,
      ...options.table,
    });
    const exchange: ExchangeOptions = {
      table: this.table,
      privateKey: KEYS[this.id].privateKey,
      send: (peer, bytes, length) => network.send(this, peer, bytes, length),
      onApplied: (record, result) => {
        this.applied.push(result);
        options.onApplied?.(this, record, result);
      },
      onAnswered: (ask, found) => {
        this.answered.push([ask, found]);
        options.onAnswered?.(this, ask, found);
      },
      onPeer: (peer: number, event: PeerEvent) => this.events.push(`${network.idOf(this, peer)} ${event}`),
      ...(options.settings === undefined ? {} : { settings: options.settings }),
    };
    this.exchange = new Exchange(exchange);
  }
}

const SIZES = { capacity: 512, uuids: 256, blocks: 64 };

export class Network {
  now = 1_000;
  /** Of all datagrams: lost, sent twice (fractions), longest delay (ms). */
  loss = 0;
  repeat = 0;
  delay = 0;
  /** Greatest incarnation given so far: it grows like a clock, over all hosts. */
  incarnations = 100;
  readonly hosts: Host[] = [];
  readonly recorded: Datagram[] = [];
  /** Decides about each datagram before chance does: true loses it. */
  drop: ((datagram: Datagram) => boolean) | undefined;
  /** Hosts of different groups do not reach each other. By id; 0 for all: no partition. */
  readonly groups = new Map<number, number>();
  private readonly flying: { at: number; order: number; datagram: Datagram }[] = [];
  private order = 0;
  /** Number of the last forged datagram: ahead of the true ones. */
  private forged = 500;
  private state: number;

  constructor(hosts: number, options: HostOptions = {}, seed = 1) {
    this.state = seed;
    for (let id = 1; id <= hosts; id++) this.hosts.push(new Host(this, id, options));
    for (const host of this.hosts) this.introduce(host);
  }

  host(id: number): Host {
    return this.hosts[id - 1];
  }

  /** Tells a host of all others. */
  introduce(host: Host): void {
    for (const other of this.hosts) {
      if (other !== host) host.exchange.setPeer(uuid(other.id), KEYS[other.id].publicKey);
    }
  }

  /** Takes the paths of a host to all others away, or gives them back. */
  setPaths(host: Host, hasPath: boolean): void {
    for (const other of this.hosts) if (other !== host) host.exchange.setPath(host.numberOf(other.id), hasPath);
  }

  idOf(host: Host, peer: number): number {
    const bytes = new Uint8Array(16);
    host.table.uuids.write(peer, bytes);
    return bytes[15];
  }

  /** A number in [0, 1): mulberry32. */
  random(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  send(from: Host, peer: number, bytes: Uint8Array, length: number): void {
    const datagram: Datagram = {
      from: from.id,
      to: this.idOf(from, peer),
      bytes: bytes.slice(0, length),
      delivered: false,
    };
    this.recorded.push(datagram);
    if (this.drop?.(datagram)) return;
    if ((this.groups.get(datagram.from) ?? 0) !== (this.groups.get(datagram.to) ?? 0)) return;
    const copies = this.random() < this.repeat ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.random() < this.loss) continue;
      this.flying.push({ at: this.now + this.random() * this.delay, order: this.order++, datagram });
    }
  }

  /** Delivers what is under way and due, also what that brings about. */
  deliver(): void {
    for (;;) {
      const due = this.flying.filter(({ at }) => at <= this.now).sort((a, b) => a.at - b.at || a.order - b.order);
      if (due.length === 0) return;
      for (const flight of due) {
        this.flying.splice(this.flying.indexOf(flight), 1);
        const { datagram } = flight;
        datagram.delivered = true;
        this.host(datagram.to).exchange.receive(datagram.bytes, datagram.bytes.length, this.now);
      }
    }
  }

  /** Lets time pass: delivers, ticks all hosts. @param check called after each tick */
  run(ms: number, check?: () => void): void {
    const end = this.now + ms;
    while (this.now < end) {
      this.now += TICK;
      this.deliver();
      for (const host of this.hosts) {
        host.table.expire(this.now, 1_000);
        host.exchange.tick(this.now);
      }
      this.deliver();
      check?.();
    }
  }

  /** Runs until `done`. @returns false if it is not after `most` ms */
  runUntil(done: () => boolean, most: number): boolean {
    const end = this.now + most;
    while (!done()) {
      if (this.now >= end) return false;
      this.run(TICK);
    }
    return true;
  }

  flush(): void {
    for (const host of this.hosts) host.exchange.flush(this.now);
  }

  /**
   * Gives host `to` an authentic datagram that host `from` never sent, as a peer in wrong hands could: the next of its life.
   * @returns what `receive` says
   */
  forge(from: number, to: number, type: number, count: number, body: Uint8Array): number {
    const [sender, receiver] = [this.host(from), this.host(to)];
    const header = new WireHeader();
    header.type = type;
    header.count = count;
    header.bodySize = body.length;
    header.sender.set(uuid(from));
    header.senderIncarnation = sender.incarnation;
    header.receiverIncarnation = receiver.incarnation;
    header.sequence = ++this.forged;
    const bytes = new Uint8Array(Math.max(DATAGRAM_SIZE, HEADER_SIZE + body.length + 16));
    writeHeader(header, bytes);
    bytes.set(body, HEADER_SIZE);
    const keys = new PeerKeys(KEYS[from].privateKey, KEYS[to].publicKey, uuid(from), uuid(to));
    return receiver.exchange.receive(bytes, keys.seal(bytes, HEADER_SIZE + body.length), this.now);
  }

  /** Recorded datagrams of a type (MSG_…) from one host to another. */
  of(type: number, from: number, to: number): Datagram[] {
    return this.recorded.filter((d) => d.bytes[3] === type && d.from === from && d.to === to);
  }
}

/** The fields of a recorded datagram: type, count, size of the body. */
export function describe(bytes: Uint8Array): { type: number; count: number; body: Uint8Array } {
  return { type: bytes[3], count: (bytes[4] << 8) | bytes[5], body: bytes.subarray(HEADER_SIZE, bytes.length - 16) };
}
