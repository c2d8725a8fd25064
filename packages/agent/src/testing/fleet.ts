/**
 * Several hosts in one process: an engine each, on one topology, with their datapaths in memory connected by an underlay that the test
 * rules. Packets of VMs pass it at once; datagrams of flow state are lost, repeated, delayed and so overtake each other as told, by a
 * seeded generator. Time moves by `run` only.
 */
import {
  A_OUT_PORT,
  A_OUTPUT,
  A_TUNNEL_KEY,
  FLOW_STATE_KEY,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
  readU32le,
} from '@weft/flow';
import type { Timeouts } from '@weft/flowstate';
import type { FlowStateArchive } from '@weft/nsdb/archive';
import { ipFormat } from '@weft/packet';
import { packetWords, uuid, type World } from '@weft/simulator/testing';
import { BlockBank } from './block-bank.ts';
import { carriedOut } from './carry-out.ts';
import { Harness } from './harness.ts';
import { type MemoryDatapath, MemoryState } from './memory-datapath.ts';
import { randomOf } from './random-network.ts';

/** UUID of host `i` of a fleet. */
export const fleetHost = (i: number): string => uuid(0xa00 + i);
/** The tunnel zone of all of them. */
export const ZONE = uuid(0x700);
/** Interfaces `vm0` … of each host have ifindex 10 …. */
const FIRST_IFINDEX = 10;
/** Steps in which time passes, ms. */
const STEP = 5;

/** A packet of a VM that came out at a port. */
export interface Delivery {
  readonly at: number;
  readonly host: number;
  readonly ifindex: number;
  readonly frame: Uint8Array;
  /** The packet in few words. */
  readonly text: string;
}

/** A frame of flow state on its way. */
export interface Datagram {
  readonly from: number;
  readonly to: number;
  readonly frame: Uint8Array;
}

export interface FleetOptions {
  readonly seed?: number;
  readonly limits?: Record<string, number>;
  readonly timeouts?: Partial<Timeouts>;
  readonly uuids?: number;
  readonly maxFlows?: number;
  readonly bank?: BlockBank;
  /** Where the connections of host `i` are kept; default: nowhere. */
  readonly archive?: (i: number) => FlowStateArchive;
}

export class FleetHost {
  readonly index: number;
  readonly id: string;
  state: MemoryState;
  harness: Harness;
  /** Its agent takes turns. */
  running = true;
  /** Its kernel answers, forwards and receives. */
  alive = true;
  /** Addresses of peers whose kernels have answered. */
  readonly answers: string[] = [];

  constructor(index: number, state: MemoryState, harness: Harness) {
    this.index = index;
    this.id = fleetHost(index);
    this.state = state;
    this.harness = harness;
  }

  get table(): Harness['table'] {
    return this.harness.table;
  }
}

export class Fleet {
  now = 10_000;
  readonly world: World;
  readonly hosts: FleetHost[] = [];
  readonly deliveries: Delivery[] = [];
  /** In the order in which they left: frames of flow state and packets, `host kind`. */
  readonly departures: string[] = [];
  readonly bank: BlockBank;
  /** Of all datagrams of flow state: lost and sent twice (fractions), longest delay (ms). */
  loss = 0;
  repeat = 0;
  delay = 0;
  /** Agents that start do not reach the state database for ports of source NAT. */
  storeAway = false;
  /** Decides about each datagram before chance does: true loses it. */
  lose: (datagram: Datagram) => boolean = () => false;

  readonly random: () => number;
  private readonly options: FleetOptions;
  private readonly flying: { readonly at: number; readonly order: number; readonly datagram: Datagram }[] = [];
  private order = 0;

