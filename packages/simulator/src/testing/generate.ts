/**
 * Random topologies, packets and changes for property tests. A plan is plain small numbers, so that fast-check can shrink it;
 * `buildScenario` makes a world of it. Whatever the numbers, the world obeys the object model.
 *
 * Longer than other files because plan, world, packets and changes refer to the same numbers; rules have a file of their own.
 */
import { FRAG_FIRST, FRAG_LATER } from '@weft/flow';
import { arpRequest, ethFrame, icmpEcho, icmpError, ndNeighborSolicit, tcpFrame, udpFrame } from '@weft/packet';
import fc from 'fast-check';
import { addGroups, groupPlan, MEMBERS, ruleOf, rulePlan } from './generate-rules.ts';
import { boundPort, HOST } from './networks.ts';
import { uuid, World } from './world.ts';

type Value = Record<string, unknown>;

const index = fc.nat({ max: 1000 });

export const worldPlan = fc.record({
  /** VMs on each bridge. */
  bridges: fc.array(fc.constantFrom(2, 1, 3, 0), { minLength: 1, maxLength: 4, size: 'max' }),
  routers: fc.nat({ max: 3 }),
  /** Router – bridge. */
  attachments: fc.array(fc.tuple(index, index), { maxLength: 6, size: 'max' }),
  /** Router – router. */
  links: fc.array(fc.tuple(index, index), { maxLength: 3 }),
  /** Routers with a bound port of their own. */
  exits: fc.array(index, { maxLength: 2 }),
  /** Bridge behind a VLAN-aware one. */
  trunks: fc.array(fc.tuple(index, index, fc.integer({ min: 1, max: 2 })), { maxLength: 2 }),
  routes: fc.array(
    fc.record({
      router: index,
      dst: index,
      src: fc.nat({ max: 3 }),
      type: fc.nat({ max: 5 }),
      exit: index,
      weight: fc.nat({ max: 1 }),
    }),
    { maxLength: 6 },
  ),
  groups: groupPlan,
  chains: fc.array(fc.array(rulePlan, { minLength: 1, maxLength: 4 }), { maxLength: 4 }),
  /** Where the chains are used. */
  filters: fc.array(fc.tuple(index, index, fc.boolean()), { maxLength: 5 }),
  /** Ports that are admin-down, and bound ones that are not active. */
  down: fc.array(index, { maxLength: 1 }),
  inactive: fc.array(index, { maxLength: 1 }),
  /** Bits: is the n-th VM's MAC, and its address, known? */
  knownMacs: fc.oneof(fc.constant(0xfff), fc.nat({ max: 0xfff })),
  knownNeighbours: fc.oneof(fc.constant(0xfff), fc.nat({ max: 0xfff })),
});
export type WorldPlan = typeof worldPlan extends fc.Arbitrary<infer T> ? T : never;

export interface Vm {
  readonly port: string;
  readonly bridge: string;
  readonly mac: string;
  readonly ip4: string;
  readonly ip6: string;
}

export interface Scenario {
  readonly world: World;
  readonly bridges: string[];
  readonly routers: string[];
  readonly vms: Vm[];
  /** Linked or bound router ports, with router, MAC and subnet number (0: a link). */
  readonly routerPorts: {
    readonly port: string;
    readonly router: string;
    readonly mac: string;
    readonly net: number;
  }[];
  readonly chains: string[];
  readonly addressGroups: string[];
  readonly portGroups: string[];
  /** Addresses behind which others are: destinations of packets. */
  readonly services: { readonly ip4: string; readonly ip6: string }[];
  /** All ports by which packets may enter. */
  readonly entries: string[];
  readonly ports: string[];
}

const hex = (n: number) => n.toString(16).padStart(2, '0');
const at = <T>(items: readonly T[], i: number): T => items[i % items.length];

