/** Connection tracking: what counts as an answer, what is remembered, and when it is forgotten that somebody asked. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DROP_REASONS } from '@weft/flow';
import { DIR_RETURN, FLAG_KEEP, KIND_CONNTRACK, R_RULE, RECORD_WORDS, stateTag, tupleKind } from '@weft/flowstate';
import { fragmentFrame, icmpEcho, icmpError, tcpFrame, udpFrame } from '@weft/packet';
import type { Simulation } from '../contract.ts';
import { Edge } from '../testing/edge.ts';
import { attach, boundPort, MAC_A, MAC_B } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { World } from '../testing/world.ts';
import { newSimulation } from './simulation.ts';
import { Simulator } from './simulator.ts';

type Value = Record<string, unknown>;

const X = '198.51.100.7';
const X6 = '2001:db8:7::7';
const payload = new Uint8Array(16);

/** Opened from inside only. */
function guarded(more: Value = {}): Edge {
  const net = new Edge();
  return net.rules({
    in: [
      { type: 'accept', matchReturnFlow: true },
      { type: 'accept', inPorts: [net.inside], matchForwardFlow: true, ...more },
      { type: 'drop' },
    ],
  });
}

/** A packet of A and the answer to it. `n` tells packets of a kind apart. */
type Pair = (net: Edge, n: number) => [forward: Uint8Array, answer: Uint8Array];

const gre = (frame: Uint8Array, offset: number): Uint8Array => {
  // Another protocol, and the header checksum that belongs to it.
  if (offset === 23) frame[25] -= 47 - frame[offset];
  frame[offset] = 47;
  return frame;
};

const PROTOCOLS: Record<string, Pair> = {
  tcp: (net, n) => [
    tcpFrame({ ...net.fromA, dst: X, srcPort: 1000 + n, dstPort: 80 }),
    tcpFrame({ ...net.fromOutside, src: X, dst: '10.0.1.10', srcPort: 80, dstPort: 1000 + n }),
  ],
  udp: (net, n) => [
    udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 50 + n, payload }),
    udpFrame({ ...net.fromOutside, src: X, dst: '10.0.1.10', srcPort: 50 + n, dstPort: 1000, payload }),
  ],
  'tcp over IPv6': (net, n) => [
    tcpFrame({ ...net.fromA, src: 'fd00:1::10', dst: X6, srcPort: 1000 + n, dstPort: 80 }),
    tcpFrame({ ...net.fromOutside, src: X6, dst: 'fd00:1::10', srcPort: 80, dstPort: 1000 + n }),
  ],
  'icmp echo': (net, n) => [
    icmpEcho({ ...net.fromA, dst: X, id: 7 + n }),
    icmpEcho({ ...net.fromOutside, src: X, dst: '10.0.1.10', id: 7 + n, reply: true }),
  ],
  'icmpv6 echo': (net, n) => [
    icmpEcho({ ...net.fromA, src: 'fd00:1::10', dst: X6, id: 7 + n }),
    icmpEcho({ ...net.fromOutside, src: X6, dst: 'fd00:1::10', id: 7 + n, reply: true }),
  ],
  'another protocol, by its addresses': (net, n) => [
    gre(udpFrame({ ...net.fromA, src: 'fd00:1::10', dst: `2001:db8:7::${n + 7}`, srcPort: 1, dstPort: 2 }), 20),
    gre(udpFrame({ ...net.fromOutside, src: `2001:db8:7::${n + 7}`, dst: 'fd00:1::10', srcPort: 3, dstPort: 4 }), 20),
  ],
};

const states = (out: Simulation) => [...out.states.slice(0, out.stateCount)];

