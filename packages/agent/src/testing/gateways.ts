/**
 * A tenant with a way out by two gateways, on four hosts:
 *
 *   host 0: VMs a, b (10.0.1.10, .11)  ─ bridge ─┐
 *   host 3: VM d     (10.0.1.13)       ─────────┘ router ─┬─ host 1, vm0: uplink 198.18.1.1/24 ─ 198.18.1.254 ─┐
 *                                                         └─ host 2, vm0: uplink 198.18.2.1/24 ─ 198.18.2.254 ─┴─ outside
 *
 * Both uplinks are in one stateful port group and carry equal shares. VMs leave as 203.0.113.1, which leads back by either. Each VM is
 * called by nobody, unless it has called.
 */
import assert from 'node:assert/strict';
import { checksumUpdate, setU16, TCP_ACK, TCP_SYN, tcpFrame, u16, udpFrame } from '@weft/packet';
import { answerTo, attach, boundPort, World } from '@weft/simulator/testing';
import type { AgentEvent } from '../events.ts';
import { RESTORE_MS } from '../worker/connections/restorer.ts';
import { Fleet, type FleetOptions, fleetHost } from './fleet.ts';
import { type RecordInWords, recordsOf } from './records.ts';

export const OUTSIDE = '198.51.100.7';
export const PUBLIC = '203.0.113.1';
export const GATEWAY_MAC = 'ac:ca:ba:00:00:01';
const UPLINK_MACS = ['ac:ca:ba:00:00:11', 'ac:ca:ba:00:00:12'];
const OUTSIDE_MACS = ['02:00:00:00:00:f1', '02:00:00:00:00:f2'];
/** Hosts by what they are. */
export const INNER = 0;
export const LEFT = 1;
export const RIGHT = 2;
export const OTHER = 3;

export interface Vm {
  readonly host: number;
  /** Interface `vm<n>`. */
  readonly n: number;
  readonly mac: string;
  readonly ip: string;
  readonly port: string;
}

type Rule = Record<string, unknown>;

export interface GatewaysOptions extends FleetOptions {
  /** Ports that VMs leave by. */
  readonly ports?: readonly [from: number, to: number];
  readonly onChange?: 'finish' | 'reevaluate';
}

export class Gateways {
  readonly world = new World();
  readonly router: string;
  readonly bridge: string;
  readonly inside: string;
  readonly uplinks: readonly string[];
  readonly group: string;
  readonly vms: readonly Vm[];
  /** Chains of the VMs' ports: what they may send, and what comes to them. */
  readonly from: string;
  readonly to: string;
  readonly natIn: string;
  readonly natOut: string;
  readonly fleet: Fleet;

  constructor(options: GatewaysOptions = {}) {
    const { world } = this;
    const [portFrom, portTo] = options.ports ?? [1024, 65_535];
    const onChange = options.onChange ?? 'reevaluate';
    this.router = world.put('Router', {});
    this.bridge = world.put('Bridge', {});
    this.group = world.put('PortGroup', { stateful: true });
    this.inside = attach(world, this.router, this.bridge, ['10.0.1.1/24'], GATEWAY_MAC);
    this.from = world.chain([
      { type: 'accept', matchReturnFlow: true },
      { type: 'accept', onChange },
    ]);
    this.to = world.chain([
      { type: 'accept', dlType: 0x0806 },
      { type: 'accept', matchReturnFlow: true },
      { type: 'drop' },
    ]);
    this.vms = [
      [INNER, 0, 10],
      [INNER, 1, 11],
      [OTHER, 0, 13],
    ].map(([host, n, last]) => this.vm(host, n, last));
    this.uplinks = [1, 2].map((n) => this.uplink(n));
    const natTargets = [{ addressFrom: PUBLIC, portFrom, portTo }];
    this.natIn = world.chain([{ type: 'rev_snat', inPorts: this.uplinks }]);
    this.natOut = world.chain([{ type: 'snat', outPorts: this.uplinks, natTargets, onChange }]);
    world.patch('Router', this.router, { inboundFilterId: this.natIn, outboundFilterId: this.natOut });
    // What nobody has asked for goes nowhere.
    world.put('Route', { routerId: this.router, dstSubnet: '203.0.113.0/24', type: 'blackhole' });
    this.fleet = new Fleet(world, 4, options);
    this.fleet.settle();
    // Hosts get to know each other, and fetch what the first packets need.
    this.fleet.run(500);
    // Their archives are asked, and the test's loop gives them no chance to answer yet.
    if (options.archive !== undefined) this.fleet.run(RESTORE_MS);
    for (const v of [0, 1, 2]) {
      this.call(v, this.udp(v, 1, 1), 200);
      for (const by of [LEFT, RIGHT]) this.receive(by, this.answer(by), 200);
    }
    this.fleet.run(1_000);
  }

  private vm(host: number, n: number, last: number): Vm {
    const { world } = this;
    const mac = `02:00:00:00:00:${last}`;
    const ip = `10.0.1.${last}`;
    const port = boundPort(world, {
      bridgeId: this.bridge,
      hostId: fleetHost(host),
      interfaceName: `vm${n}`,
      inboundFilterId: this.from,
      outboundFilterId: this.to,
    });
    world.entry(`active/${port}`, fleetHost(host), '');
    world.entry(`mac/${this.bridge}`, mac, port);
    world.entry(`arp/${this.router}`, ip, mac);
    return { host, n, mac, ip, port };
  }

