import assert from 'node:assert/strict';
import { test } from 'node:test';
import { K_TP_SRC, KEY_SIZE, MASK_CLASS_COUNT, maskKey } from '@weft/flow';
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
        const [masked, stored] = [new Uint8Array(KEY_SIZE), new Uint8Array(KEY_SIZE)];
        for (const op of ops) {
          maskKey(keyOf(op.n), 0, op.c, masked, 0);
          const name = masked.join();
          const known = model.get(name);
          assert.equal(table.find(masked), known ?? -1);
          if (op.add && known === undefined) {
            const slot = table.add(keyOf(op.n), 0, op.c);
            if (model.size === 64) assert.equal(slot, -1);
            else {
              model.set(name, slot);
              assert.equal(table.classOf(slot), op.c);
              table.maskedKey(slot, stored);
              assert.deepEqual(stored, masked);
            }
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
  const narrow = table.add(keyOf(9), 0, 5);
  assert.equal(table.match(keyOf(9)), narrow);
  const wide = table.add(keyOf(9), 0, 0);
  assert.equal(table.match(keyOf(9)), wide);
  assert.equal(table.match(keyOf(10)), -1);
});

test('adoption takes exactly the wanted slots and hands out the others once', () => {
  const table = new FlowTable(16);
  const wanted = [3, 0, 15, 7];
  wanted.forEach((slot, i) => {
    assert.equal(table.add(keyOf(i), 0, 0, slot), slot);
  });
  assert.equal(table.add(keyOf(99), 0, 0, 7), -1);
  const rest = new Set<number>();
  for (let i = 100; i < 112; i++) rest.add(table.add(keyOf(i), 0, 0));
  assert.deepEqual(
    [...rest, ...wanted].sort((a, b) => a - b),
    [...Array(16).keys()],
  );
  assert.equal(table.add(keyOf(200), 0, 0), -1);
});

test('a first packet gives way to another one of the same flow, in memory that is not the table’s', () => {
  const [memory, masked] = [new Uint8Array(8 * KEY_SIZE + 16).subarray(16), new Uint8Array(KEY_SIZE)];
  const table = new FlowTable(8, memory);
  const [first, second] = [keyOf(9), keyOf(9)];
  second.fill(77, K_TP_SRC, K_TP_SRC + 4);
  const slot = table.add(first, 0, 1);
  memory.set(second, slot * KEY_SIZE);
  maskKey(first, 0, 1, masked, 0);
  assert.equal(table.find(masked), slot);
  assert.equal(table.match(second), slot);
  assert.deepEqual(table.firstKeys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE), second);
  // Whatever stands there: the flow is taken out, and others are found.
  const other = table.add(keyOf(10), 0, 1);
  memory.fill(0xff, slot * KEY_SIZE, (slot + 1) * KEY_SIZE);
  assert.equal(table.find(masked), -1);
  table.remove(slot);
  assert.equal(table.match(keyOf(10)), other);
  assert.equal(table.size, 1);
});
