import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TagIndex } from './tag-index.ts';

test('agrees with a plain map of sets under any sequence of changes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ slot: fc.nat(31), tags: fc.uniqueArray(fc.nat(40), { maxLength: 3 }) }), { maxLength: 200 }),
      (ops) => {
        const index = new TagIndex(32);
        const model = new Map<number, Set<number>>();
        for (const { slot, tags } of ops) {
          if (tags.length === 0) {
            index.drop(slot);
            model.delete(slot);
          } else {
            index.assign(slot, tags);
            model.set(slot, new Set(tags));
          }
        }
        assert.equal(index.setCount, new Set([...model.values()].map((set) => [...set].join())).size);
        for (let t = 0; t <= 40; t++) {
          const seen: number[] = [];
          index.forEach(t, (s) => seen.push(s));
          const expected = [...model].filter(([, set]) => set.has(t)).map(([s]) => s);
          assert.deepEqual(
            seen.sort((a, b) => a - b),
            expected.sort((a, b) => a - b),
          );
          assert.equal(index.has(t), expected.length > 0);
        }
      },
    ),
  );
});
