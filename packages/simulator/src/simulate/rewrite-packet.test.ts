/**
 * What no action of a flow can express: packets quoted in ICMP errors, and answers of devices about translated packets. `Edge`
 * checks the checksums of everything that leaves, those of quoted packets too.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { F_PAYLOAD } from '@weft/flow';
import { fragmentFrame, icmpEcho, setU16, tcpFrame, udpFrame } from '@weft/packet';
import { Edge } from '../testing/edge.ts';
import { answerTo, errorAbout, packetWords, wrongChecksums } from '../testing/leaving.ts';
import { newSimulation } from './simulation.ts';

type Value = Record<string, unknown>;

const X = '198.51.100.7';
const X6 = '2001:db8:7::7';
const payload = new Uint8Array(24);
const DYNAMIC = { portFrom: 1024, portTo: 65_535 };

const target = (addressFrom: string, more: Value = {}) => ({ addressFrom, ...more });

/** Everything from inside gets an address of the router's, of either version. */
function translating(): Edge {
  const net = new Edge();
  return net.rules({
    in: [{ type: 'rev_snat', inPorts: [net.exit] }],
    out: [
      { type: 'snat', outPorts: [net.exit], natTargets: [target('192.0.2.1', DYNAMIC)] },
      { type: 'snat', outPorts: [net.exit], natTargets: [target('2001:db8::1', DYNAMIC)] },
    ],
  });
}

/** A and its public address, one to one, of either version. */
function floating(): Edge {
  const pairs = [
    ['10.0.1.10', '192.0.2.10', 32],
    ['fd00:1::10', '2001:db8::10', 128],
  ] as const;
  return new Edge().rules({
    in: pairs.map(([own, shown, bits]) => ({ type: 'dnat', nwDst: `${shown}/${bits}`, natTargets: [target(own)] })),
    out: pairs.map(([own, shown, bits]) => ({ type: 'snat', nwSrc: `${own}/${bits}`, natTargets: [target(shown)] })),
  });
}

const packets: Record<string, (net: Edge) => Uint8Array> = {
  udp: (net) => udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 53, payload }),
  'udp without checksum': (net) => {
    const frame = udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 53, payload });
    setU16(frame, 40, 0);
    return frame;
  },
  tcp: (net) => tcpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 80 }),
  'icmp echo': (net) => icmpEcho({ ...net.fromA, dst: X, id: 7, payload }),
  'udp over IPv6': (net) => udpFrame({ ...net.fromA, src: 'fd00:1::10', dst: X6, srcPort: 1000, dstPort: 53, payload }),
  'tcp over IPv6': (net) => tcpFrame({ ...net.fromA, src: 'fd00:1::10', dst: X6, srcPort: 1000, dstPort: 80 }),
  'icmpv6 echo': (net) => icmpEcho({ ...net.fromA, src: 'fd00:1::10', dst: X6, id: 7, payload }),
};

const v6 = (name: string) => name.includes('v6');
const unreachable = (name: string): [type: number, code: number] => (v6(name) ? [1, 3] : [3, 1]);