export function buildScenario(plan: WorldPlan): Scenario {
  const world = new World();
  const s: Scenario = {
    world,
    bridges: [],
    routers: [],
    vms: [],
    routerPorts: [],
    chains: [],
    addressGroups: [],
    portGroups: [],
    services: [],
    entries: [],
    ports: [],
  };
  for (let i = 0; i < plan.routers; i++) s.routers.push(world.put('Router', {}));
  plan.bridges.forEach((count, b) => {
    const bridge = world.put('Bridge', {});
    s.bridges.push(bridge);
    for (let i = 0; i < count; i++) {
      const n = s.vms.length + 1;
      const port = boundPort(world, { bridgeId: bridge });
      s.vms.push({
        port,
        bridge,
        mac: `02:00:00:00:00:${hex(n)}`,
        ip4: `10.0.${b + 1}.${n + 9}`,
        ip6: `fd00:${b + 1}::${hex(n + 9)}`,
      });
      s.entries.push(port);
      s.ports.push(port);
    }
  });
  for (const [from, to, vlanId] of plan.trunks) trunk(s, from, to, vlanId);
  if (s.routers.length > 0) connectRouters(s, plan);
  addGroups(s, plan.groups);
  // First the chains, then their rules: any may jump to any.
  for (const _ of plan.chains) s.chains.push(world.put('Chain', {}));
  for (const [i, rules] of plan.chains.entries()) {
    const chainId = s.chains[i];
    const ruleIds = rules.map((rule) => world.put('Rule', { chainId, ...ruleOf(s, rule) }));
    world.patch('Chain', chainId, { ruleIds });
  }
  for (const [target, chain, inbound] of plan.filters)
    if (s.chains.length > 0) setFilter(s, target, at(s.chains, chain), inbound);
  for (const port of plan.down) if (s.ports.length > 0) world.patch('Port', at(s.ports, port), { adminStateUp: false });
  for (const port of plan.inactive) if (s.ports.length > 0) world.entry(`active/${at(s.ports, port)}`, HOST, null);
  s.vms.forEach((vm, i) => {
    if (plan.knownMacs & (1 << i)) world.entry(`mac/${vm.bridge}`, vm.mac, vm.port);
    if (plan.knownNeighbours & (1 << i)) {
      for (const router of s.routers) for (const ip of [vm.ip4, vm.ip6]) world.entry(`arp/${router}`, ip, vm.mac);
    }
  });
  return s;
}

function trunk(s: Scenario, from: number, to: number, vlanId: number): void {
  const { world, bridges } = s;
  const upper = at(bridges, from);
  const lower = at(bridges, to);
  const taken = [...world.objects.values()].some((o) => o.bridgeId === upper && o.vlanId === vlanId);
  if (upper === lower || taken) return;
  const port = world.put('Port', { bridgeId: upper, vlanId });
  world.link(port, world.put('Port', { bridgeId: lower }));
  s.ports.push(port);
}

function connectRouters(s: Scenario, plan: WorldPlan): void {
  const { world, routers, bridges } = s;
  const mac = () => `ac:ca:ba:00:00:${hex(s.routerPorts.length + 1)}`;
  const add = (port: string, router: string, portMac: string, net: number) => {
    s.routerPorts.push({ port, router, mac: portMac, net });
    s.ports.push(port);
  };
  const connected = (routerId: string, port: string, subnets: string[]) => {
    for (const subnet of subnets) world.put('Route', { routerId, dstSubnet: subnet, nextHopPort: port });
  };
  for (const [r, b] of plan.attachments) {
    const routerId = at(routers, r);
    const net = (b % bridges.length) + 1;
    if (s.routerPorts.some((p) => p.router === routerId && p.net === net)) continue;
    const end = (r % routers.length) + 1;
    const portMac = mac();
    const subnets = [`10.0.${net}.${end}/24`, `fd00:${net}::${end}/64`];
    const port = world.put('Port', { routerId, portMac, portSubnet: subnets });
    world.link(port, world.put('Port', { bridgeId: at(bridges, b) }));
    connected(routerId, port, subnets);
    add(port, routerId, portMac, net);
  }
  for (const [i, [r, q]] of plan.links.entries()) {
    const near = at(routers, r);
    const far = at(routers, q);
    if (near === far) continue;
    const ends = [near, far].map((routerId, end) => {
      const portMac = mac();
      const port = world.put('Port', {
        routerId,
        portMac,
        portSubnet: [`10.8.${i}.${end + 1}/30`, `fd00:8${i}::${end + 1}/64`],
      });
      add(port, routerId, portMac, 0);
      return port;
    });
    world.link(ends[0], ends[1]);
    for (const [end, routerId] of [near, far].entries()) {
      const weight = 1;
      world.put('Route', {
        routerId,
        dstSubnet: '10.0.0.0/8',
        nextHopPort: ends[end],
        nextHopGateway: `10.8.${i}.${2 - end}`,
        weight,
      });
      world.put('Route', {
        routerId,
        dstSubnet: 'fd00::/16',
        nextHopPort: ends[end],
        nextHopGateway: `fd00:8${i}::${2 - end}`,
        weight,
      });
    }
  }
  for (const [i, r] of plan.exits.entries()) {
    const routerId = at(routers, r);
    const portMac = mac();
    const port = boundPort(world, { routerId, portMac, portSubnet: [`10.9.${i}.1/24`] });
    world.put('Route', { routerId, dstSubnet: '0.0.0.0/0', nextHopPort: port, nextHopGateway: `10.9.${i}.9` });
    world.entry(`arp/${routerId}`, `10.9.${i}.9`, '02:00:00:00:99:09');
    add(port, routerId, portMac, 100 + i);
    s.entries.push(port);
  }
  for (const route of plan.routes) addRoute(s, route);
}

