/** Translation by rules: what becomes of a packet, of the answer to it, and of what the rules behind see. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { K_IP_SRC, KEY_SIZE } from '@weft/flow';
import { FLAG_KEEP, KIND_DNAT, KIND_SNAT, stateTag, tupleKind } from '@weft/flowstate';
import { icmpEcho, icmpError, tcpFrame, udpFrame } from '@weft/packet';
import { VERDICT_FORWARD, VERDICT_POSTPONE } from '../contract.ts';
import { Edge, type Passage } from '../testing/edge.ts';
import { answerTo, packetWords } from '../testing/leaving.ts';
import { newSimulation } from './simulation.ts';
import { Simulator } from './simulator.ts';

type Value = Record<string, unknown>;

const X = '198.51.100.7';
const X6 = '2001:db8:7::7';
const payload = new Uint8Array(24);

const target = (addressFrom: string, more: Value = {}) => ({ addressFrom, ...more });
const DYNAMIC = { portFrom: 1024, portTo: 65_535 };

/** Source translation of what leaves by the exit port, and back. */
function snat(net: Edge, natTargets: Value[], more: Value = {}): Edge {
  return net.rules({
    in: [{ type: 'rev_snat', inPorts: [net.exit] }],
    out: [{ type: 'snat', outPorts: [net.exit], natTargets, ...more }],
  });
}

/** Destination translation of what comes in by the exit port, and back. */
function dnat(net: Edge, natTargets: Value[], more: Value = {}): Edge {
  return net.rules({
    in: [{ type: 'dnat', inPorts: [net.exit], natTargets, ...more }],
    out: [{ type: 'rev_dnat', outPorts: [net.exit] }],
  });
}

const created = ({ out }: Passage) => out.created.slice(0, out.createdCount).map(({ words }) => tupleKind(words[0]));

/** Sends a packet from A, checks how it leaves, and that its answer comes back to A as if nothing had been. */
function thereAndBack(net: Edge, frame: Uint8Array, leaves: RegExp): Passage {
  const before = packetWords(answerTo(frame));
  const away = net.send(frame, net.a);
  assert.match(away.text, leaves);
  const back = net.send(answerTo(away.frame), net.exit);
  assert.equal(back.text, before);
  assert.equal(net.send(frame, net.a).text, away.text, 'the next packet is translated alike');
  return away;
}

