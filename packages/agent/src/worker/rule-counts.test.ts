/** Rules count exactly the packets that they matched: of flows, of packets that the agent carries, after changes and restarts. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { udpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, type RoutedNetwork, routed } from '@weft/simulator/testing';
import { portSecurityChains } from '@weft/topology';
import fc from 'fast-check';
import type { RuleReport } from '../explain/rule-report.ts';
import { Harness, LOCAL_HOST } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';
import { fileRuleStore } from './rule-state.ts';

const VM0 = 10;
const UDP = 17;
const port = (n: number) => ({ start: n, end: n });

function frameTo(dstPort: number, srcPort = 1000, size = 4): Uint8Array {
  return udpFrame({
    ethSrc: MAC_A,
    ethDst: LEFT_MAC,
    src: '10.0.1.10',
    dst: '10.0.2.10',
    srcPort,
    dstPort,
    payload: new Uint8Array(size),
  });
}

interface Bed {
  readonly net: RoutedNetwork;
  readonly chain: string;
  readonly state: MemoryState;
  readonly host: Harness;
}

/** A and B on this host; the router's inbound filter has these rules. */
function bed(rules: (net: RoutedNetwork) => Record<string, unknown>[], limits: Record<string, number> = {}): Bed {
  const net = routed();
  net.world.patch('Port', net.a, { hostId: LOCAL_HOST, interfaceName: 'vm0' });
  net.world.patch('Port', net.b, { hostId: LOCAL_HOST, interfaceName: 'vm1' });
  net.world.entry(`arp/${net.router}`, '10.0.1.10', MAC_A);
  const chain = net.world.chain(rules(net));
  net.world.patch('Router', net.router, { inboundFilterId: chain });
  const state = new MemoryState(64);
  const host = new Harness(net.world, state, { limits });
  host.settle();
  return { net, chain, state, host };
}

/** Sends frames one by one; each is seen through before the next unless `burst`. */
function send(host: Harness, frames: readonly Uint8Array[], burst = false): void {
  for (const frame of frames) {
    host.datapath.inject(VM0, frame);
    if (!burst) host.turn();
  }
  host.settle();
}

function rulesOf(host: Harness, chain: string): readonly RuleReport[] {
  return host.engine.rules(chain).chains.find(({ id }) => id === chain)?.rules ?? [];
}

const packets = (host: Harness, chain: string): number[] => rulesOf(host, chain).map((rule) => rule.packets);

test('accept, drop, continue, jump and return count what they matched, by flows and by first packets', () => {
  let inner = '';
  const { host, chain } = bed((net) => {
    inner = net.world.chain([
      { type: 'return', nwProto: UDP, tpDst: port(1) },
      { type: 'drop', nwProto: UDP, tpDst: port(2) },
    ]);
    return [
      { type: 'continue', nwProto: UDP },
      { type: 'jump', jumpChainId: inner, nwProto: UDP },
      { type: 'accept', nwProto: UDP, tpDst: port(1) },
      { type: 'drop', nwProto: UDP, tpDst: port(3) },
      { type: 'drop', dlType: 0x88b5 },
    ];
  });
  send(host, Array(7).fill(frameTo(1)));
  send(host, Array(5).fill(frameTo(2)));
  send(host, Array(3).fill(frameTo(3)));
  send(host, [frameTo(4)]);
  assert.deepEqual(packets(host, inner), [7, 5]);
  assert.deepEqual(packets(host, chain), [16, 16, 7, 3, 0]);
  const bytes = frameTo(1).length;
  assert.deepEqual(
    rulesOf(host, chain).map((rule) => rule.bytes),
    [16, 16, 7, 3, 0].map((n) => n * bytes),
  );
  assert.deepEqual(
    rulesOf(host, chain).map((rule) => rule.lastHit !== null),
    [true, true, true, true, false],
  );
});

test('a burst that comes up before its flow stands is counted once each', () => {
  const { host, chain } = bed(() => [{ type: 'accept', nwProto: UDP }]);
  send(host, Array(20).fill(frameTo(1)), true);
  send(host, Array(5).fill(frameTo(1)));
  assert.deepEqual(packets(host, chain), [25]);
});

test('rejected packets, of which each comes up, are counted each; so is the answer where it passes a filter', () => {
  const { host, chain, net } = bed(() => [{ type: 'reject', nwProto: UDP }]);
  const out = net.world.chain([{ type: 'accept', nwProto: 1 }]);
  net.world.patch('Port', net.a, { outboundFilterId: out });
  host.settle();
  send(host, Array(9).fill(frameTo(1)));
  assert.deepEqual(packets(host, chain), [9]);
  assert.deepEqual(packets(host, out), [9]);
});

