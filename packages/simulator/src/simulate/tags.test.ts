/**
 * Each kind of tag is needed: for each there is a change that alters a verdict and that no other tag announces. Leaving the
 * kind out, on either side, would leave a wrong flow installed.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  addressTag,
  TAG_ACTIVE,
  TAG_BRIDGE,
  TAG_CHAIN,
  TAG_FLOOD,
  TAG_GROUP,
  TAG_MAC,
  TAG_NEIGHBOUR,
  TAG_PORT,
  TAG_PORT_GROUPS,
  TAG_ROUTE,
  TAG_ROUTER,
  tag,
} from '@weft/flow';
import { R_RETURN, RECORD_WORDS, stateTag, TUPLE_WORDS } from '@weft/flowstate';
import { ipParse, tcpFrame, udpFrame } from '@weft/packet';
import { portSecurityChains, securityGroupChainId } from '@weft/topology';
import { type SimulationInput, VERDICT_FORWARD } from '../contract.ts';
import { Edge } from '../testing/edge.ts';
import { answerTo, leaving, packetWords } from '../testing/leaving.ts';
import { boundPort, HOST, LEFT_MAC, MAC_A, MAC_B, type RoutedNetwork, routed } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { newSimulation } from './simulation.ts';

interface Case {
  readonly kind: string;
  /** Before the flow is made. */
  readonly prepare?: (net: RoutedNetwork) => void;
  readonly change: (net: RoutedNetwork) => void;
  readonly tag: (bench: Workbench, net: RoutedNetwork) => number;
  /** Default: the router's, so that the packet goes from A to B. */
  readonly ethDst?: string;
}