describe('source translation', () => {
  const packets = (net: Edge) => ({
    tcp: tcpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 80 }),
    udp: udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 53, payload }),
    echo: icmpEcho({ ...net.fromA, dst: X, id: 7, payload }),
  });

  it('to an address and ports of its own, and answers back', () => {
    const net = snat(new Edge(), [target('192.0.2.1', DYNAMIC)]);
    const { tcp, udp, echo } = packets(net);
    const first = thereAndBack(net, tcp, /^tcp 192\.0\.2\.1:20\d\d > 198\.51\.100\.7:80$/);
    assert.deepEqual(created(first), [KIND_SNAT]);
    assert.equal(first.out.missedCount, 1);
    thereAndBack(net, udp, /^udp 192\.0\.2\.1:(20|21)\d\d > 198\.51\.100\.7:53$/);
    thereAndBack(net, echo, /^icmp 192\.0\.2\.1 > 198\.51\.100\.7 8\/0 id (20|21)\d\d$/);
    assert.equal(net.send(udp, net.a).out.cacheable, true);
  });

  it('of IPv6', () => {
    const net = snat(new Edge(), [target('2001:db8::1', DYNAMIC)]);
    const own = { ...net.fromA, src: 'fd00:1::10', dst: X6, payload };
    thereAndBack(
      net,
      udpFrame({ ...own, srcPort: 1000, dstPort: 53 }),
      /^udp \[2001:db8::1\]:\d+ > \[2001:db8:7::7\]:53$/,
    );
    thereAndBack(net, icmpEcho({ ...own, id: 7 }), /^icmp6 2001:db8::1 > 2001:db8:7::7 128\/0 id \d{4}$/);
    // Packets of the other version pass the rule by.
    assert.equal(net.send(packets(net).tcp, net.a).text, `tcp 10.0.1.10:1000 > ${X}:80`);
  });

  it('to the address of the port by which it leaves', () => {
    const net = new Edge();
    net.rules({
      in: [{ type: 'rev_snat', inPorts: [net.exit] }],
      out: [{ type: 'masquerade', outPorts: [net.exit] }],
    });
    thereAndBack(net, packets(net).udp, /^udp 192\.0\.2\.1:\d+ >/);
    const own = { ...net.fromA, src: 'fd00:1::10', dst: X6, payload };
    thereAndBack(net, udpFrame({ ...own, srcPort: 1000, dstPort: 53 }), /^udp \[2001:db8::1\]:\d+ >/);
    // Where a port has no address of the version there is nothing to translate to.
    net.world.patch('Port', net.exit, { portSubnet: ['192.0.2.1/24'] });
    net.bench.sync();
    assert.match(net.send(udpFrame({ ...own, srcPort: 1, dstPort: 53 }), net.a).text, /^udp \[fd00:1::10\]:1 >/);
    // Before routing nobody knows where it will leave.
    net.rules({ in: [{ type: 'masquerade' }] });
    assert.match(net.send(packets(net).tcp, net.a).text, /^tcp 10\.0\.1\.10:1000/);
  });

  it('one to one needs no state, and reads the address alone', () => {
    const net = new Edge();
    net.rules({
      in: [{ type: 'dnat', nwDst: '192.0.2.10/32', natTargets: [target('10.0.1.10')] }],
      out: [{ type: 'snat', nwSrc: '10.0.1.10/32', natTargets: [target('192.0.2.10')] }],
    });
    for (const frame of Object.values(packets(net))) {
      const { out } = thereAndBack(net, frame, /192\.0\.2\.10(:1000)? > 198/);
      assert.deepEqual([out.createdCount, out.missedCount, out.stateCount], [0, 0, 0]);
    }
    const tcp = packets(net).tcp;
    assert.match(net.send(tcp, net.a).text, /192\.0\.2\.10:1000/, 'the port stays');
  });

  it('one to one translates what a router before the machine says of its packets', () => {
    const net = new Edge().rules({
      in: [{ type: 'dnat', nwDst: '192.0.2.20/32', natTargets: [target('10.0.1.10')] }],
      out: [{ type: 'snat', nwSrc: '10.0.1.10/32', natTargets: [target('192.0.2.20')] }],
    });
    // B is a router on the way to 10.0.1.10, and tells of what came for it, and of what came for 10.0.1.99.
    const about = (dst: string) => {
      const quoted = tcpFrame({ ...net.fromOutside, src: X, dst, srcPort: 5000, dstPort: 80 });
      return icmpError({ ...net.fromB, type: 11, code: 0, packet: quoted, ip: 14 });
    };
    const told = (from: string, quoted: string) => `icmp ${from} > ${X} 11/0 [tcp ${X}:5000 > ${quoted}:80]`;
    assert.equal(net.send(about('10.0.1.10'), net.b).text, told('192.0.2.20', '192.0.2.20'));
    assert.equal(net.send(about('10.0.1.99'), net.b).text, told('10.0.1.11', '10.0.1.99'));
  });

  it('two who ping one target with one identifier get different ones', () => {
    const net = snat(new Edge(), [target('192.0.2.1', DYNAMIC)]);
    const ping = (from: Value, reply = false) =>
      icmpEcho({ ...(from as typeof net.fromA), dst: X, id: 7, payload, reply });
    const [a, b] = [net.send(ping(net.fromA), net.a), net.send(ping(net.fromB), net.b)];
    assert.notEqual(a.text, b.text);
    assert.equal(net.send(answerTo(a.frame), net.exit).text, `icmp ${X} > 10.0.1.10 0/0 id 7`);
    assert.equal(net.send(answerTo(b.frame), net.exit).text, `icmp ${X} > 10.0.1.11 0/0 id 7`);
  });

  it('waits for ports, and says for which', () => {
    const net = snat(new Edge(), [target('192.0.2.1', DYNAMIC)]);
    const input = net.bench.input(packets(net).tcp, net.a);
    net.bench.run(input);
    const out = newSimulation();
    const empty = Object.create(net.bench.state, { chooseSource: { value: () => 1 } });
    new Simulator(net.bench.view, { state: empty }).simulate(input, out);
    assert.equal(out.verdict, VERDICT_POSTPONE);
    assert.equal(out.wantedBlocks.length, 1);
    assert.match(out.wantedBlocks[0], /-.*:1024-65535$/);
    assert.equal(out.createdCount, 0);
    assert.deepEqual(out.needs, []);
  });

  it('takes another of several targets where one has nothing left, and drops where none has', () => {
    const one = { portFrom: 5000, portTo: 5000 };
    const net = snat(new Edge(), [target('192.0.2.1', one), target('192.0.2.2', one)]);
    const from = (srcPort: number, dst = X) => net.send(tcpFrame({ ...net.fromA, dst, srcPort, dstPort: 80 }), net.a);
    const texts = [from(1).text, from(2).text].sort();
    assert.deepEqual(texts, [`tcp 192.0.2.1:5000 > ${X}:80`, `tcp 192.0.2.2:5000 > ${X}:80`]);
    const { out, text, records } = from(3);
    assert.equal(text, 'drop nat_exhausted');
    assert.deepEqual(records, []);
    assert.equal(out.createdCount, 0);
    assert.ok(out.shortLived > 0, 'connections end');
    // A port leads to many peers.
    assert.match(from(3, '198.51.100.8').text, /^tcp 192\.0\.2\.[12]:5000 > 198\.51\.100\.8:80/);
  });

  it('passes by what has neither ports nor identifier', () => {
    const net = snat(new Edge(), [target('2001:db8::1', DYNAMIC)]);
    const frame = udpFrame({ ...net.fromA, src: 'fd00:1::10', dst: X6, srcPort: 1, dstPort: 2, payload });
    frame[20] = 47;
    const { text, out } = net.send(frame, net.a);
    assert.equal(text, `gre fd00:1::10 > ${X6}`);
    assert.equal(out.ruleHitCount, 0, 'nor does it count as a hit');
  });

  it('more of them than a packet may belong to fail', () => {
    const net = new Edge();
    const out = Array.from({ length: 17 }, (_, i) => ({
      type: 'snat',
      outPorts: [net.exit],
      natTargets: [target(`192.0.2.${50 + i}`, DYNAMIC)],
      flowAction: 'continue',
    }));
    net.rules({ out });
    assert.equal(net.send(packets(net).udp, net.a).text, 'drop cap_connections');
  });
});

