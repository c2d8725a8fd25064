import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gather } from './gather.ts';

/** Whether it takes `perMs` packets a millisecond, in batches of `batch`, for a stream. */
function streams(perMs: number, batch: number): boolean {
  let now = 1e6;
  const gather = new Gather(() => now);
  for (let i = 0; i < 200; i++) {
    now += (batch / perMs) * 1000;
    gather.took(batch);
  }
  return gather.streaming;
}

test('a stream is many packets a millisecond, whatever the batches', () => {
  for (const batch of [1, 4, 64]) {
    assert.equal(streams(100, batch), true, `batches of ${batch}`);
    assert.equal(streams(10, batch), false, `batches of ${batch}`);
  }
});

test('it ends with the first packet after a silence', () => {
  let now = 1e6;
  const gather = new Gather(() => now);
  for (let i = 0; i < 100; i++) {
    now += 100;
    gather.took(10);
  }
  assert.ok(gather.streaming);
  now += 50_000;
  gather.took(1);
  assert.equal(gather.streaming, false);
});