describe('ICMP errors about translated packets', () => {
  for (const [kind, make] of [
    ['dynamic', translating],
    ['one to one', floating],
  ] as const) {
    for (const [name, packet] of Object.entries(packets)) {
      it(`${kind}, ${name}: from outside about what left, and from inside about its answer`, () => {
        const net = make();
        const frame = packet(net);
        const away = net.send(frame, net.a);
        assert.doesNotMatch(away.text, /10\.0\.1\.10|fd00:1/);
        // From a router on the way: its own address stays.
        const source = v6(name) ? '2001:db8:9::9' : '203.0.113.9';
        const error = net.send(errorAbout(away.frame, source, ...unreachable(name)), net.exit);
        const [head, quoted] = /^(.*?) \[(.*)\]$/.exec(error.text)!.slice(1);
        assert.equal(quoted, packetWords(frame));
        assert.match(head, new RegExp(`^icmp6? ${source} > (10.0.1.10|fd00:1::10) `));
        assert.ok(error.out.fields & F_PAYLOAD);
        assert.equal(error.out.cacheable, false);
        // The VM refuses the answer: the outside hears of it as of its own packet.
        const answer = answerTo(away.frame);
        const arrived = net.send(answer, net.exit);
        const own = v6(name) ? 'fd00:1::10' : '10.0.1.10';
        const refusal = net.send(errorAbout(arrived.frame, own, ...unreachable(name)), net.a);
        assert.ok(refusal.text.endsWith(` [${packetWords(answer)}]`), refusal.text);
        assert.doesNotMatch(refusal.text, /10\.0\.1\.10|fd00:1::10/);
      });
    }
  }

  it('of a translated destination, both ways', () => {
    const net = new Edge();
    net.rules({
      in: [{ type: 'dnat', nwDst: '192.0.2.80/32', natTargets: [target('10.0.1.10', { portFrom: 8080 })] }],
      out: [{ type: 'rev_dnat' }],
    });
    const call = tcpFrame({ ...net.fromOutside, src: X, dst: '192.0.2.80', srcPort: 4000, dstPort: 80 });
    const arrived = net.send(call, net.exit);
    const refused = net.send(errorAbout(arrived.frame, '10.0.1.10', 3, 3), net.a);
    assert.equal(refused.text, `icmp 192.0.2.80 > ${X} 3/3 [tcp ${X}:4000 > 192.0.2.80:80]`);
    const answered = net.send(answerTo(arrived.frame), net.a);
    const lost = net.send(errorAbout(answered.frame, '203.0.113.9', 3, 1), net.exit);
    assert.equal(lost.text, `icmp 203.0.113.9 > 10.0.1.10 3/1 [tcp 10.0.1.10:8080 > ${X}:4000]`);
  });

  it('of both ends at once (hairpin)', () => {
    const net = new Edge();
    net.rules({
      in: [
        { type: 'rev_snat', nwDst: '192.0.2.1/32', flowAction: 'continue' },
        { type: 'dnat', nwDst: '192.0.2.80/32', natTargets: [target('10.0.1.11', { portFrom: 8080 })] },
      ],
      out: [
        { type: 'rev_dnat', flowAction: 'continue' },
        { type: 'snat', nwSrc: '10.0.1.0/24', nwDst: '10.0.1.0/24', natTargets: [target('192.0.2.1', DYNAMIC)] },
      ],
    });
    const call = tcpFrame({ ...net.fromA, dst: '192.0.2.80', srcPort: 1000, dstPort: 80 });
    const arrived = net.send(call, net.a);
    const refused = net.send(errorAbout(arrived.frame, '10.0.1.11', 3, 3), net.b);
    assert.equal(refused.text, 'icmp 192.0.2.80 > 10.0.1.10 3/3 [tcp 10.0.1.10:1000 > 192.0.2.80:80]');
  });

  it('go by the connection, not by the conditions of the rules that translate it; what follows the rule holds for them too', () => {
    const tcp = { nwProto: 6, fragmentPolicy: 'header' };
    const net = new Edge().rules({
      in: [
        { type: 'rev_snat', ...tcp, tpSrc: { start: 80, end: 80 } },
        { type: 'drop', nwDst: '192.0.2.1/32' },
      ],
      out: [
        { type: 'snat', ...tcp, tpDst: { start: 81, end: 81 }, natTargets: [target('192.0.2.2', DYNAMIC)] },
        { type: 'snat', ...tcp, tpDst: { start: 80, end: 80 }, natTargets: [target('192.0.2.1', DYNAMIC)] },
        { type: 'drop', nwSrc: '10.0.1.0/24', nwDst: `${X}/32` },
      ],
    });
    const away = net.send(packets.tcp(net), net.a);
    const error = net.send(errorAbout(away.frame, '203.0.113.9', 3, 1), net.exit);
    assert.equal(error.text, `icmp 203.0.113.9 > 10.0.1.10 3/1 [tcp 10.0.1.10:1000 > ${X}:80]`);
    assert.equal(error.out.ruleHitCount, 1);
    const answer = answerTo(away.frame);
    const arrived = net.send(answer, net.exit);
    const refusal = net.send(errorAbout(arrived.frame, '10.0.1.10', 3, 3), net.a);
    assert.equal(refusal.text, `icmp 192.0.2.1 > ${X} 3/3 [${packetWords(answer)}]`);
    // About another connection, and no error at all: the conditions count.
    const foreign = udpFrame({ ...net.fromOutside, src: X, dst: '192.0.2.1', srcPort: 80, dstPort: 9, payload });
    assert.equal(net.send(errorAbout(answerTo(foreign), '203.0.113.9', 3, 1), net.exit).text, 'drop filtered');
    assert.equal(net.send(packets['icmp echo'](net), net.a).text, 'drop filtered');
  });

  it('about nothing that is known stay as they are, and begin nothing', () => {
    const net = translating();
    const foreign = udpFrame({ ...net.fromA, dst: X, srcPort: 1, dstPort: 2, payload });
    const about = errorAbout(answerTo(foreign), '10.0.1.10', 3, 3);
    const { text, out } = net.send(about, net.a);
    assert.equal(text, `icmp 10.0.1.10 > ${X} 3/3 [udp ${X}:2 > 10.0.1.10:1]`);
    assert.deepEqual([out.createdCount, out.frame], [0, null]);
  });

  it('that quote no more than they must are translated as far as they quote', () => {
    for (const make of [translating, floating]) {
      const net = make();
      const away = net.send(packets.tcp(net), net.a);
      // RFC 792: the IP header and 8 bytes. The checksum of TCP is not among them.
      const error = errorAbout(away.frame.slice(0, 14 + 28), '203.0.113.9', 3, 1);
      const input = net.bench.input(error, net.exit);
      const out = net.bench.run(input, newSimulation());
      assert.equal(packetWords(out.frame!, 14).replace(/^.*\[/, ''), `tcp 10.0.1.10:1000 > ${X}:80]`);
      assert.ok(out.frame!.length === error.length);
    }
  });

  it('that are later fragments themselves quote nothing', () => {
    const net = floating();
    const whole = udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 53, payload: new Uint8Array(400) });
    const away = net.send(whole, net.a);
    const error = errorAbout(away.frame, '203.0.113.9', 3, 1);
    error[20] &= ~0x40;
    setU16(error, 24, 0);
    const pieces = fragmentFrame(error, 200);
    // The datapath has filled in type and code of the first one.
    const { text, out } = net.send(pieces[1], net.exit, [3, 1]);
    assert.equal(text, 'icmp 203.0.113.9 > 10.0.1.10 fragment');
    assert.equal(out.frame, null);
  });

  it('copies of a flood that are translated differently do not leave as one packet', () => {
    const net = floating();
    const away = net.send(packets.udp(net), net.a);
    const filter = net.world.chain([{ type: 'dnat', natTargets: [target('10.0.1.10')] }]);
    net.world.patch('Port', net.b, { outboundFilterId: filter });
    const { hostId } = net.world.get('Port', net.a)!;
    const c = net.world.put('Port', { bridgeId: net.bridge, hostId, interfaceName: 'c' });
    const d = net.world.put('Port', { bridgeId: net.bridge, hostId, interfaceName: 'd' });
    net.bench.sync();
    const error = errorAbout(away.frame, '203.0.113.9', 3, 1);
    error.set([2, 0, 0, 0, 0, 0x77], 0);
    const out = net.bench.run(net.bench.input(error, net.a), newSimulation());
    const to = [...out.outputs.slice(0, out.outputCount)].map((port) => net.bench.view.id(port));
    const translated = out.frame !== null;
    assert.deepEqual(to.sort(), translated ? [net.b] : [c, d].sort());
  });
});