const DESTINATIONS = [
  '10.0.1.0/24',
  '10.0.2.0/24',
  '10.0.1.10/32',
  '10.0.2.11/32',
  '10.0.0.0/16',
  '0.0.0.0/0',
  'fd00:1::/64',
  'fd00:2::/48',
  '::/0',
  '8.8.0.0/16',
];
const SOURCES = ['', '10.0.1.0/24', '10.0.1.0/25', '10.0.0.0/8'];

/** Adds a route; undefined if the router has no port for it. */
export function addRoute(s: Scenario, plan: WorldPlan['routes'][number]): string | undefined {
  const routerId = at(s.routers, plan.router);
  const type = at(['normal', 'normal', 'normal', 'blackhole', 'reject', 'local'], plan.type);
  const dstSubnet = at(DESTINATIONS, plan.dst);
  const srcSubnet = SOURCES[plan.src];
  const fields: Value = { routerId, type, dstSubnet, weight: plan.weight };
  if (srcSubnet !== '' && !dstSubnet.includes(':')) fields.srcSubnet = srcSubnet;
  if (type === 'normal') {
    const exits = s.routerPorts.filter((p) => p.router === routerId);
    if (exits.length === 0) return undefined;
    fields.nextHopPort = at(exits, plan.exit).port;
  }
  return s.world.put('Route', fields);
}

/** Uses a chain (or none) somewhere. */
export function setFilter(s: Scenario, target: number, chain: string | undefined, inbound: boolean): void {
  const targets: ['Bridge' | 'Router' | 'Port', string][] = [
    ...s.bridges.map((id): ['Bridge', string] => ['Bridge', id]),
    ...s.routers.map((id): ['Router', string] => ['Router', id]),
    ...s.ports.map((id): ['Port', string] => ['Port', id]),
  ];
  const [type, id] = at(targets, target);
  s.world.patch(type, id, { [inbound ? 'inboundFilterId' : 'outboundFilterId']: chain });
}

export const packetPlan = fc.record({
  from: index,
  to: index,
  /** 0–2: to the receiver, or a router if it is elsewhere; 3: to a router; 4: broadcast; 5: unknown. */
  l2: fc.nat({ max: 5 }),
  v6: fc.boolean(),
  /** TCP, echo, ARP or ND, no IP, UDP, GRE, an ICMP error. */
  kind: fc.nat({ max: 6 }),
  ports: fc.tuple(fc.integer({ min: 1000, max: 1003 }), fc.integer({ min: 79, max: 82 })),
  ttl: fc.constantFrom(64, 64, 64, 1, 2),
  tos: fc.constantFrom(0, 4),
  vlan: fc.constantFrom(0, 0, 0, 1, 2),
  fragment: fc.constantFrom(0, 0, 0, FRAG_FIRST, FRAG_LATER),
});
export type PacketPlan = typeof packetPlan extends fc.Arbitrary<infer T> ? T : never;