  /** Hosts are put into the tunnel zone here; their ports are the test's to make. */
  constructor(world: World, count: number, options: FleetOptions = {}) {
    this.world = world;
    this.options = options;
    this.random = randomOf(options.seed ?? 1);
    this.bank = options.bank ?? new BlockBank();
    const tunnelZoneId = world.put('TunnelZone', { id: ZONE, name: 'tz', type: 'vxlan' });
    for (let i = 0; i < count; i++) {
      world.put('TunnelZoneHost', { tunnelZoneId, hostId: fleetHost(i), ipAddress: addressOf(i) });
      const state = new MemoryState(options.maxFlows ?? 1024);
      this.hosts.push(new FleetHost(i, state, this.start(i, state)));
    }
  }

  private start(i: number, state: MemoryState): Harness {
    const { limits = {}, timeouts = {}, uuids = 4_096 } = this.options;
    return new Harness(this.world, state, {
      archive: this.options.archive?.(i),
      now: this.now,
      hostId: fleetHost(i),
      limits,
      timeouts,
      uuids,
      bank: this.storeAway ? null : this.bank,
      onPublish: () => this.changed(),
      pinger: {
        ping: ({ remote }) => {
          const address = ipFormat(remote);
          const target = this.hosts.find(({ index }) => addressOf(index) === address);
          if (target?.alive) this.hosts[i].answers.push(address);
        },
        poll: (heard) => {
          for (const address of this.hosts[i].answers.splice(0)) heard(address);
        },
        close: () => {},
      },
    });
  }

  /** The agent of a host is killed and started again. @param flows whether the datapath still has its flows @param memory whether what
   * it knew of connections is still there */
  restart(i: number, flows = true, memory = true): void {
    const host = this.hosts[i];
    host.state = host.state.copy(flows);
    if (!memory) {
      host.state.connections = null;
      host.state.natBlocks = null;
    }
    host.harness = this.start(i, host.state);
    host.running = true;
  }

  /** The topology has changed: all hosts are to hear of it. */
  changed(): void {
    for (const { harness } of this.hosts) harness.hungry = true;
  }