const cases: Case[] = [
  {
    kind: 'port',
    change: (net) => net.world.patch('Port', net.b, { adminStateUp: false }),
    tag: (bench, net) => tag(TAG_PORT, bench.view.handle(net.b)),
  },
  {
    kind: 'bridge',
    change: (net) => net.world.patch('Bridge', net.rightBridge, { adminStateUp: false }),
    tag: (bench, net) => tag(TAG_BRIDGE, bench.view.handle(net.rightBridge)),
  },
  {
    kind: 'router',
    change: (net) => net.world.patch('Router', net.router, { adminStateUp: false }),
    tag: (bench, net) => tag(TAG_ROUTER, bench.view.handle(net.router)),
  },
  {
    kind: 'chain',
    prepare: (net) => net.world.patch('Port', net.b, { outboundFilterId: net.world.chain([{ type: 'accept' }]) }),
    change(net) {
      const chainId = net.world.get('Port', net.b)!.outboundFilterId as string;
      net.world.patch('Rule', (net.world.get('Chain', chainId)!.ruleIds as string[])[0], { type: 'drop' });
    },
    tag: (bench, net) => tag(TAG_CHAIN, bench.view.handle(net.world.get('Port', net.b)!.outboundFilterId as string)),
  },
  {
    kind: 'MAC that appears',
    ethDst: MAC_B,
    prepare: (net) => void boundPort(net.world, { bridgeId: net.leftBridge, vifId: 'exit' }),
    change: (net) => net.world.entry(`mac/${net.leftBridge}`, MAC_B, exitOf(net)),
    tag: (bench, net) => tag(TAG_MAC, bench.view.handle(net.leftBridge), 0, 0x0200, 0x0b),
  },
  {
    kind: 'MAC',
    change: (net) => net.world.entry(`mac/${net.rightBridge}`, MAC_B, null),
    tag: (bench, net) => tag(TAG_MAC, bench.view.handle(net.rightBridge), 0, 0x0200, 0x0b),
  },
  {
    kind: 'flood',
    ethDst: 'ff:ff:ff:ff:ff:ff',
    prepare: (net) => void boundPort(net.world, { bridgeId: net.leftBridge }),
    change: (net) => void boundPort(net.world, { bridgeId: net.leftBridge }),
    tag: (bench, net) => tag(TAG_FLOOD, bench.view.handle(net.leftBridge)),
  },
  {
    kind: 'route that appears',
    change: (net) => void net.world.put('Route', { routerId: net.router, type: 'blackhole', dstSubnet: '10.0.2.8/29' }),
    tag: (bench, net) => addressTag(TAG_ROUTE, bench.view.handle(net.router), ipParse('10.0.2.8'), 0, 120),
  },
  {
    kind: 'neighbour',
    change: (net) => net.world.entry(`arp/${net.router}`, '10.0.2.10', '02:00:00:00:00:0c'),
    tag: (bench, net) => addressTag(TAG_NEIGHBOUR, bench.view.handle(net.router), ipParse('10.0.2.10'), 0),
  },
  {
    kind: 'active',
    prepare(net) {
      const exit = boundPort(net.world, {
        routerId: net.router,
        portSubnet: ['10.9.0.1/24'],
        portMac: 'ac:ca:ba:00:00:09',
        vifId: 'exit',
      });
      net.world.put('Route', {
        routerId: net.router,
        dstSubnet: '10.0.2.10/32',
        nextHopPort: exit,
        nextHopGateway: '10.9.0.2',
      });
      net.world.entry(`arp/${net.router}`, '10.9.0.2', MAC_B);
    },
    change: (net) => net.world.entry(`active/${exitOf(net)}`, HOST, null),
    tag: (bench, net) => tag(TAG_ACTIVE, bench.view.handle(exitOf(net))),
  },
  {
    kind: 'address that becomes a member of a group',
    prepare(net) {
      const group = net.world.put('IpAddrGroup', { name: 'g' });
      net.world.entry(`addresses/${group}`, '10.0.7.7', '');
      filterAtB(net, [{ type: 'drop', ipAddrGroupSrc: group }]);
    },
    change: (net) => net.world.entry(`addresses/${only(net, 'IpAddrGroup')}`, '10.0.1.10', ''),
    tag: (bench, net) => addressTag(TAG_GROUP, bench.view.handle(only(net, 'IpAddrGroup')), ipParse('10.0.1.10'), 0),
  },
  {
    kind: 'prefix that becomes a member of a group',
    prepare(net) {
      const group = net.world.put('IpAddrGroup', { name: 'g' });
      net.world.entry(`addresses/${group}`, '10.0.7.7', '');
      filterAtB(net, [{ type: 'drop', ipAddrGroupDst: group }]);
    },
    change: (net) => net.world.entry(`addresses/${only(net, 'IpAddrGroup')}`, '10.0.2.0/24', ''),
    tag: (bench, net) => tag(TAG_GROUP, bench.view.handle(only(net, 'IpAddrGroup'))),
  },
  {
    kind: 'first member of a group',
    prepare: (net) =>
      void filterAtB(net, [{ type: 'drop', ipAddrGroupDst: net.world.put('IpAddrGroup', { name: 'g' }) }]),
    change: (net) => net.world.entry(`addresses/${only(net, 'IpAddrGroup')}`, '10.0.2.10', ''),
    tag: (bench, net) => tag(TAG_GROUP, bench.view.handle(only(net, 'IpAddrGroup'))),
  },
  {
    kind: 'groups of the port of entry',
    prepare: (net) => void filterAtB(net, [{ type: 'drop', portGroup: net.world.put('PortGroup', {}) }]),
    change: (net) => net.world.patch('Port', net.a, { portGroupIds: [only(net, 'PortGroup')] }),
    tag: (bench, net) => tag(TAG_PORT_GROUPS, bench.view.handle(net.a)),
  },
  {
    kind: 'groups of the port of departure',
    prepare: (net) => void filterAtB(net, [{ type: 'drop', outPortGroup: net.world.put('PortGroup', {}) }]),
    change: (net) => net.world.patch('Port', net.b, { portGroupIds: [only(net, 'PortGroup')] }),
    tag: (bench, net) => tag(TAG_PORT_GROUPS, bench.view.handle(net.b)),
  },
  {
    kind: 'chain that is jumped to',
    prepare(net) {
      const inner = net.world.chain([{ type: 'continue' }]);
      filterAtB(net, [{ type: 'jump', jumpChainId: inner }]);
    },
    change(net) {
      const rules = [...net.world.objects].filter(([, value]) => value.type === 'continue');
      net.world.patch('Rule', rules[0][1].id as string, { type: 'drop' });
    },
    tag(bench, net) {
      const jump = [...net.world.objects].find(([, value]) => value.type === 'jump')!;
      return tag(TAG_CHAIN, bench.view.handle(jump[1].jumpChainId as string));
    },
  },
  {
    kind: 'addresses of a secured port',
    prepare: secureA,
    change: (net) => net.world.patch('Port', net.a, { fixedIps: ['10.0.1.11'] }),
    tag: (bench, net) => tag(TAG_CHAIN, bench.view.handle(securityOf(net)[1].chain.id)),
  },
  {
    kind: 'security groups of a port',
    prepare: secureA,
    change: (net) => net.world.patch('Port', net.a, { securityGroupIds: [] }),
    tag: (bench, net) => tag(TAG_CHAIN, bench.view.handle(securityOf(net)[0].chain.id)),
  },
  {
    kind: 'rules of a security group',
    prepare: secureA,
    change: (net) => net.world.patch('SecurityGroup', only(net, 'SecurityGroup'), { rules: [] }),
    tag: (bench, net) => tag(TAG_CHAIN, bench.view.handle(securityGroupChainId(only(net, 'SecurityGroup'), 'egress'))),
  },
];