describe('destination translation', () => {
  const toEdge = (net: Edge, more: Value = {}) =>
    tcpFrame({ ...net.fromOutside, src: X, dst: '192.0.2.80', srcPort: 4000, dstPort: 80, ...more });

  /** Sends a packet from outside, and its answer from A or B. */
  function call(net: Edge, frame: Uint8Array): { arrives: string; answer: string } {
    const arrived = net.send(frame, net.exit);
    if (arrived.frame.length === 0) return { arrives: arrived.text, answer: '' };
    const from = arrived.text.includes('> 10.0.1.11') ? net.b : net.a;
    return { arrives: arrived.text, answer: net.send(answerTo(arrived.frame), from).text };
  }

  it('one to one', () => {
    const net = new Edge().rules({
      in: [{ type: 'dnat', nwDst: '192.0.2.80/32', natTargets: [target('10.0.1.10')] }],
      out: [{ type: 'snat', nwSrc: '10.0.1.10/32', natTargets: [target('192.0.2.80')] }],
    });
    assert.deepEqual(call(net, toEdge(net)), {
      arrives: `tcp ${X}:4000 > 10.0.1.10:80`,
      answer: `tcp 192.0.2.80:80 > ${X}:4000`,
    });
  });

  it('of a port to another', () => {
    const net = dnat(new Edge(), [target('10.0.1.10', { portFrom: 8080 })], {
      nwDst: '192.0.2.80/32',
      nwProto: 6,
      tpDst: { start: 80, end: 80 },
    });
    assert.deepEqual(call(net, toEdge(net)), {
      arrives: `tcp ${X}:4000 > 10.0.1.10:8080`,
      answer: `tcp 192.0.2.80:80 > ${X}:4000`,
    });
    assert.deepEqual(created(net.send(toEdge(net, { srcPort: 4001 }), net.exit)), [KIND_DNAT]);
    assert.equal(net.send(toEdge(net, { dstPort: 81 }), net.exit).text, `tcp ${X}:4000 > 192.0.2.80:81`);
  });

  it('among several, each connection to one, the same one on every host', () => {
    const targets = [target('10.0.1.10', { portFrom: 8000, portTo: 8009 }), target('10.0.1.11', { portFrom: 9000 })];
    const [net, far] = [1, 2].map((host) => {
      const edge = new Edge(host);
      // Hosts number things in the order in which they meet them.
      for (let i = 0; i < host * 3; i++) edge.bench.state.number(edge.bench.view.handle(edge.world.put('Bridge', {})));
      return dnat(edge, targets, { nwDst: '192.0.2.80/32' });
    });
    const seen = new Set<string>();
    for (let srcPort = 4000; srcPort < 4040; srcPort++) {
      const { arrives, answer } = call(net, toEdge(net, { srcPort }));
      seen.add(arrives.replace(/^.*> /, ''));
      assert.equal(answer, `tcp 192.0.2.80:80 > ${X}:${srcPort}`);
      assert.equal(call(far, toEdge(far, { srcPort })).arrives, arrives);
    }
    assert.ok(seen.size >= 8, [...seen].join());
    assert.ok(seen.has('10.0.1.11:9000'));
  });

  it('of an echo to an address, with its identifier', () => {
    const net = dnat(new Edge(), [target('10.0.1.10', { portFrom: 8080 })], { nwDst: '192.0.2.80/32' });
    const ping = icmpEcho({ ...net.fromOutside, src: X, dst: '192.0.2.80', id: 9, payload });
    assert.deepEqual(call(net, ping), {
      arrives: `icmp ${X} > 10.0.1.10 8/0 id 9`,
      answer: `icmp 192.0.2.80 > ${X} 0/0 id 9`,
    });
  });

  it('of IPv6, to a range', () => {
    const net = dnat(new Edge(), [target('fd00:1::10', { addressTo: 'fd00:1::11' })], { nwDst: '2001:db8::80/128' });
    const seen = new Set<string>();
    for (let srcPort = 4000; srcPort < 4020; srcPort++) {
      const frame = tcpFrame({ ...net.fromOutside, src: X6, dst: '2001:db8::80', srcPort, dstPort: 80 });
      const { text } = net.send(frame, net.exit);
      seen.add(text.replace(/^.*> /, ''));
    }
    assert.deepEqual([...seen].sort(), ['[fd00:1::10]:80', '[fd00:1::11]:80']);
  });

  it('goes round what another connection of the client leads to', () => {
    const net = dnat(new Edge(), [target('10.0.1.10', { portFrom: 8080 })], { nwDst: '192.0.2.80/31' });
    assert.match(call(net, toEdge(net)).arrives, /> 10\.0\.1\.10:8080/);
    const second = net.send(toEdge(net, { dst: '192.0.2.81' }), net.exit);
    assert.equal(second.text, 'drop nat_exhausted', 'its answers could not be told from those of the first');
  });

  it('of the own address: a router answers an echo in the name of the address that was called', () => {
    const net = dnat(new Edge(), [target('10.0.1.1', { portFrom: 8080 })], { nwDst: '192.0.2.80/32' });
    const ping = icmpEcho({ ...net.fromOutside, src: X, dst: '192.0.2.80', id: 9, payload });
    assert.deepEqual(net.send(ping, net.exit).answers, [`icmp 192.0.2.80 > ${X} 0/0 id 9`]);
  });
});

