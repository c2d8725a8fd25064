/** Explanations of rules with state: steps in words, connections as data, tags by name, the nearest rule. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { tcpFrame, udpFrame } from '@weft/packet';
import { NAT_TYPES } from '@weft/topology';
import type { Simulation } from '../contract.ts';
import { newSimulation } from '../simulate/simulation.ts';
import { Edge } from '../testing/edge.ts';
import { answerTo, errorAbout } from '../testing/leaving.ts';
import { actionWords } from './action-words.ts';
import { Explainer } from './explainer.ts';
import type { Explanation } from './explanation.ts';

const X = '198.51.100.7';
const payload = new Uint8Array(16);
const natTargets = [{ addressFrom: '192.0.2.1', portFrom: 1024, portTo: 65_535 }];

function named(): Edge {
  const net = new Edge();
  net.world.patch('Router', net.router, { name: 'edge' });
  net.rules({
    in: [
      { type: 'rev_snat', inPorts: [net.exit], flowAction: 'continue' },
      { type: 'accept', matchReturnFlow: true },
      { type: 'accept', inPorts: [net.inside] },
      { type: 'drop' },
    ],
    out: [{ type: 'snat', outPorts: [net.exit], natTargets, flowAction: 'return' }],
  });
  return net;
}

const frameOf = (net: Edge, more = {}) =>
  udpFrame({ ...net.fromA, dst: X, srcPort: 1000, dstPort: 53, payload, ...more });

/** Lets the view learn what the packet needs, then explains it. */
function explain(net: Edge, frame: Uint8Array, port: string) {
  const { bench } = net;
  const input = bench.input(frame, port);
  bench.run(input);
  const out = newSimulation();
  const explainer = new Explainer(bench.view, { host: () => '', state: bench.state });
  const told = explainer.explain(input, out);
  const tags = explainer.tags();
  return { told, out, tags: [...out.tags.slice(0, out.tagCount)].map((tag) => tags.get(tag)) };
}

const STATEFUL: ReadonlySet<string> = new Set(['state', 'begins', 'translates', 'kept', 'direction']);
const stateful = (told: Explanation) => told.steps.filter(({ step }) => STATEFUL.has(step)).map(({ text }) => text);

/** The port that was chosen, to compare the rest. */
const portOf = ({ created, createdCount }: Simulation) => created[createdCount - 1].words[10] & 0xffff;

