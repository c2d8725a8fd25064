/** The engine by example: what a port may cost, what a restart keeps, what waits for what. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arpReply, icmpEcho, macFormat, macFromNumber, udpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, MAC_B, RIGHT_MAC, type RoutedNetwork, routed } from '@weft/simulator/testing';
import { Harness, LOCAL_HOST } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';

const VM0 = 10;
const VM1 = 11;

/** A (vm0) – left bridge – router – right bridge – B (vm1), both on this host. */
function bound(): RoutedNetwork {
  const net = routed();
  net.world.patch('Port', net.a, { hostId: LOCAL_HOST, interfaceName: 'vm0' });
  net.world.patch('Port', net.b, { hostId: LOCAL_HOST, interfaceName: 'vm1' });
  return net;
}

function start(net: RoutedNetwork, state = new MemoryState(4096), limits: Record<string, number> = {}): Harness {
  const host = new Harness(net.world, state, { limits });
  host.settle();
  return host;
}

const routedFrame = (srcPort = 1, ethSrc = MAC_A): Uint8Array =>
  udpFrame({
    ethSrc,
    ethDst: LEFT_MAC,
    src: '10.0.1.10',
    dst: '10.0.2.10',
    srcPort,
    dstPort: 2,
    payload: new Uint8Array(4),
  });

const drops = (host: Harness): Record<string, number> => host.engine.status().drops as Record<string, number>;

test('the first packet makes a flow and is sent; the second hits it', () => {
  const host = start(bound());
  assert.equal(host.datapath.inject(VM0, routedFrame()), null);
  host.settle();
  assert.equal(host.datapath.executed.length, 1);
  assert.notEqual(host.datapath.inject(VM0, routedFrame(9)), null);
  assert.equal(host.engine.status().flowsInstalled, 1);
});

test('an interface that cannot be attached costs its port only, is told once, and is tried again', () => {
  const host = new Harness(bound().world, new MemoryState(4096));
  const attach = host.datapath.attachPort.bind(host.datapath);
  host.datapath.attachPort = (spec) => {
    if (spec.ifindex === VM0) throw new Error('no such device');
    attach(spec);
  };
  host.settle();
  host.now += 10_000;
  host.settle();
  assert.deepEqual([...host.datapath.state.ports.keys()], [VM1]);
  assert.equal(host.complaints.length, 1);
  assert.match(host.complaints.pop()!, /^port\.attach_failed .*no such device/);
  host.datapath.attachPort = attach;
  host.now += 10_000;
  host.settle();
  assert.equal(host.datapath.inject(VM0, routedFrame()), null);
  host.settle();
  assert.equal(host.datapath.executed.length, 1);
});