describe('both translations', () => {
  it('let a VM reach another by the address that outsiders use (hairpin)', () => {
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
    const at = net.send(call, net.a);
    assert.match(at.text, /^tcp 192\.0\.2\.1:\d+ > 10\.0\.1\.11:8080$/);
    assert.deepEqual(created(at), [KIND_DNAT, KIND_SNAT]);
    assert.equal(net.send(answerTo(at.frame), net.b).text, 'tcp 192.0.2.80:80 > 10.0.1.10:1000');
    assert.equal(net.send(call, net.a).out.stateCount, 2);
  });

  it('let a VM reach itself by the address that stands for it, each time alike', () => {
    const net = new Edge();
    net.rules({
      in: [
        { type: 'rev_snat', nwDst: '192.0.2.1/32', flowAction: 'continue' },
        { type: 'dnat', nwDst: '192.0.2.80/32', natTargets: [target('10.0.1.10', { portFrom: 8080 })] },
      ],
      out: [
        { type: 'rev_dnat', flowAction: 'continue' },
        { type: 'snat', nwSrc: '10.0.1.0/24', nwDst: '10.0.1.0/24', natTargets: [target('192.0.2.1', DYNAMIC)] },
      ],
    });
    const ping = icmpEcho({ ...net.fromA, dst: '192.0.2.80', id: 7, payload });
    const first = net.send(ping, net.a);
    assert.match(first.text, /^icmp 192\.0\.2\.1 > 10\.0\.1\.10 8\/0 id \d+$/);
    const again = net.send(ping, net.a);
    assert.equal(again.text, first.text);
    assert.deepEqual(
      [...again.out.states.slice(0, again.out.stateCount)].map((state) => state & 1),
      [0, 0],
    );
    assert.equal(net.send(answerTo(first.frame), net.a).text, 'icmp 192.0.2.80 > 10.0.1.10 0/0 id 7');
  });

  it('tracking sees one connection around them', () => {
    const net = new Edge();
    net.rules({
      in: [
        { type: 'rev_snat', inPorts: [net.exit], flowAction: 'continue' },
        { type: 'accept', matchReturnFlow: true },
        { type: 'accept', inPorts: [net.inside] },
        { type: 'drop' },
      ],
      out: [{ type: 'snat', outPorts: [net.exit], natTargets: [target('192.0.2.1', DYNAMIC)] }],
    });
    const frame = udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 53, payload });
    const { out } = thereAndBack(net, frame, /^udp 192\.0\.2\.1:\d+ >/);
    assert.equal(out.createdCount, 2);
    const stranger = udpFrame({ ...net.fromOutside, src: X, dst: '10.0.1.10', srcPort: 53, dstPort: 1000, payload });
    assert.equal(
      net.send(stranger, net.exit).text,
      'drop filtered',
      'the answer to another packet than the one that left',
    );
  });
});