/** A's port lets A's own address out, to anywhere. */
function secureA(net: RoutedNetwork): void {
  const securityGroupIds = [net.world.put('SecurityGroup', {})];
  net.world.patch('Port', net.a, {
    portSecurityEnabled: true,
    macAddress: MAC_A,
    fixedIps: ['10.0.1.10'],
    securityGroupIds,
  });
}

/** Chains that A's port derives: in, addresses, out. */
function securityOf(net: RoutedNetwork) {
  return portSecurityChains(net.world.get('Port', net.a)!);
}

const FAR = '198.51.100.7';
const DYNAMIC = [{ addressFrom: '192.0.2.9', portFrom: 1024, portTo: 65_535 }];

/** Rules by which the answer to a packet fares otherwise when the connection is known. */
const STATEFUL: Record<string, (net: Edge) => Parameters<Edge['rules']>[0]> = {
  connection: (net) => ({
    in: [{ type: 'accept', matchReturnFlow: true }, { type: 'accept', inPorts: [net.inside] }, { type: 'drop' }],
  }),
  'source translation': (net) => ({
    in: [{ type: 'rev_snat', inPorts: [net.exit] }],
    out: [{ type: 'snat', outPorts: [net.exit], natTargets: DYNAMIC }],
  }),
  'destination translation': (net) => ({
    in: [
      {
        type: 'dnat',
        inPorts: [net.exit],
        nwDst: '192.0.2.80/32',
        natTargets: [{ addressFrom: '10.0.1.10', portFrom: 8080 }],
      },
    ],
    out: [{ type: 'rev_dnat', outPorts: [net.exit] }],
  }),
};

/** A rule in the way of the packet, in the filter of its last port. */
function filterAtB(net: RoutedNetwork, rules: Record<string, unknown>[]): string {
  const chain = net.world.chain(rules);
  net.world.patch('Port', net.b, { outboundFilterId: chain });
  return chain;
}

/** The object of a type that a case made. */
function only(net: RoutedNetwork, type: string): string {
  const [id, ...more] = [...net.world.objects]
    .filter(([key]) => key.startsWith(`${type}/`))
    .map(([, value]) => value.id);
  assert.deepEqual(more, []);
  return id as string;
}

function exitOf(net: RoutedNetwork): string {
  return [...net.world.objects.values()].find((value) => value.vifId === 'exit')!.id as string;
}

