import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventLimit } from './event-limit.ts';

test('an event that packets cause is written so often a minute; the next line says how many were not', () => {
  const limit = new EventLimit();
  const written = Array.from({ length: 1000 }, (_, i) => limit.take('packet.failed', i));
  assert.deepEqual(written.slice(0, 11), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1]);
  assert.equal(written.filter((n) => n >= 0).length, 10);
  assert.equal(limit.take('flow.revalidation_failed', 999), 0, 'each event has its own share');
  assert.equal(limit.take('packet.failed', 60_000), 990);
  assert.equal(limit.take('packet.failed', 60_001), 0);
});

test('an event that no packet causes is always written', () => {
  const limit = new EventLimit();
  for (let i = 0; i < 1000; i++) assert.equal(limit.take('tunnel.up', 0), 0);
});