describe('connection tracking', () => {
  for (const [name, pair] of Object.entries(PROTOCOLS)) {
    it(`knows answers of ${name}`, () => {
      const net = guarded();
      const [forward, answer] = pair(net, 0);
      assert.equal(net.send(answer, net.exit).text, 'drop filtered', 'nobody has asked yet');
      const first = net.send(forward, net.a);
      assert.equal(first.out.createdCount, 1);
      assert.equal(first.out.missedCount, 1);
      const [record] = first.records;
      assert.ok(record >= 0);
      const again = net.send(forward, net.a);
      assert.deepEqual(states(again.out), [record << 1]);
      assert.equal(again.out.createdCount, 0);
      const back = net.send(answer, net.exit);
      assert.match(back.text, /10\.0\.1\.10|fd00:1::10/);
      assert.deepEqual(states(back.out), [(record << 1) | DIR_RETURN]);
      assert.equal(net.send(pair(net, 1)[1], net.exit).text, 'drop filtered', 'the answer to something else');
    });
  }

  it('names the rule that let the connection begin', () => {
    const net = guarded();
    const { out, records } = net.send(PROTOCOLS.udp(net, 0)[0], net.a);
    const chain = net.world.get('Router', net.router)!.inboundFilterId as string;
    const rule = (net.world.get('Chain', chain)!.ruleIds as string[])[1];
    assert.equal(net.bench.view.id(out.createdRules[0]), rule);
    assert.equal(tupleKind(out.created[0].words[0]), KIND_CONNTRACK);
    assert.equal(net.bench.state.table.flags(records[0]) & FLAG_KEEP, 0);
  });

  it('lets ICMP errors about a connection pass, in both directions', () => {
    for (const v6 of [false, true]) {
      const net = guarded();
      const [forward, answer] = PROTOCOLS[v6 ? 'tcp over IPv6' : 'tcp'](net, 0);
      const [type, router] = v6 ? [1, '2001:db8::99'] : [3, '192.0.2.99'];
      const fromAway = icmpError({ ...net.fromOutside, src: router, type, code: 1, packet: forward, ip: 14 });
      const own = { ...net.fromA, src: v6 ? 'fd00:1::10' : '10.0.1.10' };
      const fromWithin = icmpError({ ...own, type, code: 4, packet: answer, ip: 14 });
      assert.equal(net.send(fromAway, net.exit).text, 'drop filtered');
      const [record] = net.send(forward, net.a).records;
      for (const [frame, port] of [
        [fromAway, net.exit],
        [fromWithin, net.a],
      ] as const) {
        const { out, text, records } = net.send(frame, port);
        assert.match(text, /\[tcp /);
        assert.equal(out.stateCount, 1);
        assert.equal(out.states[0] >>> 1, record);
        assert.deepEqual(records, [], 'an error begins nothing');
        assert.equal(out.cacheable, false, 'its verdict stands on its payload');
      }
    }
  });

  it('an error is an answer also where it goes the forward way', () => {
    const net = guarded();
    const [forward, answer] = PROTOCOLS.udp(net, 0);
    net.send(forward, net.a);
    net.rules({ in: [{ type: 'drop', matchForwardFlow: true }] });
    const about = icmpError({ ...net.fromA, type: 3, code: 3, packet: answer, ip: 14 });
    assert.match(net.send(about, net.a).text, /^icmp 10\.0\.1\.10/);
  });

  it('what devices send themselves counts as an answer', () => {
    const net = guarded();
    const chain = net.world.chain([{ type: 'accept', matchReturnFlow: true }, { type: 'drop' }]);
    net.world.patch('Port', net.a, { outboundFilterId: chain });
    const late = udpFrame({ ...net.fromA, dst: X, srcPort: 1, dstPort: 2, ttl: 1, payload });
    const { text, answers } = net.send(late, net.a);
    assert.equal(text, 'drop ttl_expired');
    assert.deepEqual(answers, [`icmp 10.0.1.1 > 10.0.1.10 11/0 [udp 10.0.1.10:1 > ${X}:2]`]);
  });

  it('looks nothing up, and remembers nothing, where no rule asks', () => {
    const net = new Edge().rules({ in: [{ type: 'accept', nwProto: 17 }], out: [{ type: 'continue' }] });
    const { out } = net.send(PROTOCOLS.udp(net, 0)[0], net.a);
    assert.deepEqual([out.createdCount, out.missedCount, out.stateCount], [0, 0, 0]);
  });

  it('nor where the rule that asks is not come to', () => {
    const net = new Edge().rules({ in: [{ type: 'accept' }, { type: 'drop', matchReturnFlow: true }] });
    const { out } = net.send(PROTOCOLS.udp(net, 0)[0], net.a);
    assert.deepEqual([out.createdCount, out.missedCount], [0, 0]);
  });

  it('asks once a device, however many rules do', () => {
    const asks = [
      { type: 'accept', matchReturnFlow: true },
      { type: 'continue', matchForwardFlow: true },
    ];
    const net = new Edge().rules({ in: asks, out: asks });
    net.world.patch('Port', net.exit, { outboundFilterId: net.world.chain(asks) });
    net.bench.sync();
    const [forward] = PROTOCOLS.udp(net, 0);
    const { out } = net.send(forward, net.a);
    assert.deepEqual([out.createdCount, out.missedCount], [1, 1]);
    assert.equal(net.send(forward, net.a).out.stateCount, 1);
    // Another device is another connection.
    net.world.patch('Bridge', net.bridge, { inboundFilterId: net.world.chain(asks) });
    net.bench.sync();
    const more = net.send(forward, net.a).out;
    assert.deepEqual([more.createdCount, more.missedCount, more.stateCount], [1, 1, 1]);
  });

  it('of a device that the packet comes to twice, one connection begins', () => {
    const net = new Edge();
    const other = attach(net.world, net.router, net.bridge, ['10.0.3.1/24'], 'ac:ca:ba:00:00:03');
    net.world.entry(`arp/${net.router}`, '10.0.3.11', MAC_B);
    net.world.patch('Bridge', net.bridge, {
      inboundFilterId: net.world.chain([{ type: 'continue', matchForwardFlow: true }]),
    });
    assert.notEqual(other, net.inside);
    const frame = udpFrame({ ...net.fromA, dst: '10.0.3.11', srcPort: 1, dstPort: 2, payload });
    const { out, records } = net.send(frame, net.a);
    assert.equal(out.devices, 3);
    assert.equal(out.createdCount, 1);
    assert.ok(records[0] >= 0);
  });

  it('begins nothing for groups, and nothing for what is dropped', () => {
    const world = new World();
    const asks = world.chain([{ type: 'continue', matchForwardFlow: true }]);
    const bridgeId = world.put('Bridge', { inboundFilterId: asks });
    const a = boundPort(world, { bridgeId });
    boundPort(world, { bridgeId });
    const bench = new Workbench(world);
    const head = { ethSrc: MAC_A, src: '10.0.0.1', srcPort: 1, dstPort: 2, payload };
    const created = (ethDst: string, dst: string, src = head.src) => {
      const out = bench.simulate(udpFrame({ ...head, src, ethDst, dst }), a);
      return `${bench.describe(out).split(' ')[0]} ${out.createdCount} ${out.missedCount}`;
    };
    assert.equal(created(MAC_B, '10.0.0.2'), 'forward 1 1');
    assert.equal(created('01:00:5e:01:01:01', '239.1.1.1'), 'forward 0 1');
    assert.equal(created(MAC_B, '239.1.1.1'), 'forward 0 1');
    assert.equal(created('ff:ff:ff:ff:ff:ff', '10.0.0.2'), 'forward 0 1');
    assert.equal(created('33:33:00:00:00:05', 'ff02::5', 'fd00::1'), 'forward 0 1');
    assert.equal(created(MAC_B, 'ff05::5', 'fd00::1'), 'forward 0 1');
    world.patch('Bridge', bridgeId, { outboundFilterId: world.chain([{ type: 'drop' }]) });
    bench.sync();
    assert.equal(created(MAC_B, '10.0.0.2'), 'drop 0 1');
  });

  it('knows later fragments by the ports of the first, and without those asks nobody', () => {
    const net = guarded();
    const long = { payload: new Uint8Array(64), dontFragment: false };
    const away = udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 50, ...long });
    const answer = udpFrame({ ...net.fromOutside, src: X, dst: '10.0.1.10', srcPort: 50, dstPort: 1000, ...long });
    const [first, later] = fragmentFrame(away, 60);
    const [record] = net.send(first, net.a).records;
    assert.deepEqual(states(net.send(later, net.a, [1000, 50]).out), [record << 1]);
    const unknown = net.send(later, net.a);
    assert.match(unknown.text, /fragment$/);
    assert.deepEqual([unknown.out.createdCount, unknown.out.missedCount, unknown.out.stateCount], [0, 0, 0]);
    const [, back] = fragmentFrame(answer, 60);
    assert.match(net.send(back, net.exit, [50, 1000]).text, /fragment$/);
    assert.equal(net.send(back, net.exit).text, 'drop filtered');
  });

  it('the tags of what was looked up are in the result, found or not', () => {
    const net = guarded();
    const [forward, answer] = PROTOCOLS.udp(net, 0);
    const { out } = net.send(forward, net.a);
    const forwardTag = stateTag(out.created[0].words, 0);
    assert.ok(out.tags.slice(0, out.tagCount).includes(forwardTag));
    const back = net.send(answer, net.exit).out;
    const returned = Int32Array.from(out.created[0].words.slice(9));
    returned[0] = out.created[0].words[0];
    assert.ok(back.tags.slice(0, back.tagCount).includes(stateTag(returned, 0)));
  });

  it('a connection goes on that was to finish when its rule goes; another is decided anew', () => {
    for (const onChange of ['finish', 'reevaluate']) {
      const net = guarded({ onChange });
      const [forward, answer] = PROTOCOLS.tcp(net, 0);
      const [record] = net.send(forward, net.a).records;
      const { table } = net.bench.state;
      assert.equal((table.flags(record) & FLAG_KEEP) !== 0, onChange === 'finish');
      const chain = net.world.get('Router', net.router)!.inboundFilterId as string;
      const ruleIds = net.world.get('Chain', chain)!.ruleIds as string[];
      const named = onChange === 'finish' ? chain : ruleIds[1];
      assert.equal(table.words[record * RECORD_WORDS + R_RULE], net.bench.state.number(net.bench.view.handle(named)));
      // With a rule that asks, and then without any.
      for (const left of [[ruleIds[0], ruleIds[2]], [ruleIds[2]]]) {
        net.world.patch('Chain', chain, { ruleIds: left });
        net.bench.sync();
        const finishes = onChange === 'finish' ? `tcp 10.0.1.10:1000 > ${X}:80` : 'drop filtered';
        assert.equal(net.send(forward, net.a).text, finishes);
        assert.equal(net.send(PROTOCOLS.tcp(net, 1)[0], net.a).text, 'drop filtered', 'no other begins');
        assert.equal(
          net.send(answer, net.exit).text.startsWith('tcp'),
          left.length === 2,
          'an answer needs a rule of its own',
        );
      }
    }
  });

  it('what is to finish does so in its own filter only', () => {
    const net = guarded({ onChange: 'finish' });
    const [forward] = PROTOCOLS.tcp(net, 0);
    net.send(forward, net.a);
    net.world.patch('Router', net.router, { outboundFilterId: net.world.chain([{ type: 'drop' }]) });
    net.bench.sync();
    assert.equal(net.send(forward, net.a).text, 'drop filtered');
  });

  it('nobody is asked for what is to finish where nothing is', () => {
    const net = new Edge().rules({ in: [{ type: 'drop' }] });
    const { out } = net.send(PROTOCOLS.tcp(net, 0)[0], net.a);
    assert.deepEqual([out.missedCount, out.stateCount], [0, 0]);
  });

  it('a look-up for what is to finish is no rule that asks: other copies of a flood begin nothing', () => {
    const world = new World();
    const bridgeId = world.put('Bridge', {});
    const a = boundPort(world, { bridgeId });
    const filter = world.chain([{ type: 'accept', matchForwardFlow: true, onChange: 'finish' }, { type: 'drop' }]);
    const b = boundPort(world, { bridgeId, outboundFilterId: filter });
    const c = boundPort(world, { bridgeId });
    const bench = new Workbench(world);
    const frame = (srcPort: number) =>
      udpFrame({ ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', dst: '10.0.0.2', srcPort, dstPort: 2, payload });
    bench.state.commit(bench.simulate(frame(1), a));
    world.patch('Chain', filter, { ruleIds: (world.get('Chain', filter)!.ruleIds as string[]).slice(1) });
    bench.sync();
    const outputs = (out: Simulation) => [...out.outputs.slice(0, out.outputCount)].map((port) => bench.view.id(port));
    assert.deepEqual(outputs(bench.simulate(frame(1), a)), [b, c]);
    const out = bench.simulate(frame(2), a);
    assert.deepEqual(outputs(out), [c]);
    // Tracking, and translations of either kind.
    assert.deepEqual([out.missedCount, out.createdCount], [3, 0]);
  });

  it('a device for which there is no room fails, and nothing passes unseen', () => {
    const net = guarded();
    const { view, state } = net.bench;
    const full = Object.create(state, { number: { value: () => 0 } });
    const simulator = new Simulator(view, { state: full });
    const out = newSimulation();
    const input = net.bench.input(PROTOCOLS.udp(net, 0)[0], net.a);
    net.bench.run(input);
    simulator.simulate(input, out);
    assert.equal(DROP_REASONS[out.reason], 'cap_connections');
    assert.ok(out.shortLived > 0);
  });
});
