import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { icmpEcho, tcpFrame, udpFrame } from '@weft/packet';
import { conditionFields } from '@weft/topology';
import fc from 'fast-check';
import { VERDICT_DROP, VERDICT_FORWARD } from '../contract.ts';
import { newSimulation } from '../simulate/simulation.ts';
import { LEFT_MAC, MAC_A, MAC_B, type RoutedNetwork, routed } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { PARTS } from './conditions.ts';
import { Explainer } from './explainer.ts';
import type { Explanation } from './explanation.ts';

const HEAD = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10', srcPort: 1, dstPort: 80 };

function named(): RoutedNetwork {
  const net = routed({ router: { name: 'edge' } });
  net.world.patch('Bridge', net.leftBridge, { name: 'left' });
  net.world.patch('Bridge', net.rightBridge, { name: 'right' });
  return net;
}

function explain(net: RoutedNetwork, frame: Uint8Array, port = net.a): { told: Explanation; bench: Workbench } {
  const bench = new Workbench(net.world);
  const input = bench.input(frame, port);
  bench.run(input);
  const out = newSimulation();
  const told = new Explainer(bench.view, { host: () => '' }).explain(input, out);
  assert.equal(out.verdict, bench.out.verdict);
  assert.equal(out.fields, bench.out.fields, 'a recorder changes no mask');
  assert.deepEqual(out.tags.slice(0, out.tagCount), bench.out.tags.slice(0, bench.out.tagCount), 'nor tags');
  return { told, bench };
}

const lines = (told: Explanation) => told.steps.map(({ depth, text }) => `${'  '.repeat(depth)}${text}`);

