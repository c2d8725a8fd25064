import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEY_SIZE } from '@weft/flow';
import fc from 'fast-check';
import { KeySet } from './key-set.ts';

function key(n: number): Uint8Array {
  const k = new Uint8Array(KEY_SIZE);
  new DataView(k.buffer).setUint32((n % 15) * 4, n, true);
  return k;
}

test('behaves as a Set under any sequence of adds and deletes', () => {
  const operation = fc.record({ add: fc.boolean(), n: fc.integer({ min: 0, max: 60 }) });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 400 }), (operations) => {
      const set = new KeySet();
      const model = new Set<number>();
      for (const { add, n } of operations) {
        if (add) {
          assert.equal(set.add(key(n), 0), !model.has(n));
          model.add(n);
        } else assert.equal(set.delete(key(n), 0), model.delete(n));
        assert.equal(set.size, model.size);
      }
      for (let n = 0; n <= 60; n++) assert.equal(set.has(key(n), 0), model.has(n));
    }),
  );
});

test('grows, and forgets the deleted', () => {
  const set = new KeySet();
  for (let round = 0; round < 5; round++) {
    for (let n = 0; n < 20_000; n++) assert.ok(set.add(key(n), 0));
    assert.equal(set.size, 20_000);
    for (let n = 0; n < 20_000; n++) assert.ok(set.delete(key(n), 0));
  }
  assert.equal(set.size, 0);
  assert.ok(!set.has(key(5), 0));
});