/** A – R1, which translates – R2 – outside. */
function twoRouters() {
  const net = new Edge();
  const { world, router } = net;
  const second = world.put('Router', {});
  const near = world.put('Port', { routerId: router, portSubnet: ['10.8.0.1/30'], portMac: 'ac:ca:ba:00:08:01' });
  const far = world.put('Port', { routerId: second, portSubnet: ['10.8.0.2/30'], portMac: 'ac:ca:ba:00:08:02' });
  world.link(near, far);
  const exit = net.world.put('Port', {
    routerId: second,
    portSubnet: ['203.0.113.1/24'],
    portMac: 'ac:ca:ba:00:08:03',
    hostId: world.get('Port', net.a)!.hostId,
    interfaceName: 'second',
  });
  world.entry(`active/${exit}`, world.get('Port', net.a)!.hostId as string, '');
  world.put('Route', { routerId: router, dstSubnet: '198.51.100.0/24', nextHopPort: near, nextHopGateway: '10.8.0.2' });
  world.put('Route', { routerId: second, dstSubnet: '10.8.0.0/30', nextHopPort: far });
  world.put('Route', { routerId: second, dstSubnet: '172.16.0.1/32', nextHopPort: far, nextHopGateway: '10.8.0.1' });
  world.put('Route', { routerId: second, dstSubnet: '0.0.0.0/0', nextHopPort: exit, nextHopGateway: '203.0.113.254' });
  world.entry(`arp/${second}`, '203.0.113.254', '02:00:00:00:00:fe');
  net.rules({
    in: [{ type: 'rev_snat', inPorts: [near] }],
    out: [{ type: 'snat', outPorts: [near], natTargets: [target('172.16.0.1', DYNAMIC)] }],
  });
  return { net, second, exit };
}