test('a burst before the flow stands is sent in order, and makes one flow', () => {
  const host = start(bound());
  for (let i = 1; i <= 20; i++) host.datapath.inject(VM0, routedFrame(i));
  host.settle();
  const ports = host.datapath.executed.map(({ frame }) => (frame[34] << 8) | frame[35]);
  assert.deepEqual(
    ports,
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  assert.equal(host.engine.status().flowsInstalled, 1);
  assert.equal(host.engine.status().flows, 1);
});

test('a port that sprays MACs fills its own cap; its neighbour is still learned', () => {
  const net = bound();
  const host = start(net, new MemoryState(4096), { maxMacsPerPort: 16 });
  for (let i = 0; i < 200; i++) {
    const ethSrc = macFormat(macFromNumber(0x020000100000 + i), 0);
    host.datapath.inject(
      VM0,
      udpFrame({ ethSrc, ethDst: MAC_B, src: '10.0.1.99', dst: '10.0.1.98', srcPort: 1, dstPort: 2 }),
    );
    if (i % 20 === 0) host.settle();
  }
  host.settle();
  const table = net.world.tables.get(`mac/${net.leftBridge}`)!;
  const sprayed = [...table.keys()].filter((mac) => mac.startsWith('02:00:00:10:'));
  assert.equal(sprayed.length, 16);
  assert.ok(drops(host).cap_macs > 0);
  host.datapath.inject(
    VM1,
    udpFrame({
      ethSrc: '02:00:00:00:00:77',
      ethDst: RIGHT_MAC,
      src: '10.0.2.77',
      dst: '10.0.1.10',
      srcPort: 1,
      dstPort: 2,
    }),
  );
  host.settle();
  assert.ok(net.world.tables.get(`mac/${net.rightBridge}`)!.has('02:00:00:00:00:77'));
});

test('a port that sprays ARP fills its own cap of neighbours', () => {
  const net = bound();
  const host = start(net, new MemoryState(4096), { maxNeighboursPerPort: 8 });
  for (let i = 20; i < 100; i++) {
    const ip = `10.0.1.${i}`;
    host.datapath.inject(VM0, arpReply({ senderMac: MAC_A, senderIp: ip, targetMac: LEFT_MAC, targetIp: '10.0.1.1' }));
  }
  host.settle();
  const learned = [...net.world.tables.get(`arp/${net.router}`)!.keys()].filter((ip) => ip.startsWith('10.0.1.'));
  assert.equal(learned.length, 8);
  assert.ok(drops(host).cap_neighbours > 0);
});

test('a port that sprays flows fills its own share of the table; its packets are still carried, others still get flows', () => {
  const net = bound();
  // Reading the source port makes every packet a flow of its own.
  net.world.patch('Router', net.router, {
    inboundFilterId: net.world.chain([{ type: 'drop', nwProto: 17, tpSrc: { start: 9, end: 9 } }]),
  });
  const host = start(net, new MemoryState(4096), { maxFlowsPerPort: 50 });
  for (let i = 0; i < 300; i++) {
    host.datapath.inject(VM0, routedFrame(1000 + i));
    if (i % 50 === 0) host.settle();
  }
  host.settle();
  assert.equal(host.engine.status().flows, 50);
  assert.equal(host.datapath.executed.length, 300);
  assert.ok(drops(host).cap_flows > 0);
  const back = icmpEcho({ ethSrc: MAC_B, ethDst: RIGHT_MAC, src: '10.0.2.10', dst: '10.0.1.10', id: 1 });
  net.world.entry(`arp/${net.router}`, '10.0.1.10', MAC_A);
  host.settle();
  host.datapath.inject(VM1, back);
  host.settle();
  assert.notEqual(host.datapath.inject(VM1, back), null);
});

test('packets to a neighbour that nobody knows wait, within the port’s share, and end in host unreachable', () => {
  const net = bound();
  net.world.entry(`arp/${net.router}`, '10.0.1.10', MAC_A);
  const host = start(net, new MemoryState(4096), { maxWaitingPerPort: 4 });
  const frame = (dst: string) =>
    udpFrame({ ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst, srcPort: 1, dstPort: 2 });
  for (let i = 0; i < 10; i++) host.datapath.inject(VM0, frame('10.0.2.200'));
  host.turn();
  for (let i = 0; i < 5; i++) host.settle();
  assert.equal(host.engine.status().waiting, 4);
  assert.equal(drops(host).waiting_room_full, 6);
  const requests = host.datapath.executed.filter(({ frame }) => frame[12] === 8 && frame[13] === 6);
  assert.ok(requests.length >= 1, 'asked by ARP');
  host.datapath.executed.length = 0;
  for (let i = 0; i < 10; i++) {
    host.now += 1_000;
    host.settle();
  }
  assert.equal(host.engine.status().waiting, 0);
  const unreachable = host.datapath.executed.filter(
    ({ frame }) => frame[23] === 1 && frame[34] === 3 && frame[35] === 1,
  );
  assert.equal(unreachable.length, 4);
});

test('a port that scans a subnet runs into its own share of resolutions; its neighbour’s first packet is resolved', () => {
  const net = bound();
  net.world.entry(`arp/${net.router}`, '10.0.1.10', MAC_A);
  net.world.patch('Port', net.right, { portSubnet: ['10.0.2.1/22'] });
  net.world.put('Route', { routerId: net.router, dstSubnet: '10.0.0.0/16', nextHopPort: net.right });
  const host = start(net, new MemoryState(4096), { maxWaitingPerPort: 1024 });
  const scan = (dst: string, ethSrc: string, src: string, ethDst: string) =>
    udpFrame({ ethSrc, ethDst, src, dst, srcPort: 1, dstPort: 2 });
  for (let i = 0; i < 400; i++) {
    host.datapath.inject(VM0, scan(`10.0.${2 + (i >> 8)}.${20 + (i % 200)}`, MAC_A, '10.0.1.10', LEFT_MAC));
    if (i % 100 === 0) host.settle();
  }
  host.settle();
  const before = host.engine.status().neighboursPending as number;
  assert.equal(before, 256);
  assert.ok(drops(host).cap_neighbours > 0);
  host.datapath.inject(VM1, scan('10.0.1.99', MAC_B, '10.0.2.10', RIGHT_MAC));
  host.settle();
  assert.equal(host.engine.status().neighboursPending, before + 1);
});

test('a restarted engine adopts the flows, keeps them, and reports no revision before they are verified', () => {
  const net = bound();
  const state = new MemoryState(4096);
  const first = start(net, state);
  first.datapath.inject(VM0, routedFrame());
  first.settle();
  assert.equal(state.flows.size, 1);
  const second = new Harness(net.world, state, { now: first.now });
  // The topology comes one interest at a time: the flow goes on, and nothing is claimed until it has been simulated again.
  for (let i = 0; i < 50 && second.applied === 0; i++) {
    assert.equal(state.flows.size, 1);
    second.deliver(1);
    second.turn();
    if (second.engine.status().unverified !== 0) assert.equal(second.applied, 0);
  }
  second.settle();
  assert.ok(second.applied > 0);
  assert.equal(state.flows.size, 1);
  assert.equal(second.engine.status().flowsInstalled, 0, 'the flow was right and is not written again');
});

test('what changed while the engine was dead is applied to adopted flows', () => {
  const net = bound();
  const state = new MemoryState(4096);
  const first = start(net, state);
  first.datapath.inject(VM0, routedFrame());
  first.settle();
  net.world.patch('Router', net.router, { adminStateUp: false });
  const second = new Harness(net.world, state, { now: first.now });
  second.settle();
  assert.equal(second.datapath.inject(VM0, routedFrame()), null, 'the flow is gone or drops');
});

test('idle flows expire, and the MAC they held follows', () => {
  const net = bound();
  const host = start(net);
  host.datapath.inject(VM0, routedFrame(1, '02:00:00:00:00:55'));
  host.settle();
  assert.ok(net.world.tables.get(`mac/${net.leftBridge}`)!.has('02:00:00:00:00:55'));
  assert.equal(host.engine.status().flows, 1);
  host.now += 61_000;
  host.settle();
  assert.equal(host.engine.status().flows, 0);
  assert.ok(net.world.tables.get(`mac/${net.leftBridge}`)!.has('02:00:00:00:00:55'));
  host.now += 16_000;
  host.settle();
  assert.ok(!net.world.tables.get(`mac/${net.leftBridge}`)!.has('02:00:00:00:00:55'));
});

test('an unbound port loses its flows before it is detached', () => {
  const net = bound();
  const state = new MemoryState(4096);
  const host = start(net, state);
  host.datapath.inject(VM0, routedFrame());
  host.settle();
  net.world.patch('Port', net.a, { hostId: undefined, interfaceName: undefined });
  host.settle();
  assert.equal(state.flows.size, 0);
  assert.ok(!state.ports.has(VM0));
});

test('what no packet has needed for ten minutes is given back, what local ports need is kept', () => {
  const net = bound();
  net.world.entry(`arp/${net.router}`, '10.0.1.10', MAC_A);
  net.world.patch('Port', net.b, { hostId: '00000000-0000-4000-8000-00000000bbbb' });
  const host = start(net);
  const atRest = host.interests();
  host.datapath.inject(VM0, routedFrame());
  host.settle();
  assert.ok(host.interests().has(`t/mac/${net.rightBridge}`));
  for (let i = 0; i < 14; i++) {
    host.now += 60_000;
    host.settle();
  }
  assert.ok(!host.interests().has(`t/mac/${net.rightBridge}`));
  for (const interest of atRest) assert.ok(host.interests().has(interest), interest);
  // And it comes back when a packet needs it again.
  host.datapath.inject(VM0, routedFrame());
  host.settle();
  assert.ok(host.interests().has(`t/mac/${net.rightBridge}`));
});

test('a frame that the filter of its port drops teaches nothing: no MAC can be taken away by it', () => {
  const net = bound();
  const inboundFilterId = net.world.chain([{ type: 'drop', dlSrc: MAC_B, invDlSrc: true }]);
  net.world.patch('Port', net.b, { bridgeId: net.leftBridge, inboundFilterId });
  const host = start(net);
  host.datapath.inject(VM0, routedFrame());
  host.settle();
  const macs = (): string => JSON.stringify([...(net.world.tables.get(`mac/${net.leftBridge}`) ?? [])].sort());
  const before = macs();
  for (const ethSrc of [MAC_A, '02:00:00:00:00:77']) {
    host.datapath.inject(VM1, routedFrame(1, ethSrc));
    host.settle();
  }
  assert.equal(drops(host).filtered, 2);
  assert.equal(macs(), before);
  // Nor when its flow is looked at again.
  net.world.patch('Bridge', net.leftBridge, { name: 'renamed' });
  net.world.patch('Port', net.b, { inboundFilterId: net.world.chain([{ type: 'drop' }]) });
  host.settle();
  assert.equal(macs(), before);
});

test('a MAC that two ports claim in one turn is where it was seen last, and the other port’s packets come up', () => {
  const net = bound();
  // Both are on one bridge.
  net.world.patch('Port', net.b, { bridgeId: net.leftBridge });
  const host = start(net);
  host.datapath.inject(VM0, routedFrame());
  host.settle();
  const direct = udpFrame({
    ethSrc: MAC_A,
    ethDst: MAC_B,
    src: '10.0.1.10',
    dst: '10.0.1.11',
    srcPort: 1,
    dstPort: 2,
    payload: new Uint8Array(4),
  });
  host.datapath.inject(VM1, routedFrame());
  host.datapath.inject(VM0, direct);
  host.settle();
  assert.notEqual(host.datapath.inject(VM0, direct), null);
  assert.equal(host.datapath.inject(VM1, routedFrame()), null, 'by it the MAC would move');
});
