/** What the sender of a rejected packet hears, from whom, and when it hears nothing. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  arpRequest,
  icmpEcho,
  icmpError,
  describe as inWords,
  TCP_ACK,
  TCP_RST,
  tcpFrame,
  udpFrame,
  verifyChecksums,
} from '@weft/packet';
import { VERDICT_DROP, VERDICT_FORWARD } from '../contract.ts';
import { boundPort, LEFT_MAC, MAC_A, MAC_B, RIGHT_MAC, routed } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { World } from '../testing/world.ts';

type Value = Record<string, unknown>;

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const payload = new Uint8Array(8);

/** Simulates the frame, checks that it is rejected; the answers in words, each sound, with the port it leaves by. */
function answers(bench: Workbench, frame: Uint8Array, port: string): string[] {
  const out = bench.simulate(frame, port);
  assert.equal(out.verdict, VERDICT_DROP);
  assert.match(bench.describe(), /^drop rejected/);
  return out.generated.map((generated) => {
    assert.deepEqual(verifyChecksums(generated.frame), []);
    return `${bench.view.id(generated.port)}: ${inWords(generated.frame)}`;
  });
}

describe('a bridge rejects', () => {
  const head = { ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', dst: '10.0.0.2', srcPort: 9, dstPort: 80 };
  const head6 = { ...head, src: 'fd00::1', dst: 'fd00::2' };

  /** Ports a and b on a bridge; a chain that rejects everything stands in one of the filters on the way. */
  function net(where: 'bridge in' | 'bridge out' | 'port in' | 'port out', more: Value = {}) {
    const world = new World();
    const bridgeId = world.put('Bridge', {});
    const [a, b] = [0, 1].map(() => boundPort(world, { bridgeId }));
    world.entry(`mac/${bridgeId}`, MAC_B, b);
    const [thing, direction] = where.split(' ');
    const filter = { [`${direction}boundFilterId`]: world.chain([{ type: 'reject', ...more }]) };
    if (thing === 'bridge') world.patch('Bridge', bridgeId, filter);
    else world.patch('Port', direction === 'in' ? a : b, filter);
    return { world, a, b, bridgeId, bench: new Workbench(world) };
  }

  for (const where of ['bridge in', 'bridge out', 'port in', 'port out'] as const) {
    it(`in the filter ${where}: in the name of the destination, back by the port of entry`, () => {
      const { bench, a } = net(where);
      const back = `${a}: ${MAC_B} > ${MAC_A}, `;
      const one = (frame: Uint8Array) => {
        const heard = answers(bench, frame, a);
        assert.equal(heard.length, 1);
        assert.ok(heard[0].startsWith(back), heard[0]);
        return heard[0].slice(back.length);
      };
      assert.match(one(udpFrame({ ...head, payload })), /^10\.0\.0\.2 > 10\.0\.0\.1 ICMP prohibited/i);
      assert.match(one(udpFrame({ ...head6, payload })), /^fd00::2 > fd00::1 ICMP6 prohibited/i);
      assert.match(one(icmpEcho({ ...head, id: 1 })), /^10\.0\.0\.2 > 10\.0\.0\.1 ICMP prohibited/i);
      // RFC 9293 §3.10.7.1: a SYN is acknowledged, a segment with an ACK is reset at the number that it expects.
      const syn = one(tcpFrame({ ...head, seq: 7 }));
      assert.match(syn, /^10\.0\.0\.2:80 > 10\.0\.0\.1:9 TCP \[R\.\] seq 0 ack 8 /);
      const data = one(tcpFrame({ ...head6, seq: 7, ack: 99, flags: TCP_ACK, payload }));
      assert.match(data, /^\[?fd00::2\]?:80 > \[?fd00::1\]?:9 TCP \[R\] seq 99 /);
    });
  }

  it('a tagged frame under its tag', () => {
    const { bench, a } = net('bridge in');
    for (const frame of [udpFrame({ ...head, vlan: 5, payload }), tcpFrame({ ...head, vlan: 5 })]) {
      assert.match(answers(bench, frame, a)[0], new RegExp(`^${a}: ${MAC_B} > ${MAC_A}, vlan 5, 10.0.0.2`));
    }
  });

  it('behind a VLAN-aware bridge the answer finds its way out, under the tag', () => {
    const world = new World();
    const [trunk, inner] = [world.put('Bridge', {}), world.put('Bridge', {})];
    const a = boundPort(world, { bridgeId: trunk });
    boundPort(world, { bridgeId: inner });
    const innerPort = world.put('Port', { bridgeId: inner });
    world.link(world.put('Port', { bridgeId: trunk, vlanId: 7 }), innerPort);
    world.entry(`mac/${trunk}`, MAC_A, a);
    world.entry(`mac/${trunk}`, `7|${MAC_A}`, a);
    world.entry(`mac/${inner}`, MAC_A, innerPort);
    world.patch('Bridge', inner, { inboundFilterId: world.chain([{ type: 'reject' }]) });
    const bench = new Workbench(world);
    const out = bench.simulate(udpFrame({ ...head, vlan: 7, payload }), a);
    const [answer] = out.generated;
    assert.equal(bench.view.id(answer.port), innerPort);
    const sent = bench.generated(answer.frame, answer.port);
    assert.equal(sent.verdict, VERDICT_FORWARD);
    assert.match(bench.describe(sent), new RegExp(`^forward ${a} ${MAC_B}>${MAC_A} vlan 7`));
  });

  it('from the untagged side of a VLAN-aware bridge the answer goes back untagged', () => {
    const world = new World();
    const trunk = world.put('Bridge', {});
    const inner = world.put('Bridge', {});
    const b = boundPort(world, { bridgeId: inner });
    boundPort(world, { bridgeId: trunk });
    const upper = world.put('Port', { bridgeId: trunk, vlanId: 7 });
    world.link(upper, world.put('Port', { bridgeId: inner }));
    world.entry(`mac/${inner}`, MAC_A, b);
    for (const filter of [
      { type: 'Port' as const, id: upper },
      { type: 'Bridge' as const, id: trunk },
    ]) {
      world.patch(filter.type, filter.id, { inboundFilterId: world.chain([{ type: 'reject' }]) });
      const bench = new Workbench(world);
      const [answer] = bench.simulate(udpFrame({ ...head, payload }), b).generated;
      assert.equal(bench.view.id(answer.port), upper);
      assert.match(
        bench.describe(bench.generated(answer.frame, answer.port)),
        new RegExp(`^forward ${b} ${MAC_B}>${MAC_A} ttl`),
      );
      world.patch(filter.type, filter.id, { inboundFilterId: undefined });
    }
  });

  it('says nothing to what must not be answered', () => {
    const { bench, a } = net('bridge in');
    const later = udpFrame({ ...head, payload });
    later[14 + 7] = 1;
    const firstOfTcp = tcpFrame({ ...head, flags: TCP_ACK, payload });
    firstOfTcp[14 + 6] = 0x20;
    const packet = udpFrame({ ...head, payload });
    const packet6 = udpFrame({ ...head6, payload });
    const silent: [string, Uint8Array][] = [
      ['a broadcast frame', udpFrame({ ...head, ethDst: BROADCAST, payload })],
      ['a multicast address', udpFrame({ ...head, dst: '224.0.0.5', payload })],
      ['the broadcast address', udpFrame({ ...head, dst: '255.255.255.255', payload })],
      ['an IPv6 multicast address', udpFrame({ ...head6, dst: 'ff02::1', payload })],
      ['nobody', udpFrame({ ...head, src: '0.0.0.0', payload })],
      ['nobody in IPv6', udpFrame({ ...head6, src: '::', payload })],
      ['a multicast source', udpFrame({ ...head, src: '224.0.0.5', payload })],
      ['an ICMP error', icmpError({ ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', type: 3, code: 1, packet, ip: 14 })],
      [
        'an ICMPv6 error',
        icmpError({ ethSrc: MAC_A, ethDst: MAC_B, src: 'fd00::9', type: 1, code: 3, packet: packet6, ip: 14 }),
      ],
      ['a later fragment', later],
      ['a first fragment of TCP', firstOfTcp],
      ['a reset', tcpFrame({ ...head, flags: TCP_RST })],
      ['ARP', arpRequest({ senderMac: MAC_A, senderIp: '10.0.0.1', targetIp: '10.0.0.2', ethDst: MAC_B })],
    ];
    for (const [what, frame] of silent) assert.deepEqual(answers(bench, frame, a), [], what);
    const firstOfUdp = udpFrame({ ...head, payload: new Uint8Array(32) });
    firstOfUdp[14 + 6] = 0x20;
    assert.equal(answers(bench, firstOfUdp, a).length, 1, 'the first fragment of UDP is answered');
  });

  it('silence can be cached, an answer never', () => {
    const { bench, a } = net('bridge in');
    assert.equal(bench.simulate(udpFrame({ ...head, payload }), a).cacheable, false);
    assert.equal(bench.simulate(tcpFrame(head), a).cacheable, false);
    assert.equal(bench.simulate(udpFrame({ ...head, dst: '224.0.0.5', payload }), a).cacheable, true);
  });

  it('copies of a flood are rejected one by one, in silence', () => {
    const { bench, a, world, bridgeId } = net('port out');
    const c = boundPort(world, { bridgeId });
    bench.sync();
    const out = bench.simulate(udpFrame({ ...head, ethDst: BROADCAST, dst: '10.0.0.255', payload }), a);
    assert.equal(out.verdict, VERDICT_FORWARD);
    assert.equal(bench.view.id(out.outputs[0]), c);
    assert.equal(out.generated.length, 0);
  });
});

describe('a router rejects', () => {
  const head = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10', srcPort: 9, dstPort: 80 };
  const filters: [string, (net: ReturnType<typeof routed>, filter: Value) => void][] = [
    ['router in', (net, { chain }) => net.world.patch('Router', net.router, { inboundFilterId: chain })],
    ['router out', (net, { chain }) => net.world.patch('Router', net.router, { outboundFilterId: chain })],
    ['forward', (net, { chain }) => net.world.patch('Router', net.router, { forwardChainId: chain })],
    ['redirect', (net, { chain }) => net.world.patch('Router', net.router, { localRedirectChainId: chain })],
    ['port in', (net, { chain }) => net.world.patch('Port', net.left, { inboundFilterId: chain })],
    ['port out', (net, { chain }) => net.world.patch('Port', net.right, { outboundFilterId: chain })],
  ];
  for (const [where, use] of filters) {
    it(`in the filter ${where}: ICMP from its own address, a reset from the one that was called`, () => {
      const net = routed();
      use(net, { chain: net.world.chain([{ type: 'reject' }]) });
      const bench = new Workbench(net.world);
      const back = `${net.left}: ${LEFT_MAC} > ${MAC_A}, `;
      const [icmp] = answers(bench, udpFrame({ ...head, payload }), net.a);
      assert.ok(icmp.startsWith(`${back}10.0.1.1 > 10.0.1.10 ICMP prohibited `), icmp);
      const [icmp6] = answers(bench, udpFrame({ ...head, src: 'fd00:1::10', dst: 'fd00:2::10', payload }), net.a);
      assert.ok(icmp6.startsWith(`${back}fd00:1::1 > fd00:1::10 ICMP6 prohibited `), icmp6);
      const [reset] = answers(bench, tcpFrame({ ...head, seq: 41 }), net.a);
      assert.ok(reset.startsWith(`${back}10.0.2.10:80 > 10.0.1.10:9 TCP [R.] seq 0 ack 42 `), reset);
    });
  }

  it('says nothing about its subnet’s broadcast, and nothing about frames for others', () => {
    const net = routed();
    net.world.patch('Port', net.left, { inboundFilterId: net.world.chain([{ type: 'reject' }]) });
    const bench = new Workbench(net.world);
    assert.deepEqual(answers(bench, udpFrame({ ...head, dst: '10.0.1.255', payload }), net.a), []);
    assert.deepEqual(answers(bench, tcpFrame({ ...head, dst: '10.0.1.255' }), net.a), []);
  });

  it('a bridge behind the router answers to the router, which delivers it', () => {
    const net = routed();
    net.world.patch('Bridge', net.rightBridge, { inboundFilterId: net.world.chain([{ type: 'reject' }]) });
    net.world.entry(`arp/${net.router}`, '10.0.1.10', MAC_A);
    const bench = new Workbench(net.world);
    for (const frame of [udpFrame({ ...head, payload }), tcpFrame(head)]) {
      const [answer] = bench.simulate(frame, net.a).generated;
      assert.match(inWords(answer.frame), new RegExp(`^${MAC_B} > ${RIGHT_MAC}, 10.0.2.10`));
      // The bridge's filter is for what enters: the answer goes out by the port, and through the router to A.
      const sent = bench.generated(answer.frame, answer.port);
      assert.equal(sent.verdict, VERDICT_FORWARD, bench.describe(sent));
      assert.equal(bench.view.id(sent.outputs[0]), net.a);
    }
  });
});
