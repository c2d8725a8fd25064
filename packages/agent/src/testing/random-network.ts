/** Random topologies, changes and packets for the engine's property tests. All choices come from one generator of numbers. */
import { A_OUT_PORT, A_OUTPUT, OUT_PORT, readU32le } from '@weft/flow';
import { arpRequest, icmpEcho, macFormat, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, tcpFrame, udpFrame } from '@weft/packet';
import { answerTo, uuid, World } from '@weft/simulator/testing';
import { carriedOut } from './carry-out.ts';
import { LOCAL_HOST } from './harness.ts';

export const REMOTE_HOST = '00000000-0000-4000-8000-00000000bbbb';

const FLAGS = [TCP_SYN, TCP_SYN, TCP_ACK, TCP_SYN | TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST];
/** Packets that were heard last: what may be answered. */
const HEARD = 16;

/** mulberry32: a small generator with a 32-bit seed; the same seed gives the same run. */
export function randomOf(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Vm {
  readonly index: number;
  readonly net: number;
  readonly mac: string;
  readonly ip4: string;
  readonly ip6: string;
  port: string;
}

/** Router with `nets` bridges, VMs on two hosts; local VM i is bound to interface `vm<i>` (ifindex 10 + i). */
export class RandomNetwork {
  readonly world = new World();
  readonly vms: Vm[] = [];
  readonly router: string;
  readonly bridges: string[] = [];
  readonly routerPorts: string[] = [];
  private readonly random: () => number;
  private readonly extraRoutes: string[] = [];
  private readonly chains: string[] = [];
  private readonly addressGroups: string[] = [];
  private readonly portGroups: string[] = [];
  private readonly heard: { readonly ifindex: number; readonly frame: Uint8Array }[] = [];

  constructor(random: () => number) {
    this.random = random;
    const { world } = this;
    const zone = uuid(0x700);
    world.put('TunnelZone', { id: zone, name: 'tz', type: 'vxlan' });
    this.member(LOCAL_HOST, '192.0.2.1');
    this.member(REMOTE_HOST, '192.0.2.2');
    this.router = world.put('Router', {});
    for (let g = 0; g < 2; g++) {
      this.addressGroups.push(world.put('IpAddrGroup', { name: `g${g}` }));
      this.portGroups.push(world.put('PortGroup', {}));
    }
    const nets = 1 + this.below(3);
    for (let n = 0; n < nets; n++) {
      const bridgeId = world.put('Bridge', {});
      this.bridges.push(bridgeId);
      const portSubnet = [`10.0.${n}.1/24`, `fd00:${n}::1/64`];
      const port = world.put('Port', { routerId: this.router, portSubnet, portMac: `ac:ca:ba:00:00:0${n}` });
      this.routerPorts.push(port);
      world.link(port, world.put('Port', { bridgeId }));
      for (const dstSubnet of portSubnet) world.put('Route', { routerId: this.router, dstSubnet, nextHopPort: port });
    }
    for (let i = 0; i < 6; i++) {
      const net = this.below(nets);
      const vm = {
        index: i,
        net,
        mac: `02:00:00:00:00:1${i}`,
        ip4: `10.0.${net}.1${i}`,
        ip6: `fd00:${net}::1${i}`,
        port: '',
      };
      vm.port = world.put('Port', {
        bridgeId: this.bridges[net],
        hostId: i < 4 ? LOCAL_HOST : REMOTE_HOST,
        interfaceName: `vm${i}`,
      });
      this.vms.push(vm);
      if (i >= 4) world.entry(`active/${vm.port}`, REMOTE_HOST, '');
      if (this.random() < 0.7) this.know(vm);
    }
  }

  private below(n: number): number {
    return Math.floor(this.random() * n);
  }

  private pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)];
  }

  private member(hostId: string, ipAddress: string): void {
    this.world.put('TunnelZoneHost', { tunnelZoneId: uuid(0x700), hostId, ipAddress });
  }

  /** The bridge and the router know where the VM is. */
  private know(vm: Vm): void {
    this.world.entry(`mac/${this.bridges[vm.net]}`, vm.mac, vm.port);
    for (const ip of [vm.ip4, vm.ip6]) this.world.entry(`arp/${this.router}`, ip, vm.mac);
  }

  /** A frame from a local VM, and the interface by which it enters. */
  frame(): { ifindex: number; frame: Uint8Array } {
    const from = this.pick(this.vms.slice(0, 4));
    const to = this.pick(this.vms);
    const v6 = this.random() < 0.3;
    const same = to.net === from.net && this.random() < 0.7;
    const ethDst = same ? to.mac : macFormat(this.routerMac(from.net), 0);
    const elsewhere = v6 ? 'fd99::1' : this.pick(['198.51.100.7', '10.9.0.3', '10.9.0.4', '10.9.0.1']);
    const dst = this.random() < 0.2 ? elsewhere : v6 ? to.ip6 : to.ip4;
    const base = { ethSrc: from.mac, ethDst, src: v6 ? from.ip6 : from.ip4, dst };
    const ports = { srcPort: 1000 + this.below(3), dstPort: this.pick([22, 53, 80]) };
    const ifindex = 10 + from.index;
    const payload = new Uint8Array(4);
    switch (this.below(5)) {
      case 0:
        return { ifindex, frame: tcpFrame({ ...base, ...ports, payload, flags: this.pick(FLAGS) }) };
      case 1:
        return { ifindex, frame: icmpEcho({ ...base, id: 7, payload }) };
      case 2:
        return { ifindex, frame: arpRequest({ senderMac: from.mac, senderIp: from.ip4, targetIp: to.ip4 }) };
      default:
        return { ifindex, frame: udpFrame({ ...base, ...ports, payload }) };
    }
  }

  /** A frame has left by an action: what comes to a VM of this host may be answered. */
  hear(frame: Uint8Array, action: Uint8Array): void {
    if (action[A_OUTPUT] !== OUT_PORT) return;
    const type = (frame[12] << 8) | frame[13];
    if (type !== 0x0800 && type !== 0x86dd) return;
    this.heard.push({ ifindex: readU32le(action, A_OUT_PORT), frame: carriedOut(frame, action) });
    if (this.heard.length > HEARD) this.heard.shift();
  }

  /** The answer of a local VM to something that it has heard; undefined: it has heard nothing. */
  answer(): { ifindex: number; frame: Uint8Array } | undefined {
    if (this.heard.length === 0) return undefined;
    const { ifindex, frame } = this.pick(this.heard);
    return { ifindex, frame: answerTo(frame) };
  }

  private routerMac(net: number): Uint8Array {
    const mac = this.world.get('Port', this.routerPorts[net])?.portMac as string;
    return Uint8Array.from(mac.split(':').map((x) => Number.parseInt(x, 16)));
  }

  /** A rule of any kind about something that there is. */
  private rule(vm: Vm): Record<string, unknown> {
    const inverted = this.random() < 0.3;
    const condition = this.pick([
      { nwProto: 6 },
      { nwProto: 17, tpDst: { start: 53, end: 53 } },
      { dlSrc: vm.mac },
      { nwSrc: `${vm.ip4}/32` },
      { ipAddrGroupSrc: this.pick(this.addressGroups), invIpAddrGroupSrc: inverted },
      { ipAddrGroupDst: this.pick(this.addressGroups), invIpAddrGroupDst: inverted },
      { portGroup: this.pick(this.portGroups), invPortGroup: inverted },
      { inPortGroup: this.pick(this.portGroups) },
      { outPortGroup: this.pick(this.portGroups), invOutPortGroup: inverted },
      { traversedDevice: this.pick([this.router, ...this.bridges]), invTraversedDevice: inverted },
      { icmpDataDstIp: '10.0.0.0/16' },
      { matchReturnFlow: true },
      { matchForwardFlow: true },
      {},
    ]);
    if (this.random() < 0.25) return this.translation(vm);
    const type = this.pick(['accept', 'drop', 'reject', 'return', 'continue', 'jump']);
    if (type === 'accept' || type === 'return') return { type, ...condition, onChange: this.onChange() };
    if (type !== 'jump') return { type, ...condition };
    return this.chains.length > 0
      ? { type, jumpChainId: this.pick(this.chains), ...condition }
      : { type: 'accept', ...condition };
  }

  private onChange(): string {
    return this.random() < 0.4 ? 'finish' : 'reevaluate';
  }

  /** A rule that translates. VMs are shown as 10.9.0.1 and .2, and called by .3 and .4. */
  private translation(vm: Vm): Record<string, unknown> {
    const flowAction = this.pick(['accept', 'continue']);
    const changes = { flowAction, onChange: this.onChange() };
    const outPorts = [this.pick(this.routerPorts)];
    const dynamic = [{ addressFrom: '10.9.0.1', portFrom: 1024, portTo: 1279 }];
    return this.pick([
      { type: 'snat', natTargets: dynamic, outPorts, ...changes },
      { type: 'snat', natTargets: dynamic, nwProto: 17, ...changes },
      { type: 'snat', natTargets: [{ addressFrom: '10.9.0.2' }], nwSrc: `${vm.ip4}/32`, flowAction },
      { type: 'masquerade', outPorts, ...changes },
      { type: 'dnat', natTargets: [{ addressFrom: vm.ip4, portFrom: 80 }], nwDst: '10.9.0.3/32', ...changes },
      { type: 'dnat', natTargets: [{ addressFrom: vm.ip4 }], nwDst: '10.9.0.4/32', flowAction },
      { type: 'rev_snat', flowAction },
      { type: 'rev_dnat', flowAction },
    ]);
  }

  /** Filters of the router that translate what passes, and back. */
  private translate(vm: Vm): string {
    const { world, router } = this;
    const changes = { onChange: this.onChange() };
    const source = this.pick([
      { type: 'snat', natTargets: [{ addressFrom: '10.9.0.1', portFrom: 1024, portTo: 1279 }], ...changes },
      { type: 'masquerade', ...changes },
    ]);
    const natTargets = [{ addressFrom: vm.ip4, portFrom: 80 }];
    const tracks = this.random() < 0.5 ? [{ type: 'continue', matchForwardFlow: true }] : [];
    world.patch('Router', router, {
      inboundFilterId: world.chain([
        ...tracks,
        { type: 'rev_snat', flowAction: 'continue' },
        { type: 'dnat', nwDst: '10.9.0.3/32', natTargets, ...changes },
      ]),
      outboundFilterId: world.chain([
        { type: 'rev_dnat' },
        {
          ...source,
          outPorts: [this.pick(this.routerPorts)],
          matchForwardFlow: this.random() < 0.5 ? true : undefined,
        },
      ]),
    });
    return `translations for ${vm.ip4}`;
  }

  /** A VM is called by nobody, unless it has called. */
  private guard(vm: Vm): string {
    const chain = this.world.chain([
      { type: 'accept', dlType: 0x0806 },
      { type: 'accept', matchReturnFlow: true },
      { type: 'drop' },
    ]);
    const from = this.world.chain([{ type: 'accept', matchForwardFlow: true, onChange: this.onChange() }]);
    this.world.patch('Port', vm.port, { outboundFilterId: chain, inboundFilterId: from });
    return `guard of ${vm.ip4}`;
  }

  /** Rules with memory, so that there are connections from the beginning. */
  equip(): string[] {
    const some = this.vms.filter(() => this.random() < 0.5);
    return [...some.map((vm) => this.guard(vm)), ...(this.random() < 0.7 ? [this.translate(this.pick(this.vms))] : [])];
  }

  /** One random change of the topology or the tables. @returns what it was */
  change(): string {
    const { world } = this;
    const vm = this.pick(this.vms);
    const net = this.below(this.bridges.length);
    const flip = (type: 'Port' | 'Bridge' | 'Router', id: string): void =>
      world.patch(type, id, { adminStateUp: !world.get(type, id)?.adminStateUp });
    switch (this.below(20)) {
      case 0:
        flip('Port', vm.port);
        return 'port admin state';
      case 1:
        flip('Bridge', this.bridges[net]);
        return 'bridge admin state';
      case 2:
        flip('Router', this.router);
        return 'router admin state';
      case 3:
        flip('Port', this.routerPorts[net]);
        return 'router port admin state';
      case 4: {
        const dstSubnet = this.pick([
          `10.0.${net}.1${vm.index}/32`,
          '10.0.0.0/16',
          '0.0.0.0/0',
          '198.51.100.0/24',
          `fd00:${net}::/64`,
          '::/0',
        ]);
        const type = this.pick(['blackhole', 'reject', 'normal']);
        const target = type === 'normal' ? { nextHopPort: this.routerPorts[net] } : {};
        this.extraRoutes.push(
          world.put('Route', { routerId: this.router, dstSubnet, type, weight: this.below(2), ...target }),
        );
        return `route ${type} ${dstSubnet}`;
      }
      case 5: {
        const route = this.extraRoutes.pop();
        if (route) world.remove('Route', route);
        return 'route removed';
      }
      case 6: {
        const rules = [this.rule(vm), this.rule(vm)];
        this.chains.push(world.chain([...rules, { type: this.pick(['drop', 'reject']), nwDst: vm.ip4 }]));
        return 'chain made';
      }
      case 7: {
        const chain = this.chains.length > 0 && this.random() < 0.7 ? this.pick(this.chains) : undefined;
        const field = this.pick(['inboundFilterId', 'outboundFilterId']);
        const [type, id] = this.pick([
          ['Port', vm.port],
          ['Bridge', this.bridges[net]],
          ['Router', this.router],
          ['Port', this.routerPorts[net]],
        ] as const);
        world.patch(type, id, { [field]: chain });
        return `${type} ${field}`;
      }
      case 8: {
        const chainId = this.chains.length > 0 ? this.pick(this.chains) : undefined;
        if (!chainId) return 'nothing';
        // The chain itself is among those that it may jump to.
        const rule = world.put('Rule', { chainId, ...this.rule(vm) });
        const ruleIds = [rule, ...((world.get('Chain', chainId)?.ruleIds as string[]) ?? [])];
        world.patch('Chain', chainId, { ruleIds });
        return 'rule added';
      }
      case 9:
        world.entry(`mac/${this.bridges[vm.net]}`, vm.mac, this.random() < 0.5 ? this.pick(this.vms).port : null);
        return 'MAC moved';
      case 10:
        world.entry(`arp/${this.router}`, vm.ip4, this.random() < 0.5 ? this.pick(this.vms).mac : null);
        return 'neighbour changed';
      case 11: {
        const remote = world.get('Port', vm.port)?.hostId === REMOTE_HOST;
        world.patch('Port', vm.port, { hostId: remote ? LOCAL_HOST : REMOTE_HOST });
        if (!remote) world.entry(`active/${vm.port}`, REMOTE_HOST, '');
        return 'port rebound';
      }
      case 12: {
        const member = this.pick([vm.ip4, vm.ip6, `10.0.${net}.0/24`, `fd00:${net}::/64`]);
        const present = this.random() < 0.6;
        world.entry(`addresses/${this.pick(this.addressGroups)}`, member, present ? '' : null);
        return `${member} ${present ? 'in' : 'not in'} an address group`;
      }
      case 13:
        world.patch('Port', vm.port, { portGroupIds: this.random() < 0.7 ? [this.pick(this.portGroups)] : undefined });
        return 'groups of a port';
      case 14: {
        const chainId = this.chains.length > 0 ? this.pick(this.chains) : undefined;
        if (!chainId) return 'nothing';
        const [, ...ruleIds] = world.get('Chain', chainId)!.ruleIds as string[];
        world.patch('Chain', chainId, { ruleIds });
        return 'rule removed';
      }
      case 15:
        return this.translate(vm);
      case 16:
        return this.guard(vm);
      case 17: {
        const group = this.pick(this.portGroups);
        world.patch('PortGroup', group, { stateful: !world.get('PortGroup', group)?.stateful });
        return 'stateful group';
      }
      case 18:
        if (world.get('TunnelZoneHost', `${uuid(0x700)}:${REMOTE_HOST}`))
          world.remove('TunnelZoneHost', `${uuid(0x700)}:${REMOTE_HOST}`);
        else this.member(REMOTE_HOST, this.pick(['192.0.2.2', '192.0.2.3']));
        return 'tunnel membership';
      default: {
        const index = 6 + this.below(3);
        const known = this.vms.find((v) => v.index === index);
        if (known) return 'nothing';
        const port = world.put('Port', {
          bridgeId: this.bridges[net],
          hostId: REMOTE_HOST,
          interfaceName: `vm${index}`,
        });
        this.vms.push({
          index,
          net,
          mac: `02:00:00:00:00:1${index}`,
          ip4: `10.0.${net}.1${index}`,
          ip6: `fd00:${net}::1${index}`,
          port,
        });
        world.entry(`active/${port}`, REMOTE_HOST, '');
        return 'port added';
      }
    }
  }
}