/** A frame and the port by which it enters; undefined if the scenario has none to enter by. */
export function buildPacket(s: Scenario, plan: PacketPlan): { frame: Uint8Array; port: string } | undefined {
  if (s.entries.length === 0) return undefined;
  const port = at(s.entries, plan.from);
  const stranger: Vm = { port, bridge: '', mac: '02:00:00:00:99:01', ip4: '8.8.8.8', ip6: 'fd00:99::9' };
  const sender = s.vms.find((vm) => vm.port === port) ?? stranger;
  const service = s.services.length > 0 && plan.to % 3 === 2 ? { ...stranger, ...at(s.services, plan.to) } : undefined;
  const receiver = service ?? (plan.to % 5 === 4 || s.vms.length === 0 ? stranger : at(s.vms, plan.to));
  const routers = s.routerPorts.filter((p) => p.net !== 0);
  const linked =
    routers.find((p) => sender.ip4.startsWith(`10.0.${p.net}.`)) ?? routers.find((p) => p.port === port) ?? routers[0];
  const routed = plan.l2 < 4 && linked && (plan.l2 > 2 || receiver.bridge !== sender.bridge);
  const ethDst =
    plan.l2 === 4 ? 'ff:ff:ff:ff:ff:ff' : plan.l2 === 5 ? '02:00:00:00:77:77' : routed ? linked.mac : receiver.mac;
  const vlan = plan.vlan === 0 ? {} : { vlan: plan.vlan };
  const [src, dst] = plan.v6 ? [sender.ip6, receiver.ip6] : [sender.ip4, receiver.ip4];
  const head = { ethSrc: sender.mac, ethDst, src, dst, ttl: plan.ttl, tos: plan.tos, ...vlan };
  const [srcPort, dstPort] = plan.ports;
  let frame: Uint8Array;
  if (plan.kind === 0) frame = tcpFrame({ ...head, srcPort, dstPort });
  else if (plan.kind === 1) frame = icmpEcho({ ...head, id: srcPort, seq: 1 });
  else if (plan.kind === 2 && plan.v6) frame = ndNeighborSolicit({ mac: sender.mac, src, target: dst, ...vlan });
  else if (plan.kind === 2) frame = arpRequest({ senderMac: sender.mac, senderIp: src, targetIp: dst, ...vlan });
  else if (plan.kind === 3 && plan.fragment === 0) {
    frame = ethFrame({ ethSrc: sender.mac, ethDst, type: 0x88b5, payload: new Uint8Array(46), ...vlan });
  } else if (plan.kind === 6) frame = unreachable(head, srcPort, dstPort);
  else frame = udpFrame({ ...head, srcPort, dstPort, payload: new Uint8Array(16) });
  // GRE: a protocol without ports.
  if (plan.kind === 5) frame[(plan.vlan === 0 ? 14 : 18) + (plan.v6 ? 6 : 9)] = 47;
  if (!plan.v6 && plan.kind !== 2 && plan.fragment !== 0) {
    const l3 = plan.vlan === 0 ? 14 : 18;
    frame[l3 + 6] = plan.fragment === FRAG_FIRST ? 0x20 : 0;
    frame[l3 + 7] = plan.fragment === FRAG_LATER ? 2 : 0;
  }
  return { frame, port };
}

/** "Port unreachable" about what the receiver had sent. */
function unreachable(
  head: { ethSrc: string; ethDst: string; src: string; dst: string; ttl: number; tos: number; vlan?: number },
  srcPort: number,
  dstPort: number,
): Uint8Array {
  const { src, dst, ...rest } = head;
  const payload = new Uint8Array(16);
  const quoted = udpFrame({ ethSrc: head.ethDst, ethDst: head.ethSrc, src: dst, dst: src, srcPort, dstPort, payload });
  const [type, code] = src.includes(':') ? [1, 4] : [3, 3];
  return icmpError({ ...rest, src, type, code, packet: quoted, ip: 14 });
}

export const changePlan = fc.record({
  kind: fc.nat({ max: 18 }),
  a: index,
  b: index,
  flag: fc.boolean(),
  rule: rulePlan,
});
export type ChangePlan = typeof changePlan extends fc.Arbitrary<infer T> ? T : never;