test('after a change of rules each rule keeps what it matched, and the new one starts at 0', () => {
  const { host, chain, net } = bed(() => [{ type: 'accept', nwProto: UDP }]);
  send(host, Array(10).fill(frameTo(1)));
  const first = rulesOf(host, chain)[0]!.id;
  const drop = net.world.put('Rule', { chainId: chain, type: 'drop', nwProto: UDP, tpDst: port(1) });
  net.world.patch('Chain', chain, { ruleIds: [drop, first] });
  // The kernel has counted what nobody has read yet when the flow changes: it is the old rule's.
  host.datapath.inject(VM0, frameTo(1));
  host.settle();
  send(host, Array(4).fill(frameTo(1)));
  assert.deepEqual(packets(host, chain), [4, 11]);
  // A rule that changes no action but comes before: the same flow, other rules.
  const before = net.world.put('Rule', { chainId: chain, type: 'continue' });
  net.world.patch('Chain', chain, { ruleIds: [before, drop, first] });
  host.settle();
  send(host, Array(2).fill(frameTo(1)));
  assert.deepEqual(packets(host, chain), [2, 6, 11]);
});

test('rules of port security, which no store has, are counted and found by name; what follows from the port anew counts on', () => {
  const { host, net } = bed(() => []);
  const { world } = net;
  const group = world.put('SecurityGroup', { name: 'web' });
  const secured = { portSecurityEnabled: true, macAddress: MAC_A, securityGroupIds: [group] };
  world.patch('Port', net.a, { ...secured, fixedIps: ['10.0.1.10'] });
  host.settle();
  const counted = () =>
    ['in', 'addresses'].map((what) => {
      const { chains } = host.engine.rules(`port security of ${net.a}: ${what}`);
      assert.equal(chains.length, 1);
      return chains[0].rules.filter((rule) => rule.packets > 0).map(({ type, packets }) => [type, packets]);
    });
  send(host, Array(6).fill(frameTo(1)));
  assert.deepEqual(counted(), [
    [
      ['jump', 6],
      ['jump', 6],
    ],
    [['return', 6]],
  ]);
  world.patch('Port', net.a, { fixedIps: ['10.0.1.10', 'fd00:1::10'] });
  host.settle();
  send(host, Array(3).fill(frameTo(1)));
  assert.deepEqual(counted()[1], [['return', 9]]);
  world.patch('Port', net.a, { fixedIps: ['10.0.1.11'] });
  host.settle();
  send(host, Array(2).fill(frameTo(1)));
  assert.deepEqual(counted()[1], [['drop', 2]]);
  const derived = new Set(portSecurityChains(world.get('Port', net.a)!).map(({ chain }) => `o/Chain/${chain.id}`));
  for (const interest of host.interests()) assert.ok(!derived.has(interest), interest);
});

test('flows that expire, are evicted or lose their port leave their counts', () => {
  const { host, chain, net } = bed(() => [{ type: 'accept', nwProto: UDP, tpSrc: { start: 1, end: 60_000 } }]);
  send(host, [frameTo(1)]);
  // More flows than the table holds: some are evicted with packets that no sweep has seen.
  for (let i = 0; i < 200; i++) {
    host.datapath.inject(VM0, frameTo(1, 2000 + i));
    host.turn();
    host.datapath.inject(VM0, frameTo(1, 2000 + i));
    host.turn();
    if (i % 10 === 9) {
      host.now += 1_000;
      host.turn();
    }
  }
  host.settle();
  assert.ok((host.engine.status().evicted as number) > 0);
  assert.deepEqual(packets(host, chain), [401]);
  send(host, Array(3).fill(frameTo(1, 9)));
  for (const ms of [1_000, 61_000]) {
    host.now += ms;
    host.settle();
  }
  assert.equal(host.engine.status().flows, 0);
  assert.deepEqual(packets(host, chain), [404]);
  send(host, Array(6).fill(frameTo(1, 10)));
  net.world.patch('Port', net.a, { hostId: undefined, interfaceName: undefined });
  host.settle();
  assert.deepEqual(packets(host, chain), [410]);
});

test('cleared rules start at 0, others keep their counts', () => {
  const { host, chain, net } = bed(() => [{ type: 'accept', nwProto: UDP }]);
  const other = net.world.chain([{ type: 'continue' }]);
  net.world.patch('Port', net.a, { inboundFilterId: other });
  host.settle();
  send(host, Array(5).fill(frameTo(1)));
  assert.deepEqual([packets(host, chain), packets(host, other)], [[5], [5]]);
  // Between two sweeps: what the kernel has counted meanwhile is of before, too.
  host.datapath.inject(VM0, frameTo(1));
  host.engine.clearRules(chain);
  assert.deepEqual([packets(host, chain), packets(host, other)], [[0], [6]]);
  send(host, [frameTo(1)]);
  assert.deepEqual([packets(host, chain), packets(host, other)], [[1], [7]]);
  assert.throws(() => host.engine.clearRules('nobody'), /WEFT_AGENT_CONTROL|no chain/);
});

