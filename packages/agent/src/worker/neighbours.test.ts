import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipParse } from '@weft/packet';
import type { VirtualTopologyView } from '@weft/simulator';
import { Neighbours } from './neighbours.ts';

/** A view with one router, on which nothing fails but what it is told. */
const VIEW = {
  id: () => 'router',
  port: () => ({ device: 1 }),
  markNeighbourFailed: () => [],
  clearNeighbourFailed: () => [],
} as unknown as VirtualTopologyView;

function make() {
  const asked: number[] = [];
  const neighbours = new Neighbours(
    VIEW,
    { request: (port) => asked.push(port), invalidate() {}, hasFlows: () => false, remove() {} },
    { maxNeighboursPerPort: 2, neighbourStaleMs: 1000, neighbourExpireMs: 2000 },
  );
  return { neighbours, asked };
}

const address = (i: number) => ipParse(`10.0.${i >> 8}.${i & 255}`);

test('a port that scans a subnet leaves room for the resolutions of others', () => {
  const { neighbours } = make();
  let started = 0;
  for (let i = 0; i < 10_000; i++) if (neighbours.resolve(1, address(i), 7, 0)) started++;
  assert.ok(started < 1000, `one port has started ${started}`);
  assert.equal(neighbours.pendingCount, started);
  assert.ok(neighbours.resolve(1, address(20_000), 8, 0), 'another port is refused');
  // Asking for what is under way is no new resolution, whoever asks.
  assert.ok(neighbours.resolve(1, address(0), 7, 0));
  assert.equal(neighbours.pendingCount, started + 1);
});

test('what is resolved or given up makes room again', () => {
  const { neighbours } = make();
  let n = 0;
  while (neighbours.resolve(1, address(n), 7, 0)) n++;
  neighbours.noteEntry('t/arp/router', '10.0.0.0');
  assert.ok(neighbours.resolve(1, address(n), 7, 0));
  assert.ok(!neighbours.resolve(1, address(n + 1), 7, 0));
  // Three tries a second apart, then five seconds of refusal.
  for (let now = 0; now <= 9000; now += 500) neighbours.tick(now);
  assert.equal(neighbours.pendingCount, 0);
  let again = 0;
  while (neighbours.resolve(1, address(again), 7, 10_000)) again++;
  assert.equal(again, n);
});

test('a resolution is asked for three times, then no more', () => {
  const { neighbours, asked } = make();
  neighbours.resolve(5, address(1), 7, 0);
  for (let now = 0; now <= 6000; now += 100) neighbours.tick(now);
  assert.deepEqual(asked, [5, 5, 5]);
});