/** Changes the world in one of many ways; says in words what it did, or undefined if there was nothing to change. */
export function applyChange(s: Scenario, plan: ChangePlan): string | undefined {
  const { world } = s;
  const { a, b, flag } = plan;
  const routes = [...world.objects].filter(([key]) => key.startsWith('Route/')).map(([, value]) => value.id as string);
  const vm = s.vms.length > 0 ? at(s.vms, a) : undefined;
  const port = s.ports.length > 0 ? at(s.ports, a) : undefined;
  switch (plan.kind) {
    case 0:
      world.patch('Bridge', at(s.bridges, a), { adminStateUp: flag });
      return 'bridge admin state';
    case 1:
      if (s.routers.length === 0) return undefined;
      world.patch('Router', at(s.routers, a), { adminStateUp: flag });
      return 'router admin state';
    case 2:
      if (!port) return undefined;
      world.patch('Port', port, { adminStateUp: flag });
      return 'port admin state';
    case 3:
      setFilter(s, a, s.chains.length > 0 && flag ? at(s.chains, b) : undefined, b % 2 === 0);
      return 'filter';
    case 4: {
      if (s.chains.length === 0) return undefined;
      const chainId = at(s.chains, a);
      const held = (world.get('Chain', chainId) as { ruleIds: string[] }).ruleIds;
      const ruleId = world.put('Rule', { chainId, ...ruleOf(s, plan.rule) });
      world.patch('Chain', chainId, { ruleIds: [ruleId, ...held.slice(flag ? 1 : 0)] });
      return 'rules';
    }
    case 5:
      if (s.routers.length === 0) return undefined;
      return (
        addRoute(s, { router: a, dst: b, src: b % 4, type: plan.rule.pick, exit: b, weight: flag ? 1 : 0 }) &&
        'route added'
      );
    case 6:
      if (routes.length === 0) return undefined;
      world.remove('Route', at(routes, a));
      return 'route removed';
    case 7:
      if (!vm) return undefined;
      world.entry(`mac/${vm.bridge}`, vm.mac, flag ? vm.port : null);
      return 'MAC';
    case 8: {
      if (!vm) return undefined;
      const there = s.vms.filter((other) => other.bridge === vm.bridge);
      world.entry(`mac/${vm.bridge}`, vm.mac, at(there, b).port);
      return 'MAC moved';
    }
    case 9:
      if (!vm || s.routers.length === 0) return undefined;
      world.entry(`arp/${at(s.routers, b)}`, b % 2 ? vm.ip4 : vm.ip6, flag ? vm.mac : '02:00:00:00:88:88');
      return 'neighbour';
    case 10:
      if (!vm) return undefined;
      world.entry(`arp/${vm.bridge}`, b % 2 ? vm.ip4 : vm.ip6, flag ? vm.mac : null);
      return 'neighbour of a bridge';
    case 11:
      if (!port) return undefined;
      world.entry(`active/${port}`, HOST, flag ? '' : null);
      return 'active';
    case 12: {
      const added = boundPort(world, { bridgeId: at(s.bridges, a), interfaceName: `new${world.objects.size}` });
      s.ports.push(added);
      return 'port added';
    }
    case 13:
      if (!vm) return undefined;
      world.patch(
        'Port',
        vm.port,
        flag ? { hostId: uuid(0x901), interfaceName: `moved${a}` } : { hostId: undefined, interfaceName: undefined },
      );
      return 'binding';
    case 14: {
      if (s.routerPorts.length === 0) return undefined;
      const target = at(s.routerPorts, a);
      const net = target.net || 77;
      world.patch(
        'Port',
        target.port,
        flag ? { portMac: `ac:ca:ba:00:01:${hex(b % 256)}` } : { portSubnet: [`10.0.${net}.${200 + (b % 50)}/24`] },
      );
      return 'router port';
    }
    case 15: {
      if (!port) return undefined;
      const { peerId } = world.get('Port', port) as { peerId?: string };
      if (peerId === undefined) return undefined;
      world.patch('Port', port, { peerId: undefined });
      world.patch('Port', peerId, { peerId: undefined });
      return 'link removed';
    }
    case 16:
      world.entry(`addresses/${at(s.addressGroups, a)}`, at(MEMBERS, b), flag ? '' : null);
      return 'member of an address group';
    case 17: {
      if (!vm) return undefined;
      const secured = { portSecurityEnabled: true, macAddress: vm.mac, fixedIps: [vm.ip4, vm.ip6] };
      world.patch('Port', vm.port, flag ? secured : { portSecurityEnabled: undefined });
      return 'port security';
    }
    default:
      if (!port) return undefined;
      world.patch('Port', port, { portGroupIds: flag ? [at(s.portGroups, b)] : undefined });
      return 'groups of a port';
  }
}