test('a restarted agent goes on counting, also what flows carried while it was dead', () => {
  const { host, chain, net, state } = bed(() => [{ type: 'accept', nwProto: UDP }, { type: 'drop' }]);
  send(host, Array(10).fill(frameTo(1)));
  host.engine.close();
  // The kernel goes on by itself.
  for (let i = 0; i < 4; i++) assert.notEqual(host.datapath.inject(VM0, frameTo(1)), null);
  const second = new Harness(net.world, state, { now: 5 });
  second.settle();
  assert.deepEqual(packets(second, chain), [14, 0]);
  send(second, Array(2).fill(frameTo(1)));
  assert.deepEqual(packets(second, chain), [16, 0]);
  assert.equal(rulesOf(second, chain)[0]!.bytes, 16 * frameTo(1).length);
});

test('killed, it loses what it counted itself since the last second, not what flows carried', () => {
  const { host, chain, net, state } = bed(() => [{ type: 'accept', nwProto: UDP, tpDst: port(1) }, { type: 'drop' }]);
  send(host, Array(10).fill(frameTo(1)));
  host.now += 1_000;
  host.turn();
  for (let i = 0; i < 3; i++) host.datapath.inject(VM0, frameTo(1));
  // This flow is younger than the last second: nobody knows later how much of its slot's counter is its own.
  host.datapath.inject(VM0, frameTo(2));
  host.turn();
  host.datapath.inject(VM0, frameTo(2));
  const second = new Harness(net.world, state, { now: host.now });
  second.settle();
  assert.deepEqual(packets(second, chain), [13, 0]);
  second.datapath.inject(VM0, frameTo(2));
  assert.deepEqual(packets(second, chain), [13, 1]);
});

test('counts are read from their file, wherever in a buffer that many share its bytes come to stand', () => {
  const { host, chain, net, state } = bed(() => [{ type: 'accept', nwProto: UDP }]);
  send(host, Array(10).fill(frameTo(1)));
  host.engine.close();
  const dir = mkdtempSync(join(tmpdir(), 'weft-rule-counts-'));
  const file = fileRuleStore(join(dir, 'counts'));
  assert.equal(file.load(), null);
  file.save(state.ruleState!);
  // Whoever reads a small file is given a piece of a buffer that is shared: not its first.
  for (let before = 8; before <= 24; before += 8) {
    Buffer.allocUnsafe(before);
    state.ruleState = file.load();
    const next = new Harness(net.world, state);
    next.settle();
    assert.deepEqual([next.complaints, packets(next, chain)], [[], [10]]);
    next.engine.close();
  }
  rmSync(dir, { recursive: true });
});

test('a file of counts that is none is reported and left', () => {
  const { net, chain } = bed(() => [{ type: 'accept' }]);
  for (const bytes of [[], [1, 2, 3], new Array(40).fill(0xff)]) {
    const state = new MemoryState(64);
    state.ruleState = Uint8Array.from(bytes);
    const host = new Harness(net.world, state);
    host.settle();
    assert.match(host.complaints.shift() ?? '', /^rules\.forgotten/);
    send(host, [frameTo(1)]);
    assert.deepEqual(packets(host, chain), [1]);
  }
});

test('under any sequence of packets, changes, expiry and restarts no packet is lost to the counts, and none counts twice', () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant('send' as const), port: fc.nat(5), source: fc.nat(80) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('rule' as const), port: fc.nat(5), type: fc.nat(2) }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('turn' as const), ms: fc.constantFrom(0, 60, 1_000, 70_000) }),
    },
    { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const {
        host: first,
        chain,
        net,
        state,
      } = bed(() => [
        { type: 'continue', nwProto: UDP },
        { type: 'drop', nwProto: UDP, tpSrc: { start: 50_000, end: 50_001 } },
      ]);
      let host = first;
      send(host, [frameTo(1)]);
      let sent = 1;
      for (const one of steps) {
        if (one.do === 'send') {
          host.datapath.inject(VM0, frameTo(one.port, 1000 + one.source));
          sent++;
        } else if (one.do === 'rule') {
          const type = ['accept', 'drop', 'continue'][one.type];
          const rule = net.world.put('Rule', { chainId: chain, type, nwProto: UDP, tpDst: port(one.port) });
          const [head, ...rest] = net.world.get('Chain', chain)!.ruleIds as string[];
          net.world.patch('Chain', chain, { ruleIds: [head, rule, ...rest] });
          host.deliver();
        } else if (one.do === 'turn') {
          host.now += one.ms;
          host.turn();
        } else {
          host.settle();
          host.engine.close();
          host = new Harness(net.world, state, { now: host.now });
          // What comes while the topology is on its way waits for it.
          host.settle();
        }
      }
      host.settle();
      assert.deepEqual(host.complaints, []);
      assert.equal(packets(host, chain)[0], sent);
      assert.equal(rulesOf(host, chain)[0]!.bytes, sent * frameTo(1).length);
    }),
    { numRuns: Number(process.env.WEFT_PROPERTY_RUNS ?? 60) },
  );
});