describe('explainer', () => {
  it('tells the way of a packet, decision by decision, in names', () => {
    const net = named();
    const chain = net.world.chain([
      { type: 'drop', nwProto: 17 },
      { type: 'accept', nwProto: 6, tpDst: { start: 80, end: 443 } },
    ]);
    net.world.patch('Chain', chain, { name: 'web' });
    net.world.patch('Port', net.b, { outboundFilterId: chain });
    const a = net.world.get('Port', net.a)!.interfaceName;
    const b = net.world.get('Port', net.b)!.interfaceName;
    const { told } = explain(net, tcpFrame(HEAD));
    assert.deepEqual(lines(told), [
      `enters by port ${a} of bridge "left"`,
      '  bridge "left"',
      `  ${LEFT_MAC} is at port of bridge "left" to router "edge"`,
      'leaves by port of bridge "left" to router "edge"',
      'enters by port 10.0.1.1/24 of router "edge"',
      '  router "edge"',
      '  route to 10.0.2.0/24 by port 10.0.2.1/24 of router "edge" for 10.0.1.10 to 10.0.2.10',
      `  next hop 10.0.2.10 behind port 10.0.2.1/24 of router "edge" has MAC ${MAC_B}`,
      'leaves by port 10.0.2.1/24 of router "edge"',
      'enters by port of bridge "right" to router "edge"',
      '  bridge "right"',
      `  ${MAC_B} is at port ${b} of bridge "right"`,
      `leaves by port ${b} of bridge "right"`,
      '    filter: chain "web"',
      '      rule 1 (drop: protocol udp) does not match: protocol tcp',
      '      rule 2 (accept: protocol tcp, fragments: header, tpDst 80-443) matches',
      '    chain "web" says accept',
      `goes out at port ${b} of bridge "right"`,
    ]);
    assert.equal(told.verdict, 'forward');
    assert.deepEqual(told.nearest?.misses, [{ field: 'nwProto', wanted: 'protocol udp', seen: 'protocol tcp' }]);
    assert.equal(told.nearest?.number, 1);
  });

  it('names the rule that dropped, and the accepting one that missed by the least', () => {
    const net = named();
    const chain = net.world.chain([
      { type: 'accept', nwProto: 17, nwSrc: '10.9.0.0/16' },
      { type: 'accept', nwProto: 6, nwSrc: '10.9.0.0/16' },
      { type: 'accept', nwProto: 17, tpDst: { start: 53, end: 53 } },
      { type: 'drop' },
      { type: 'accept', nwSrc: '10.0.1.11/32' },
    ]);
    net.world.patch('Port', net.a, { inboundFilterId: chain });
    const { told } = explain(net, tcpFrame(HEAD));
    assert.equal(told.verdict, 'drop');
    assert.equal(told.reason, 'filtered');
    assert.equal(told.decidedBy?.number, 4);
    assert.equal(told.nearest?.number, 2, 'the first of those that miss by one part');
    assert.deepEqual(told.nearest?.misses, [
      { field: 'nwSrc', wanted: 'source 10.9.0.0/16', seen: 'source 10.0.1.10' },
    ]);
  });

  it('looks into chains that are jumped to, and takes a whole inversion as one part', () => {
    const net = named();
    const inner = net.world.chain([
      { type: 'return', nwProto: 17 },
      { type: 'accept', conjunctionInv: true, nwProto: 6, tpDst: { start: 80, end: 80 } },
      { type: 'reject' },
    ]);
    const outer = net.world.chain([{ type: 'jump', jumpChainId: inner }, { type: 'accept' }]);
    net.world.patch('Router', net.router, { inboundFilterId: outer });
    const { told } = explain(net, tcpFrame(HEAD));
    assert.equal(told.reason, 'rejected');
    assert.equal(told.decidedBy?.action, 'reject');
    assert.equal(told.nearest?.number, 2);
    assert.equal(told.nearest?.misses[0].field, 'conjunctionInv');
    assert.match(told.summary[1], /all of that holds/);
  });

  it('says that no rule decided when none did', () => {
    const net = named();
    const { told } = explain(net, udpFrame({ ...HEAD, dst: '198.51.100.1' }));
    assert.equal(told.reason, 'no_route');
    assert.equal(told.decidedBy, null);
    assert.match(told.summary[0], /no_route, the router has no route/);
    assert.match(told.summary[1], /no rule would have changed it/);
  });

  it('says what a packet waits for', () => {
    const net = named();
    const { told } = explain(net, icmpEcho({ ...HEAD, dst: '10.0.2.77' }));
    assert.equal(told.verdict, 'postpone');
    assert.match(told.summary[0], /waits for the MAC of 10\.0\.2\.77 behind port 10\.0\.2\.1\/24 of router "edge"/);
  });

  it('has words for every field of a condition', () => {
    const known = new Set(PARTS.flatMap((one) => [one.field, one.inversion, ...one.with]));
    for (const field of Object.keys(conditionFields)) {
      if (field !== 'conjunctionInv') assert.ok(known.has(field), `${field} has no words`);
    }
  });

  it('the nearest rule, without what it misses by, changes the verdict of the filter', () => {
    const condition = fc.record(
      {
        nwProto: fc.constantFrom(6, 17),
        invNwProto: fc.boolean(),
        nwSrc: fc.constantFrom('10.0.1.0/24', '10.9.0.0/16', '10.0.1.11/32'),
        nwDst: fc.constantFrom('10.0.2.10/32', '10.0.2.11/32'),
        invNwDst: fc.boolean(),
        dlSrc: fc.constantFrom(MAC_A, MAC_B),
        dlType: fc.constantFrom(0x0800, 0x86dd),
        nwTos: fc.constantFrom(0, 8),
        noVlan: fc.constant(true),
        vlan: fc.constant(7),
        type: fc.constantFrom('accept', 'drop', 'reject', 'return', 'continue'),
      },
      { requiredKeys: ['type'] },
    );
    let changed = 0;
    fc.assert(
      fc.property(fc.array(condition, { minLength: 1, maxLength: 8 }), fc.boolean(), (rules, udp) => {
        const net = routed();
        const valid = rules.map((rule) => (rule.noVlan ? { ...rule, vlan: undefined } : rule));
        net.world.patch('Port', net.a, { inboundFilterId: net.world.chain(valid as Record<string, unknown>[]) });
        const frame = udp ? udpFrame(HEAD) : tcpFrame(HEAD);
        const { told } = explain(net, frame);
        if (told.nearest === null) return;
        const { rule, misses } = told.nearest;
        const without = Object.fromEntries(misses.map(({ field }) => [field, undefined]));
        net.world.patch('Rule', rule.id, without);
        const { told: after, bench } = explain(net, frame);
        if (told.verdict === 'drop') {
          assert.equal(bench.out.verdict, VERDICT_FORWARD, JSON.stringify([told.summary, after.summary]));
        } else {
          assert.equal(bench.out.verdict, VERDICT_DROP, JSON.stringify([told.summary, after.summary]));
          assert.equal(after.decidedBy?.rule.id, rule.id);
        }
        changed++;
      }),
      { numRuns: 150 },
    );
    assert.ok(changed > 30, `only ${changed} verdicts changed`);
  });
});
