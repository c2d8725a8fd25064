import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LATENCY_EDGES, Latency } from './latency.ts';

test('each packet counts in the bucket of its time, edges included; the sum is in seconds', () => {
  let now = 1e15;
  const latency = new Latency(() => now);
  for (const us of [10, 50, 51, 600_000]) latency.note(now - us * 1000);
  latency.note(0);
  latency.done();
  now += 1e9;
  latency.done();
  const { counts, sum } = latency.report();
  assert.deepEqual(counts, [2, 1, ...Array<number>(LATENCY_EDGES.length - 2).fill(0), 1]);
  assert.ok(Math.abs(sum - 0.600_111) < 1e-9);
});

test('a turn with more packets than are looked at is bounded', () => {
  const latency = new Latency(() => 2);
  for (let i = 0; i < 10_000; i++) latency.note(1);
  latency.done();
  assert.equal(
    latency.report().counts.reduce((a, b) => a + b, 0),
    2048,
  );
});
