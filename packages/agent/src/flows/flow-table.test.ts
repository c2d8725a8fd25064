import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEY_SIZE, MASK_CLASS_COUNT, maskKey } from '@weft/flow';
import fc from 'fast-check';
import { FlowTable } from './flow-table.ts';

function keyOf(n: number): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  key[0] = n;
  key[20] = n >>> 8;
  key[40] = n % 7;
  return key;
}

test('behaves like a map from masked key to slot under any sequence of changes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ add: fc.boolean(), n: fc.nat(200), c: fc.nat(MASK_CLASS_COUNT - 1) }), { maxLength: 300 }),
      (ops) => {
        const table = new FlowTable(64);
        const model = new Map<string, number>();
        const masked = new Uint8Array(KEY_SIZE);
        for (const op of ops) {
          maskKey(keyOf(op.n), 0, op.c, masked, 0);
          const name = masked.join();
          const known = model.get(name);
          assert.equal(table.find(masked), known ?? -1);
          if (op.add && known === undefined) {
            const slot = table.add(masked);
            if (model.size === 64) assert.equal(slot, -1);
            else model.set(name, slot);
          } else if (!op.add && known !== undefined) {
            table.remove(known);
            model.delete(name);
          }
          assert.equal(table.size, model.size);
        }
        assert.equal(new Set(model.values()).size, model.size);
      },
    ),
  );
});

test('match finds the most general class first', () => {
  const table = new FlowTable(8);
  const masked = new Uint8Array(KEY_SIZE);
  maskKey(keyOf(9), 0, 5, masked, 0);
  const narrow = table.add(masked);
  assert.equal(table.match(keyOf(9)), narrow);
  maskKey(keyOf(9), 0, 0, masked, 0);
  const wide = table.add(masked);
  assert.equal(table.match(keyOf(9)), wide);
  assert.equal(table.match(keyOf(10)), -1);
});

test('adoption takes exactly the wanted slots and hands out the others once', () => {
  const table = new FlowTable(16);
  const masked = new Uint8Array(KEY_SIZE);
  const wanted = [3, 0, 15, 7];
  wanted.forEach((slot, i) => {
    maskKey(keyOf(i), 0, 0, masked, 0);
    assert.equal(table.add(masked, 0, slot), slot);
  });
  maskKey(keyOf(99), 0, 0, masked, 0);
  assert.equal(table.add(masked, 0, 7), -1);
  const rest = new Set<number>();
  for (let i = 100; i < 112; i++) {
    maskKey(keyOf(i), 0, 0, masked, 0);
    rest.add(table.add(masked));
  }
  assert.deepEqual(
    [...rest, ...wanted].sort((a, b) => a - b),
    [...Array(16).keys()],
  );
  maskKey(keyOf(200), 0, 0, masked, 0);
  assert.equal(table.add(masked), -1);
});