describe('what devices say about translated packets', () => {
  const probe = (net: Edge, ttl: number, more: Value = {}) =>
    udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 33_434, payload, ttl, ...more });

  it('a traceroute goes through: each router quotes what the sender sent', () => {
    const { net } = twoRouters();
    const quoted = `[udp 10.0.1.10:1000 > ${X}:33434]`;
    const one = net.send(probe(net, 1), net.a);
    assert.deepEqual([one.text, one.answers], ['drop ttl_expired', [`icmp 10.0.1.1 > 10.0.1.10 11/0 ${quoted}`]]);
    const two = net.send(probe(net, 2), net.a);
    assert.deepEqual([two.text, two.answers], ['drop ttl_expired', [`icmp 10.8.0.2 > 10.0.1.10 11/0 ${quoted}`]]);
    assert.match(net.send(probe(net, 3), net.a).text, /^udp 172\.16\.0\.1:\d+ > 198\.51\.100\.7:33434$/);
  });

  it('a translated packet that is too big for its tunnel: the last router says so, and the sender understands', () => {
    const { net } = twoRouters();
    const big = probe(net, 64, { payload: new Uint8Array(1400) });
    const { input, out } = net.send(big, net.a);
    assert.ok(net.bench.simulator.tooBig(input, out, 1300));
    const [{ frame, port }] = out.generated;
    assert.match(packetWords(frame), /^icmp 10\.8\.0\.2 > 172\.16\.0\.1 3\/4 \[udp 172\.16\.0\.1:/);
    const back = net.bench.generated(frame, port);
    assert.equal(packetWords(back.frame!).replace(/^.*\[/, '['), `[udp 10.0.1.10:1000 > ${X}:33434]`);
    assert.deepEqual(wrongChecksums(back.frame!), []);
  });

  it('a router that rejects what it has translated speaks of what came', () => {
    const { net } = twoRouters();
    const chain = net.world.get('Router', net.router)!.outboundFilterId as string;
    const [rule] = net.world.get('Chain', chain)!.ruleIds as string[];
    net.world.patch('Rule', rule, { flowAction: 'continue' });
    const stop = net.world.put('Rule', { chainId: chain, type: 'reject', nwDst: `${X}/32` });
    net.world.patch('Chain', chain, { ruleIds: [rule, stop] });
    net.bench.sync();
    const udp = net.send(probe(net, 64), net.a);
    assert.deepEqual(udp.answers, [`icmp 10.0.1.1 > 10.0.1.10 3/13 [udp 10.0.1.10:1000 > ${X}:33434]`]);
    const tcp = net.send(tcpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 80 }), net.a);
    assert.deepEqual(tcp.answers, [`tcp ${X}:80 > 10.0.1.10:1000`]);
  });

  it('a router behind it that rejects, or resets, is heard through the translation', () => {
    const { net, second } = twoRouters();
    net.world.patch('Router', second, { inboundFilterId: net.world.chain([{ type: 'reject', nwDst: `${X}/32` }]) });
    net.bench.sync();
    const udp = net.send(probe(net, 64), net.a);
    assert.deepEqual(udp.answers, [`icmp 10.8.0.2 > 10.0.1.10 3/13 [udp 10.0.1.10:1000 > ${X}:33434]`]);
    const tcp = net.send(tcpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 80 }), net.a);
    assert.deepEqual(tcp.answers, [`tcp ${X}:80 > 10.0.1.10:1000`]);
  });

  it('a bridge that rejects what it has translated answers in the name of the address that was called', () => {
    const net = new Edge();
    net.world.patch('Bridge', net.bridge, {
      inboundFilterId: net.world.chain([
        { type: 'dnat', nwDst: `${X}/32`, natTargets: [target('10.0.1.11')], flowAction: 'continue' },
        { type: 'reject' },
      ]),
    });
    net.bench.sync();
    const tcp = net.send(tcpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 80 }), net.a);
    assert.deepEqual(tcp.answers, [`tcp ${X}:80 > 10.0.1.10:1000`]);
    assert.deepEqual(net.send(probe(net, 9), net.a).answers, [
      `icmp ${X} > 10.0.1.10 3/13 [udp 10.0.1.10:1000 > ${X}:33434]`,
    ]);
  });
});