describe('tags', () => {
  for (const { kind, prepare, change, tag: expected, ethDst } of cases) {
    it(`a change of ${kind} is announced, and by nothing else`, () => {
      const net = routed();
      prepare?.(net);
      const bench = new Workbench(net.world);
      const head = { ethSrc: MAC_A, ethDst: ethDst ?? LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10' };
      const input = bench.input(udpFrame({ ...head, srcPort: 1, dstPort: 2, payload: new Uint8Array(8) }), net.a);
      const out = bench.run(input, newSimulation());
      assert.equal(out.cacheable, true);
      const before = bench.describe(out);
      const held = out.tags.slice(0, out.tagCount);
      change(net);
      const applied = new Set(bench.sync().tags);
      bench.run(input);
      const announced = [...held].filter((t) => applied.has(t));
      assert.notEqual(bench.describe(), before);
      assert.deepEqual(announced, [expected(bench, net)]);
    });
  }

  for (const [kind, rules] of Object.entries(STATEFUL)) {
    it(`a ${kind} that begins or goes is announced by the tags of its tuples, and by nothing else`, () => {
      const net = new Edge();
      net.rules(rules(net));
      const { bench } = net;
      const { table } = bench.state;
      const inwards = kind === 'destination translation';
      const frame = inwards
        ? tcpFrame({ ...net.fromOutside, src: FAR, dst: '192.0.2.80', srcPort: 4000, dstPort: 80 })
        : tcpFrame({ ...net.fromA, dst: FAR, srcPort: 1000, dstPort: 80 });
      const input = bench.input(frame, inwards ? net.exit : net.a);
      const first = bench.run(input, newSimulation());
      const answer = bench.input(answerTo(leaving(input, first)), inwards ? net.a : net.exit);
      const effect = (of: SimulationInput) => {
        const out = bench.run(of, newSimulation());
        const words = out.verdict === VERDICT_FORWARD ? packetWords(leaving(of, out)) : bench.describe(out);
        return { words, held: [...out.tags.slice(0, out.tagCount)], out };
      };
      const unknown = effect(answer);
      const [record] = bench.state.commit(first);
      const words = table.words.slice(record * RECORD_WORDS, (record + 1) * RECORD_WORDS);
      const back = Int32Array.from([words[0], ...words.slice(R_RETURN, R_RETURN + TUPLE_WORDS - 1)]);
      const [forwardTag, returnTag] = [stateTag(words, 0), stateTag(back, 0)];
      const announced = ({ held }: { held: number[] }) => held.filter((one) => one === forwardTag || one === returnTag);

      const known = effect(answer);
      assert.notEqual(known.words, unknown.words);
      assert.deepEqual(announced(unknown), [returnTag]);
      assert.deepEqual(announced(known), [returnTag]);
      assert.ok(first.tags.slice(0, first.tagCount).includes(forwardTag), 'who begins it did not find it');
      const next = effect(input);
      assert.deepEqual(announced(next), [forwardTag]);
      assert.equal(next.out.stateCount, 1);

      table.remove(record);
      assert.notEqual(effect(answer).words, known.words);
      assert.equal(effect(input).out.createdCount, 1);
    });
  }

  it('what a flow did not consult does not concern it', () => {
    const net = routed();
    const { world } = net;
    const [near, far] = ['near', 'far'].map((name) => world.put('IpAddrGroup', { name }));
    const portGroup = world.put('PortGroup', {});
    for (const group of [near, far]) world.entry(`addresses/${group}`, '10.0.7.7', '');
    filterAtB(net, [
      { type: 'drop', ipAddrGroupSrc: near },
      { type: 'accept', nwProto: 17 },
      { type: 'drop', ipAddrGroupSrc: far, portGroup },
    ]);
    const bench = new Workbench(world);
    const head = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10' };
    const out = bench.simulate(udpFrame({ ...head, srcPort: 1, dstPort: 2, payload: new Uint8Array(8) }), net.a);
    const held = new Set(out.tags.slice(0, out.tagCount));
    const untouched = () => bench.sync().tags.every((t) => !held.has(t));
    // Others become members; another group; the port's groups.
    world.entry(`addresses/${near}`, '10.0.1.11', '');
    world.entry(`addresses/${near}`, '10.0.7.7', null);
    assert.ok(untouched());
    world.entry(`addresses/${near}`, 'fd00:1::10', '');
    world.entry(`addresses/${far}`, '10.0.1.10', '');
    world.entry(`addresses/${far}`, '10.0.0.0/8', '');
    world.patch('Port', net.a, { portGroupIds: [portGroup] });
    // The first address of the other family changes what is read of such packets: that much is announced too often.
    const announced = bench.sync().tags.filter((t) => held.has(t));
    assert.deepEqual(announced, [tag(TAG_GROUP, bench.view.handle(near))]);
  });

  it('a packet that consulted more groups than it can name stands on all of them', () => {
    const net = routed();
    const { world } = net;
    const groups = Array.from({ length: 300 }, (_, i) => world.put('IpAddrGroup', { name: `g${i}` }));
    for (const group of groups) world.entry(`addresses/${group}`, '10.0.7.7', '');
    filterAtB(
      net,
      groups.map((group) => ({ type: 'drop', ipAddrGroupSrc: group })),
    );
    const bench = new Workbench(world);
    const head = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10' };
    const input = bench.input(udpFrame({ ...head, srcPort: 1, dstPort: 2, payload: new Uint8Array(8) }), net.a);
    const out = bench.run(input, newSimulation());
    assert.equal(out.cacheable, true);
    for (const group of [groups[0], groups[299]]) {
      world.entry(`addresses/${group}`, '10.0.1.10', '');
      const applied = new Set(bench.sync().tags);
      assert.ok([...out.tags.slice(0, out.tagCount)].some((t) => applied.has(t)));
      assert.match(bench.describe(bench.run(input)), /filtered/);
      world.entry(`addresses/${group}`, '10.0.1.10', null);
      bench.sync();
    }
  });
});
