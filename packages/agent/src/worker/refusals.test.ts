/** Tables of the datapath that are full cost what does not fit, and nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { udpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, routed, uuid, type World } from '@weft/simulator/testing';
import { Harness, LOCAL_HOST } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';
import { Refusals } from './refusals.ts';

const VM0 = 10;
const ZONE = uuid(0x700);
const peer = (i: number): string => uuid(0x10000 + i);

function member(world: World, hostId: string, ipAddress: string): void {
  world.put('TunnelZoneHost', { tunnelZoneId: ZONE, hostId, ipAddress });
}

/** A and B on this host, and `peers` other hosts in its zone. */
function network(peers: number) {
  const net = routed();
  const { world } = net;
  world.patch('Port', net.a, { hostId: LOCAL_HOST, interfaceName: 'vm0' });
  world.patch('Port', net.b, { hostId: LOCAL_HOST, interfaceName: 'vm1' });
  world.put('TunnelZone', { id: ZONE, name: 'tz', type: 'vxlan' });
  member(world, LOCAL_HOST, '192.0.2.1');
  for (let i = 1; i <= peers; i++) member(world, peer(i), `198.51.100.${i}`);
  return net;
}

const frame = (): Uint8Array =>
  udpFrame({ ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10', srcPort: 1, dstPort: 2 });

test('more peers than the datapath holds: the others have tunnels, packets go on, the log is told once', () => {
  const { world } = network(40);
  const host = new Harness(world, new MemoryState(4096));
  host.datapath.maxTunnels = 10;
  host.settle();
  assert.deepEqual(host.engine.status().tunnelCounts, { up: 10, down: 0, refused: 30 });
  host.datapath.inject(VM0, frame());
  host.settle();
  assert.equal(host.datapath.executed.length, 1);
  assert.ok(host.applied > 0, 'the revision is reached none the less');
  assert.equal(host.complaints.length, 1);
  assert.match(host.complaints[0]!, /^tunnel\.refused .*"refused":30.*E2BIG/);
  // Room that others give up is taken, without a change that concerns the refused.
  for (const host_ of [...host.datapath.state.tunnels.values()].slice(0, 4)) {
    world.remove('TunnelZoneHost', `${ZONE}:${host_.hostId}`);
  }
  for (let i = 0; i < 5; i++) {
    host.now += 1_000;
    host.settle();
  }
  assert.deepEqual(host.engine.status().tunnelCounts, { up: 10, down: 0, refused: 26 });
  host.datapath.maxTunnels = 100;
  host.now += 1_000;
  host.settle();
  assert.deepEqual(host.engine.status().tunnelCounts, { up: 36, down: 0, refused: 0 });
  assert.equal(host.complaints.length, 1);
});

test('more tunnel keys than the datapath holds: their ports miss what comes by tunnels, all else goes on', () => {
  const { world } = network(1);
  const host = new Harness(world, new MemoryState(4096));
  host.datapath.maxEgress = 1;
  host.settle();
  const { installed, refused } = host.engine.status().tunnelKeys as { installed: number; refused: number };
  assert.equal(installed, 1);
  assert.ok(refused >= 1);
  host.datapath.inject(VM0, frame());
  host.settle();
  assert.equal(host.datapath.executed.length, 1);
  assert.match(host.complaints[0]!, /^tunnel_key\.refused /);
  host.datapath.maxEgress = 100;
  host.now += 1_000;
  host.settle();
  assert.deepEqual(host.engine.status().tunnelKeys, { installed: installed + refused, refused: 0, forwarded: 0 });
});

test('a pass gives up after some failures, the log hears of more at most once a minute', () => {
  const told: unknown[] = [];
  const effects = { log: (_event: string, fields: unknown) => told.push(fields) };
  const refusals = new Refusals(effects as never, 'tunnel.refused');
  let tried = 0;
  const fail = (): void => {
    tried++;
    throw new Error('full');
  };
  const pass = (names: number, now: number): void => {
    refusals.begin();
    for (let i = 0; i < names; i++) refusals.attempt(`${i}`, fail);
    refusals.retain((name) => Number(name) < names);
    refusals.end(now);
  };
  pass(1000, 0);
  assert.equal(tried, 16);
  assert.equal(refusals.size, 1000);
  pass(1001, 1_000);
  assert.equal(told.length, 1);
  pass(1002, 61_000);
  assert.deepEqual(told[1], { refused: 1002, example: '15', error: 'full' });
  pass(0, 62_000);
  assert.equal(refusals.size, 0);
});