describe('what follows a translation', () => {
  const away = (net: Edge) => udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 53, payload });
  const natTargets = [target('192.0.2.9')];

  it('accept passes the filter, continue goes on with the next rule, return with that behind the jump', () => {
    const inner = (flowAction: string) => [{ type: 'snat', natTargets, flowAction }, { type: 'reject' }];
    const outcome = (flowAction: string) => {
      const net = new Edge();
      const chain = net.world.chain(inner(flowAction));
      net.rules({
        out: [
          { type: 'jump', jumpChainId: chain, outPorts: [net.exit] },
          { type: 'drop', outPorts: [net.exit] },
        ],
      });
      return net.send(away(net), net.a).text;
    };
    assert.equal(outcome('accept'), `udp 192.0.2.9:1000 > ${X}:53`);
    assert.equal(outcome('continue'), 'drop rejected');
    assert.equal(outcome('return'), 'drop filtered');
  });

  it('rules behind see the translated packet: fields, groups, and whether the destination was rewritten', () => {
    const net = new Edge();
    const group = net.world.put('IpAddrGroup', { name: 'translated' });
    net.world.entry(`addresses/${group}`, '192.0.2.9', '');
    const seen = (rule: Value, dnatToo = false) => {
      // Each test is asked before, so that a memo of it would still say the old thing.
      net.rules({
        out: [
          { type: 'continue', ...rule },
          { type: 'snat', natTargets, flowAction: 'continue', outPorts: [net.exit] },
          ...(dnatToo ? [{ type: 'dnat', natTargets: [target('198.51.100.9')], flowAction: 'continue' }] : []),
          { type: 'drop', ...rule },
        ],
      });
      return net.send(away(net), net.a).text === 'drop filtered';
    };
    assert.equal(seen({ nwSrc: '192.0.2.9/32' }), true);
    assert.equal(seen({ nwSrc: '10.0.1.10/32' }), false);
    assert.equal(seen({ ipAddrGroupSrc: group }), true);
    assert.equal(seen({ ipAddrGroupSrc: group, invIpAddrGroupSrc: true }), false);
    assert.equal(seen({ matchNwDstRewritten: true }), false);
    assert.equal(seen({ matchNwDstRewritten: true }, true), true);
  });

  it('what a rule cannot translate goes on with the next rule', () => {
    for (const type of ['rev_snat', 'rev_dnat', 'masquerade']) {
      const net = new Edge().rules({ in: [{ type }, { type: 'drop' }] });
      assert.equal(net.send(away(net), net.a).text, 'drop filtered', type);
    }
  });

  it('a filter on a copy of a flood translates that copy alone', () => {
    const net = new Edge();
    const filter = net.world.chain([{ type: 'snat', natTargets }]);
    net.world.patch('Port', net.b, { outboundFilterId: filter });
    const c = net.world.put('Port', {
      bridgeId: net.bridge,
      hostId: net.world.get('Port', net.a)!.hostId,
      interfaceName: 'c',
    });
    const unknown = udpFrame({ ...net.fromA, ethDst: '02:00:00:00:00:77', dst: X, srcPort: 1, dstPort: 2, payload });
    const { out } = net.send(unknown, net.a);
    const sources = new Map<string, number>();
    assert.equal(out.divergent, true);
    for (let i = 0; i < out.outputCount; i++)
      sources.set(net.bench.view.id(out.outputs[i]), out.outputKeys[i * KEY_SIZE + K_IP_SRC + 15]);
    assert.deepEqual([sources.get(net.b), sources.get(c)], [9, 10]);
  });
});