describe('fragments', () => {
  const long = (net: Edge, more: Value = {}) =>
    udpFrame({
      ...net.fromA,
      dst: X,
      srcPort: 1000,
      dstPort: 53,
      payload: new Uint8Array(400),
      dontFragment: false,
      ...more,
    });

  it('of a packet are translated alike, later ones by the ports that the datapath knows', () => {
    for (const more of [{}, { src: 'fd00:1::10', dst: X6 }]) {
      const net = translating();
      const [first, later] = fragmentFrame(long(net, more), 300, 77);
      const one = net.send(first, net.a);
      const two = net.send(later, net.a, [1000, 53]);
      assert.equal(two.records.length, 0);
      assert.equal(two.out.states[0], one.records[0] << 1);
      assert.match(two.text, /^udp (192\.0\.2\.1|2001:db8::1) > .* fragment$/);
    }
  });

  it('of a packet whose first one nobody has seen are dropped where they would be translated with ports', () => {
    const net = translating();
    const [, later] = fragmentFrame(long(net), 300);
    const { text, out } = net.send(later, net.a);
    assert.equal(text, 'drop nat_fragment');
    assert.equal(out.createdCount, 0);
  });

  it('and pass where only addresses are', () => {
    const net = floating();
    const [, later] = fragmentFrame(long(net), 300);
    assert.equal(net.send(later, net.a).text, `udp 192.0.2.10 > ${X} fragment`);
  });

  it('of answers: those of nobody knows what are left to the filters', () => {
    const net = translating();
    const answer = long(net, { ...net.fromOutside, src: X, dst: '192.0.2.1', srcPort: 53, dstPort: 2048 });
    const [, later] = fragmentFrame(answer, 300);
    assert.equal(net.send(later, net.exit).text, 'drop local_delivered');
  });
});