  private uplink(n: number): string {
    const { world } = this;
    const port = boundPort(world, {
      routerId: this.router,
      hostId: fleetHost(n),
      interfaceName: 'vm0',
      portSubnet: [`198.18.${n}.1/24`],
      portMac: UPLINK_MACS[n - 1],
      portGroupIds: [this.group],
    });
    world.entry(`active/${port}`, fleetHost(n), '');
    const nextHopGateway = `198.18.${n}.254`;
    world.put('Route', { routerId: this.router, dstSubnet: '0.0.0.0/0', nextHopPort: port, nextHopGateway });
    world.entry(`arp/${this.router}`, nextHopGateway, OUTSIDE_MACS[n - 1]);
    return port;
  }

  /** A datagram of VM `v` to the outside. */
  udp(v: number, srcPort: number, dstPort = 53, dst = OUTSIDE): Uint8Array {
    const { mac, ip } = this.vms[v];
    const ends = { ethSrc: mac, ethDst: GATEWAY_MAC, src: ip, dst };
    return udpFrame({ ...ends, srcPort, dstPort, payload: new Uint8Array(8) });
  }

  tcp(v: number, srcPort: number, flags = TCP_SYN, dstPort = 80, dst = OUTSIDE): Uint8Array {
    const { mac, ip } = this.vms[v];
    return tcpFrame({ ethSrc: mac, ethDst: GATEWAY_MAC, src: ip, dst, srcPort, dstPort, flags });
  }

  /** VM `v` sends. @returns what came out within a time: `host/vm<n> packet` */
  call(v: number, frame: Uint8Array, ms = 50): string[] {
    const { host, n } = this.vms[v];
    return this.fleet.exchange(host, n, frame, ms);
  }

  /** The answer to what came out last at an uplink, to come in by the uplink of host `by`. */
  answer(by: number, to = this.lastOut()): Uint8Array {
    const frame = answerTo(to);
    frame.set(
      UPLINK_MACS[by - 1].split(':').map((x) => Number.parseInt(x, 16)),
      0,
    );
    frame.set(
      OUTSIDE_MACS[by - 1].split(':').map((x) => Number.parseInt(x, 16)),
      6,
    );
    return frame;
  }

  /** The outside sends by the uplink of host `by`. @returns what came out within a time */
  receive(by: number, frame: Uint8Array, ms = 50): string[] {
    return this.fleet.exchange(by, 0, frame, ms);
  }

  /** What came out last at an uplink. */
  lastOut(): Uint8Array {
    const out = this.fleet.deliveries.findLast(({ host }) => host === LEFT || host === RIGHT);
    if (out === undefined) throw new Error('nothing has left');
    return out.frame;
  }

  /** Sets the rules of a chain, and lets all hosts take that in. */
  rules(chainId: string, rules: readonly Rule[]): void {
    const ruleIds = rules.map((rule) => this.world.put('Rule', { chainId, ...rule }));
    this.world.patch('Chain', chainId, { ruleIds });
    this.fleet.settle();
  }

  // ---- conversations

  /** A datagram of VM a leaves by either gateway. @returns the translated source port */
  leave(srcPort: number): number {
    const out = this.call(0, this.udp(0, srcPort));
    assert.equal(out.length, 1, `${out}`);
    const [, port] = /^[12]\/vm0 udp 203\.0\.113\.1:(\d+) > 198\.51\.100\.7:53$/.exec(out[0]) ?? assert.fail(out[0]);
    return Number(port);
  }

  /** A TCP connection of VM a from this port, established; answers come by the host `by`. @returns an answer */
  connect(srcPort: number, by: number): Uint8Array {
    assert.equal(this.call(0, this.tcp(0, srcPort)).length, 1);
    const back = this.answer(by);
    setTcpFlags(back, TCP_SYN | TCP_ACK);
    assert.equal(this.receive(by, back).length, 1);
    assert.equal(this.call(0, this.tcp(0, srcPort, TCP_ACK)).length, 1);
    return back;
  }

  // ---- what hosts know

  /** Connections that a host knows. @param port those of this port of a VM */
  records(host: number, port?: number): RecordInWords[] {
    return recordsOf(this.fleet.hosts[host].table, this.fleet.now).filter(
      ({ text }) => port === undefined || text.includes(`:${port}>`),
    );
  }

  texts(host: number, port?: number): string[] {
    return this.records(host, port).map(({ text }) => text);
  }

  status(host: number): Record<string, number> {
    return this.fleet.hosts[host].harness.engine.status() as Record<string, number>;
  }

  /** Packets that the agent of a host has dropped, by reason. */
  drops(host: number): Record<string, number> {
    return this.status(host).drops as unknown as Record<string, number>;
  }

  /** Counters of the exchange of state. */
  exchanged(host: number): Record<string, number> {
    return this.status(host).stateExchange as unknown as Record<string, number>;
  }

  events(host: number, event: AgentEvent): Record<string, unknown>[] {
    return this.fleet.hosts[host].harness.events.filter((one) => one.event === event).map(({ fields }) => fields);
  }
}

/** What VM a gets as the answer to a datagram of this port. */
export function answered(srcPort: number): string[] {
  return [`0/vm0 udp ${OUTSIDE}:53 > 10.0.1.10:${srcPort}`];
}

/** Sets the flags of a TCP segment over IPv4 without options, and what that changes of its checksum. */
export function setTcpFlags(frame: Uint8Array, flags: number): void {
  const at = 14 + 20;
  const word = (frame[at + 12] << 8) | frame[at + 13];
  frame[at + 13] = flags;
  const after = checksumUpdate(u16(frame, at + 16), word, u16(frame, at + 12));
  setU16(frame, at + 16, after);
}