describe('when rules of translation change', () => {
  const away = (net: Edge, srcPort = 1000) => udpFrame({ ...net.fromA, dst: X, srcPort, dstPort: 53, payload });

  for (const onChange of ['finish', 'reevaluate']) {
    it(`${onChange}: ${onChange === 'finish' ? 'known connections keep theirs' : 'the rules of now count'}`, () => {
      const net = snat(new Edge(), [target('192.0.2.1', DYNAMIC)], { onChange });
      const first = net.send(away(net), net.a);
      assert.equal((net.bench.state.table.flags(first.records[0]) & FLAG_KEEP) !== 0, onChange === 'finish');
      const filter = net.world.get('Router', net.router)!.outboundFilterId as string;
      const kept = onChange === 'finish';
      for (const rules of [[], [{ type: 'drop' }], [{ type: 'reject' }], [{ type: 'continue' }]]) {
        const ruleIds = rules.map((rule) => net.world.put('Rule', { chainId: filter, outPorts: [net.exit], ...rule }));
        net.world.patch('Chain', filter, { ruleIds });
        net.bench.sync();
        const now = net.send(away(net), net.a);
        const stops = rules.some(({ type }) => type === 'drop' || type === 'reject');
        if (kept) assert.equal(now.text, first.text);
        else if (stops) assert.match(now.text, /^drop/);
        else assert.equal(now.text, `udp 10.0.1.10:1000 > ${X}:53`);
        const other = net.send(away(net, 1001), net.a).text;
        assert.ok(stops ? other.startsWith('drop') : other.startsWith('udp 10.0.1.10:1001'), other);
      }
      assert.equal(net.send(answerTo(first.frame), net.exit).text, `udp ${X}:53 > 10.0.1.10:1000`);
    });
  }

  it('a rule with other targets translates what begins; what is known keeps its translation', () => {
    const net = snat(new Edge(), [target('192.0.2.1', DYNAMIC)]);
    const first = net.send(away(net), net.a);
    const filter = net.world.get('Router', net.router)!.outboundFilterId as string;
    const [rule] = net.world.get('Chain', filter)!.ruleIds as string[];
    net.world.patch('Rule', rule, { natTargets: [target('192.0.2.2', DYNAMIC)] });
    net.bench.sync();
    assert.equal(net.send(away(net), net.a).text, first.text);
    assert.match(net.send(away(net, 1001), net.a).text, /^udp 192\.0\.2\.2:/);
  });

  it('a drop behind a translation that continues does not stop what is to finish', () => {
    const net = snat(new Edge(), [target('192.0.2.1', DYNAMIC)], { onChange: 'finish', flowAction: 'continue' });
    const first = net.send(away(net), net.a);
    const filter = net.world.get('Router', net.router)!.outboundFilterId as string;
    const [rule] = net.world.get('Chain', filter)!.ruleIds as string[];
    const stop = net.world.put('Rule', { chainId: filter, type: 'drop', nwProto: 17 });
    net.world.patch('Chain', filter, { ruleIds: [rule, stop] });
    net.bench.sync();
    assert.equal(net.send(away(net), net.a).text, first.text);
    assert.equal(net.send(away(net, 1001), net.a).text, 'drop filtered');
  });
});