  /** Lets time pass. @param check called after each step */
  run(ms: number, check?: () => void): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += STEP;
      this.step();
      check?.();
    }
  }

  /** Tells of changes of the topology, and runs until all hosts have taken them in. @throws if that takes suspiciously long */
  settle(): void {
    this.changed();
    for (let quiet = 0, n = 0; quiet < 12; n++) {
      if (n > 2_000) throw new Error('the fleet does not settle');
      this.run(STEP);
      const done = this.hosts.every(({ running, harness }) => !running || (harness.engine.idle && !harness.hungry));
      quiet = done && this.flying.length === 0 ? quiet + 1 : 0;
      // Datagrams that go round for ever are no reason to wait.
      if (n > 200 && done) return;
    }
  }

  private step(): void {
    this.arrive();
    for (const host of this.hosts) {
      if (!host.running || !host.alive) continue;
      const { harness } = host;
      harness.now = this.now;
      if (harness.hungry) harness.deliver();
      harness.turn();
      this.carry(host);
    }
    this.arrive();
  }

  /** A VM sends a frame by interface `vm<n>` of a host. What comes of it is in `deliveries` once time has passed. */
  send(i: number, n: number, frame: Uint8Array): void {
    const host = this.hosts[i];
    if (!host.alive) return;
    const ifindex = FIRST_IFINDEX + n;
    const { datapath } = host.harness as Harness<MemoryDatapath>;
    const flow = datapath.inject(ifindex, frame);
    if (flow !== null) this.perform(host, ifindex, frame, flow);
  }

  /** The same, and what came out of it within a time. Interface in words: `host/vm<n>`. */
  exchange(i: number, n: number, frame: Uint8Array, ms = 50): string[] {
    const before = this.deliveries.length;
    this.send(i, n, frame);
    this.run(ms);
    return this.deliveries
      .slice(before)
      .map(({ host, ifindex, text }) => `${host}/vm${ifindex - FIRST_IFINDEX} ${text}`);
  }

  /** Carries out what an engine has told its datapath to send. */
  private carry(host: FleetHost): void {
    const { executed } = host.harness.datapath;
    for (const { frame, action } of executed.splice(0)) this.perform(host, 0, frame, action);
  }

  private perform(host: FleetHost, inPort: number, frame: Uint8Array, action: Uint8Array): void {
    const output = action[A_OUTPUT];
    if (output !== OUT_PORT && output !== OUT_TUNNEL && output !== OUT_LIST) return;
    const target = readU32le(action, A_OUT_PORT);
    const tunnelKey = readU32le(action, A_TUNNEL_KEY);
    if (output === OUT_TUNNEL && tunnelKey === FLOW_STATE_KEY) {
      this.departures.push(`${host.index} state`);
      this.sendState(host, target, frame);
      return;
    }
    const bytes = carriedOut(frame, action);
    this.departures.push(`${host.index} packet`);
    if (output === OUT_PORT) this.deliver(host, target, bytes);
    else if (output === OUT_TUNNEL) this.tunnel(host, target, tunnelKey, bytes);
    else {
      const list = host.state.lists.get(target);
      for (const ifindex of list?.ports ?? []) if (ifindex !== inPort) this.deliver(host, ifindex, bytes);
      for (const { peer, key: k } of list?.remotes ?? []) this.tunnel(host, peer, k, bytes);
    }
  }

  private peerOf(host: FleetHost, peer: number): FleetHost | undefined {
    const id = host.state.tunnels.get(peer)?.hostId;
    return this.hosts.find((other) => other.id === id);
  }

  /** @param forwarded it has gone from one tunnel into the next: into no third one */
  private tunnel(host: FleetHost, peer: number, key: number, frame: Uint8Array, forwarded = false): void {
    const to = this.peerOf(host, peer);
    if (!to?.alive) return;
    const { ports = [], remotes = [] } = to.state.egress.get(key) ?? {};
    for (const ifindex of ports) this.deliver(to, ifindex, frame);
    if (!forwarded) for (const remote of remotes) this.tunnel(to, remote.peer, remote.key, frame, true);
  }

  private deliver({ index, state }: FleetHost, ifindex: number, frame: Uint8Array): void {
    if (!state.ports.has(ifindex)) return;
    const isIp = frame[12] === 0x08 && frame[13] === 0 ? true : frame[12] === 0x86 && frame[13] === 0xdd;
    const text = isIp ? packetWords(frame) : `ethertype ${((frame[12] << 8) | frame[13]).toString(16)}`;
    this.deliveries.push({ at: this.now, host: index, ifindex, frame, text });
  }

  private sendState(host: FleetHost, peer: number, frame: Uint8Array): void {
    const to = this.peerOf(host, peer);
    if (to === undefined) return;
    const datagram = { from: host.index, to: to.index, frame: frame.slice() };
    if (this.lose(datagram)) return;
    const copies = this.random() < this.repeat ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.random() < this.loss) continue;
      this.flying.push({ at: this.now + this.random() * this.delay, order: this.order++, datagram });
    }
  }

  /** Lets a frame arrive at a host under the key of flow state, as if from the underlay. */
  arriveState(i: number, frame: Uint8Array): void {
    this.hosts[i].harness.datapath.arriveState(frame);
  }

  private arrive(): void {
    const due = this.flying.filter(({ at }) => at <= this.now).sort((a, b) => a.at - b.at || a.order - b.order);
    if (due.length === 0) return;
    const rest = this.flying.filter(({ at }) => at > this.now);
    this.flying.length = 0;
    this.flying.push(...rest);
    for (const { datagram } of due) if (this.hosts[datagram.to].alive) this.arriveState(datagram.to, datagram.frame);
  }

  /** Errors and warnings of all engines. */
  complaints(): string[] {
    return this.hosts.flatMap(({ index, harness }) => harness.complaints.map((text) => `${index} ${text}`));
  }
}

function addressOf(i: number): string {
  return `192.0.2.${i + 1}`;
}
