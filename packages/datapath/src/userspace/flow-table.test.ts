import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  A_OWNER_CLASS,
  A_OWNER_PORT,
  FLOW_VALUE_SIZE,
  KEY_SIZE,
  MASK_CLASS_COUNT,
  maskKey,
  setActionId,
  setKeyInPort,
  writeU32le,
} from '@weft/flow';
import fc from 'fast-check';
import { FlowTable } from './index.ts';

/** A small universe of packets, so that flows meet, collide and shadow each other. */
const packet = fc.record({
  port: fc.integer({ min: 1, max: 3 }),
  bytes: fc.array(fc.tuple(fc.constantFrom(4, 10, 20, 36, 52, 54, 56, 58, 60), fc.nat(2)), { maxLength: 4 }),
});
const operation = fc.tuple(fc.constantFrom('put', 'put', 'delete', 'match'), packet, fc.nat(MASK_CLASS_COUNT - 1));

function keyOf(p: { port: number; bytes: [number, number][] }): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  setKeyInPort(key, p.port);
  for (const [at, value] of p.bytes) key[at] = value;
  return key;
}

test('the table behaves like a map that is asked class by class', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const capacity = 24;
      const table = new FlowTable(capacity);
      const model = new Map<string, number>();
      let id = 1;
      for (const [what, p, cls] of operations) {
        const full = keyOf(p);
        const masked = new Uint8Array(KEY_SIZE);
        maskKey(full, 0, cls, masked, 0);
        const text = masked.toString();
        if (what === 'put') {
          const value = new Uint8Array(FLOW_VALUE_SIZE);
          setActionId(value, id);
          writeU32le(value, A_OWNER_PORT, p.port);
          value[A_OWNER_CLASS] = cls;
          const room = model.has(text) || model.size < capacity;
          assert.equal(table.put(masked, 0, value, 0), room);
          if (room) model.set(text, id++);
        } else if (what === 'delete') {
          assert.equal(table.delete(masked, 0), model.delete(text));
        } else {
          let expected = 0;
          for (let c = 0; c < MASK_CLASS_COUNT && expected === 0; c++) {
            maskKey(full, 0, c, masked, 0);
            expected = model.get(masked.toString()) ?? 0;
          }
          const entry = table.match(new Uint32Array(full.buffer), p.port);
          const found = entry < 0 ? 0 : table.values[entry * FLOW_VALUE_SIZE];
          assert.equal(found, expected & 0xff);
        }
        assert.equal(table.size, model.size);
      }
      const seen = new Set<string>();
      table.forEach((key) => {
        seen.add(key.toString());
      });
      assert.deepEqual(seen, new Set(model.keys()));
      for (const port of [1, 2, 3]) {
        const has = [...model.keys()].some((k) => k.startsWith(`${port},`));
        assert.equal(table.hasFlowsFor(port), has);
      }
    }),
    { numRuns: 400 },
  );
});

test('many flows: all found, none found twice, all gone', () => {
  const n = 20_000;
  const table = new FlowTable(n);
  const value = new Uint8Array(FLOW_VALUE_SIZE);
  const key = new Uint8Array(KEY_SIZE);
  const masked = new Uint8Array(KEY_SIZE);
  const words = new Uint32Array(key.buffer);
  const make = (i: number) => {
    setKeyInPort(key, 1);
    writeU32le(key, 48, i);
    maskKey(key, 0, 5, masked, 0);
  };
  value[A_OWNER_CLASS] = 5;
  writeU32le(value, A_OWNER_PORT, 1);
  for (let i = 0; i < n; i++) {
    make(i);
    assert.ok(table.put(masked, 0, value, 0));
  }
  const entries = new Set<number>();
  for (let i = 0; i < n; i++) {
    make(i);
    entries.add(table.match(words, 1));
  }
  assert.equal(entries.size, n);
  assert.ok(!entries.has(-1));
  for (let i = 0; i < n; i += 2) {
    make(i);
    assert.ok(table.delete(masked, 0));
  }
  for (let i = 0; i < n; i++) {
    make(i);
    assert.equal(table.match(words, 1) >= 0, i % 2 === 1);
  }
});