describe('on other hosts', () => {
  it('a record that another host tells of translates there as here', () => {
    const [here, there] = [1, 2].map((host) => snat(new Edge(host), [target('192.0.2.1', DYNAMIC)]));
    const frame = udpFrame({ ...here.fromA, dst: X, srcPort: 1000, dstPort: 53, payload });
    const away = here.send(frame, here.a);
    const answer = answerTo(away.frame);
    assert.equal(there.send(answer, there.exit).text, 'drop local_delivered');
    here.bench.state.tell(away.records[0], there.bench.state);
    assert.equal(there.send(answer, there.exit).text, `udp ${X}:53 > 10.0.1.10:1000`);
    assert.equal(there.send(frame, there.a).text, away.text);
  });

  it('the tags of both tuples are left: whoever looked one up hears of the record', () => {
    const net = snat(new Edge(), [target('192.0.2.1', DYNAMIC)]);
    const frame = udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 53, payload });
    const { out, frame: left } = net.send(frame, net.a);
    const { words } = out.created[0];
    assert.ok(out.tags.slice(0, out.tagCount).includes(stateTag(words, 0)));
    const returned = Int32Array.from([words[0], ...words.slice(10)]);
    const back = net.send(answerTo(left), net.exit).out;
    assert.ok(back.tags.slice(0, back.tagCount).includes(stateTag(returned, 0)));
    assert.equal(back.verdict, VERDICT_FORWARD);
  });
});
