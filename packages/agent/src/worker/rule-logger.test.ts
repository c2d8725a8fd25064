/** The rule log: which decisions make a line, what stands in it, and how many lines a port can cause. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tcpFrame, udpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, type RoutedNetwork, routed, uuid } from '@weft/simulator/testing';
import type { RuleDecision } from '../rule-log.ts';
import { Harness, LOCAL_HOST } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';

const VM0 = 10;
const PORT_7 = { start: 7, end: 7 };
const TENANT = 'acme';

interface Bed {
  readonly net: RoutedNetwork;
  readonly chain: string;
  readonly logger: string;
  readonly resource: string;
  readonly host: Harness;
}

/** Datagrams to port 7 are dropped by rule 2, others accepted by rule 3; a logger of `event` looks on. */
function bed(event: string, limits: Record<string, number> = {}): Bed {
  const net = routed();
  const { world } = net;
  world.patch('Port', net.a, { hostId: LOCAL_HOST, interfaceName: 'vm0' });
  world.patch('Port', net.b, { hostId: LOCAL_HOST, interfaceName: 'vm1' });
  world.entry(`arp/${net.router}`, '10.0.1.10', MAC_A);
  const chain = world.chain([
    { type: 'continue' },
    { type: 'drop', nwProto: 17, tpDst: PORT_7, metadata: { ticket: '4711' } },
    { type: 'accept', nwProto: 17 },
    { type: 'reject', nwProto: 6 },
  ]);
  world.patch('Chain', chain, { name: 'web', tenantId: TENANT, metadata: { team: 'blue' } });
  world.patch('Router', net.router, { inboundFilterId: chain });
  const resource = world.put('LoggingResource', {});
  const logger = world.put('RuleLogger', { chainId: chain, event, loggingResourceId: resource });
  const host = new Harness(world, new MemoryState(4096), { limits });
  host.settle();
  send(host, frameTo(9));
  host.ruleLog.length = 0;
  return { net, chain, logger, resource, host };
}

function frameTo(dstPort: number, srcPort = 1000): Uint8Array {
  const ends = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10' };
  return udpFrame({ ...ends, srcPort, dstPort, payload: new Uint8Array(4) });
}

function send(host: Harness, ...frames: Uint8Array[]): void {
  for (const frame of frames) {
    host.datapath.inject(VM0, frame);
    host.turn();
  }
  host.settle();
}

const decisions = (host: Harness): RuleDecision[] =>
  host.ruleLog.splice(0).filter((line): line is RuleDecision => line.event === 'rule.decided');

test('one line at the first packet of a flow, with everything that tells whose it was', () => {
  const { host, chain, net } = bed('all');
  send(host, frameTo(7), frameTo(7), frameTo(7));
  const ruleId = (net.world.get('Chain', chain)!.ruleIds as string[])[1];
  assert.deepEqual(decisions(host), [
    {
      event: 'rule.decided',
      chain: { id: chain, name: 'web', metadata: { team: 'blue' } },
      rule: { id: ruleId, position: 2, metadata: { ticket: '4711' } },
      tenant: TENANT,
      verdict: 'drop',
      port: { id: net.a, interface: 'vm0' },
      flow: 'first',
      srcMac: MAC_A,
      dstMac: LEFT_MAC,
      ethertype: 0x0800,
      src: '10.0.1.10',
      dst: '10.0.2.10',
      protocol: 17,
      srcPort: 1000,
      dstPort: 7,
    },
  ]);
});

test('a logger hears of the event that it asked for only', () => {
  const verdicts = (event: string): string[] => {
    const { host } = bed(event);
    const ends = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10' };
    send(host, frameTo(7), frameTo(8), tcpFrame({ ...ends, srcPort: 1, dstPort: 2, flags: 2, seq: 1 }));
    return decisions(host).map(({ verdict }) => verdict);
  };
  assert.deepEqual(verdicts('drop'), ['drop', 'reject']);
  assert.deepEqual(verdicts('accept'), ['accept']);
  assert.deepEqual(verdicts('all'), ['drop', 'accept', 'reject']);
});

test('every connection has its line, also where one flow would do for all', () => {
  const { host, net, logger } = bed('drop');
  send(host, frameTo(7, 1), frameTo(7, 2), frameTo(7, 2), frameTo(7, 3));
  assert.deepEqual(
    decisions(host).map(({ srcPort }) => srcPort),
    [1, 2, 3],
  );
  net.world.remove('RuleLogger', logger);
  host.settle();
  send(host, frameTo(7, 4));
  const before = host.engine.status().upcalls;
  send(host, frameTo(7, 5), frameTo(7, 6));
  assert.equal(host.engine.status().upcalls, before);
  assert.deepEqual(decisions(host), []);
});

test('a resource that is switched off stops its loggers, and a logger that is gone is silent', () => {
  const { host, net, resource, logger } = bed('all');
  net.world.patch('LoggingResource', resource, { enabled: false });
  host.settle();
  send(host, frameTo(7, 1));
  assert.deepEqual(decisions(host), []);
  net.world.patch('LoggingResource', resource, { enabled: true });
  host.settle();
  // The flow stands and its rules are the same: nothing is decided anew.
  send(host, frameTo(7, 1));
  assert.deepEqual(decisions(host), []);
  host.now += 100_000;
  host.settle();
  host.now += 100_000;
  host.settle();
  send(host, frameTo(7, 1));
  assert.equal(decisions(host).length, 1);
  net.world.remove('RuleLogger', logger);
  host.settle();
  host.now += 100_000;
  host.settle();
  host.now += 100_000;
  host.settle();
  send(host, frameTo(7, 1));
  assert.deepEqual(decisions(host), []);
});

test('a change of rules that concerns a standing flow is told as such', () => {
  const { host, net, chain } = bed('drop');
  send(host, frameTo(8));
  assert.deepEqual(decisions(host), []);
  const rules = net.world.get('Chain', chain)!.ruleIds as string[];
  const block = net.world.put('Rule', { id: uuid(0x777), chainId: chain, type: 'drop', nwProto: 17 });
  net.world.patch('Chain', chain, { ruleIds: [block, ...rules] });
  host.settle();
  // The flow to port 9 stood as well.
  assert.deepEqual(
    decisions(host).map(({ rule, verdict, flow }) => [rule.id, verdict, flow]),
    [1, 2].map(() => [block, 'drop', 'changed']),
  );
});

test('a port causes so many lines a second and no more; how many were left out is said', () => {
  const { host } = bed('all', { ruleLogRatePerPort: 10, ruleLogRate: 1_000 });
  for (let i = 0; i < 60; i++) {
    host.datapath.inject(VM0, segment(i));
    host.turn();
  }
  const lines = decisions(host).length;
  assert.ok(lines >= 9 && lines <= 12, `${lines} lines`);
  host.now += 1_000;
  host.turn();
  assert.deepEqual(host.ruleLog.splice(0), [{ event: 'rule.suppressed', suppressed: 60 - lines }]);
  const status = host.engine.status();
  assert.equal(status.ruleLogSuppressed, 60 - lines);
  host.now += 2_000;
  host.turn();
  assert.deepEqual(host.ruleLog, []);
});

/** A segment that is rejected: each of them is decided anew. */
function segment(i: number): Uint8Array {
  const ends = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10' };
  return tcpFrame({ ...ends, srcPort: 1000 + i, dstPort: 2, flags: 2, seq: 1 });
}