describe('explanations of connections', () => {
  it('tell what is looked up, what begins, and what becomes of the packet', () => {
    const net = named();
    const { told, out } = explain(net, frameOf(net), net.a);
    const port = portOf(out);
    const tuple = `udp 10.0.1.10:1000 > ${X}:53`;
    assert.deepEqual(stateful(told), [
      `looks for the connection ${tuple}: not known`,
      'counts as no answer',
      `looks for the source translation of ${tuple}: not known`,
      `a source translation of ${tuple} begins: leaves as udp 192.0.2.1:${port} > ${X}:53`,
      `source 10.0.1.10:1000 becomes 192.0.2.1:${port}`,
      `a connection ${tuple} begins: leaves as udp 192.0.2.1:${port} > ${X}:53`,
    ]);
    const device = { kind: 'router' as const, id: net.router, name: 'router "edge"' };
    const ends = {
      device,
      state: 'created' as const,
      direction: 'forward' as const,
      forward: { protocol: 'udp', src: '10.0.1.10', dst: X, srcPort: 1000, dstPort: 53 },
      return: { protocol: 'udp', src: X, dst: '192.0.2.1', srcPort: 53, dstPort: port },
    };
    assert.deepEqual(told.connections, [
      { ...ends, kind: 'snat' },
      { ...ends, kind: 'tracking' },
    ]);
    const rules = told.steps.filter(({ step, matched }) => step === 'rule' && matched).map(({ text }) => text);
    assert.match(rules[1], /^rule 1 \(snat to 192\.0\.2\.1:1024-65535, then return: out by .*\) matches$/);
  });

  it('of an answer: what is known, and in which direction', () => {
    const net = named();
    const away = net.send(frameOf(net), net.a);
    const { told, tags } = explain(net, answerTo(away.frame), net.exit);
    const tuple = away.text.replace(/^udp (\S+) > (\S+)$/, 'udp $2 > $1');
    const own = /192\.0\.2\.1:\d+/.exec(tuple)![0];
    assert.deepEqual(stateful(told), [
      `looks for the source translation of ${tuple}: known, and it is an answer`,
      `destination ${own} becomes 10.0.1.10:1000`,
      `looks for the connection ${tuple}: known, and it is an answer`,
      'counts as an answer',
    ]);
    assert.deepEqual(
      told.connections.map(({ kind, state, direction }) => `${kind} ${state} ${direction}`),
      ['snat known return', 'tracking known return'],
    );
    assert.ok(tags.includes(`whether router "edge" knows the source translation of ${tuple}`));
    assert.ok(tags.includes(`whether router "edge" knows the connection ${tuple}`));
  });

  it('of an ICMP error: the connection of what it quotes', () => {
    const net = named();
    const away = net.send(frameOf(net), net.a);
    const { told, tags } = explain(net, errorAbout(away.frame, '203.0.113.9'), net.exit);
    const tuple = away.text.replace(/^udp (\S+) > (\S+)$/, 'udp $2 > $1');
    assert.deepEqual(stateful(told).slice(0, 2), [
      `looks for the source translation of ${tuple}: known, and it is an answer`,
      'destination 192.0.2.1 becomes 10.0.1.10, as in the packet that it quotes',
    ]);
    assert.ok(tags.includes(`whether router "edge" knows the connection ${tuple}`));
  });

  it('of what devices send themselves', () => {
    const net = named();
    net.world.patch('Port', net.a, { outboundFilterId: net.world.chain([{ type: 'accept', matchReturnFlow: true }]) });
    net.bench.sync();
    const { out } = net.send(frameOf(net, { ttl: 1 }), net.a);
    const [{ frame, port }] = out.generated;
    const explainer = new Explainer(net.bench.view, { host: () => '', state: net.bench.state });
    const told = explainer.explainGenerated(frame, port, net.bench.now, newSimulation());
    assert.deepEqual(stateful(told), ['counts as an answer: a device sends it itself']);
  });

  it('of what is let finish, and of what was translated by a rule that has gone', () => {
    const net = named();
    const chain = net.world.get('Router', net.router)!.outboundFilterId as string;
    const [rule] = net.world.get('Chain', chain)!.ruleIds as string[];
    net.world.patch('Rule', rule, { onChange: 'finish' });
    net.bench.sync();
    const away = net.send(frameOf(net), net.a);
    const own = away.text.replace(/^udp (\S+) .*/, '$1');
    const stop = net.world.put('Rule', { chainId: chain, type: 'drop' });
    net.world.patch('Chain', chain, { ruleIds: [stop] });
    net.bench.sync();
    const { told } = explain(net, frameOf(net), net.a);
    assert.equal(told.verdict, 'forward');
    const lines = stateful(told);
    assert.ok(lines.includes(`source 10.0.1.10:1000 becomes ${own}`));
    assert.ok(lines.some((line) => /^chain \S+ once let its connection begin, and lets it finish$/.test(line)));
  });

  it('name the rule that could not translate, and the one before it that would have let the packet through', () => {
    const net = new Edge();
    const exhausted = [{ addressFrom: '192.0.2.1', portFrom: 5000, portTo: 5000 }];
    net.rules({
      out: [
        { type: 'snat', nwSrc: '10.0.1.99/32', natTargets },
        { type: 'rev_dnat', nwProto: 99 },
        { type: 'snat', natTargets: exhausted },
      ],
    });
    net.send(frameOf(net), net.a);
    const { told } = explain(net, frameOf(net, { srcPort: 1001 }), net.a);
    assert.equal(told.reason, 'nat_exhausted');
    assert.equal(told.decidedBy?.number, 3);
    assert.equal(told.nearest?.number, 1);
    assert.match(told.summary[0], /nat_exhausted, a rule is to translate it/);
    assert.ok(told.steps.some(({ text }) => text.endsWith('says it cannot be translated')));
    assert.deepEqual(told.connections, []);
  });

  it('the nearest rule may be one that translates, if it could and then lets through', () => {
    const wrong = { nwSrc: '10.0.1.99/32' };
    const v6 = [{ addressFrom: '2001:db8::1', portFrom: 1, portTo: 9 }];
    const nearest = (rule: Record<string, unknown>) => {
      const net = new Edge().rules({ out: [{ ...wrong, ...rule }, { type: 'drop' }] });
      return explain(net, tcpFrame({ ...net.fromA, dst: X, srcPort: 1, dstPort: 2 }), net.a).told.nearest?.number;
    };
    assert.equal(nearest({ type: 'snat', natTargets }), 1);
    assert.equal(nearest({ type: 'dnat', natTargets, flowAction: 'return' }), 1);
    assert.equal(nearest({ type: 'masquerade' }), 1);
    assert.equal(nearest({ type: 'snat', natTargets, flowAction: 'continue' }), undefined);
    assert.equal(nearest({ type: 'rev_snat' }), undefined);
    assert.equal(nearest({ type: 'snat', natTargets: v6, nwSrc: undefined, nwProto: 99 }), undefined);
  });

  it('say that a packet waits for ports', () => {
    const net = named();
    const input = net.bench.input(frameOf(net), net.a);
    net.bench.run(input);
    const state = Object.create(net.bench.state, { chooseSource: { value: () => 1 } });
    const told = new Explainer(net.bench.view, { host: () => '', state }).explain(input, newSimulation());
    assert.equal(told.verdict, 'postpone');
    assert.match(told.summary[0], /waits for ports for a translation on router "edge"\.$/);
    assert.deepEqual(told.connections, []);
  });

  it('rules in words say what they translate to', () => {
    const table: [Record<string, unknown>, string][] = [
      [{ type: 'accept' }, 'accept'],
      [{ type: 'rev_dnat', flowAction: 'accept' }, 'rev_dnat'],
      [{ type: 'masquerade', flowAction: 'continue' }, 'masquerade, then continue'],
      [
        {
          type: 'dnat',
          flowAction: 'accept',
          natTargets: [
            { addressFrom: '10.0.0.1', addressTo: '10.0.0.9', portFrom: 80, portTo: 80 },
            { addressFrom: 'fd00::1', addressTo: 'fd00::1', portFrom: 1, portTo: 2 },
            { addressFrom: 'fd00::2', addressTo: 'fd00::2', portFrom: 0, portTo: 0 },
          ],
        },
        'dnat to 10.0.0.1-10.0.0.9:80 or [fd00::1]:1-2 or fd00::2',
      ],
    ];
    for (const [rule, words] of table) assert.equal(actionWords(rule), words);
    for (const type of NAT_TYPES) assert.ok(actionWords({ type }).startsWith(type));
  });
});
