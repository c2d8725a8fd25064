import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStateTag, TAG_STATE, tag } from '@weft/flow';
import fc from 'fast-check';
import { TagIndex } from './tag-index.ts';

/** Ordinary tags, and such of connections: two of them in one bucket. */
const STATES = Array.from({ length: 8 }, (_, i) => tag(TAG_STATE, i));
const TAGS = [...Array.from({ length: 40 }, (_, i) => i + 1), ...STATES, (STATES[0] ^ 0x4000_0000) >>> 0];

test('agrees with a plain map of sets under any sequence of changes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ slot: fc.nat(31), tags: fc.uniqueArray(fc.constantFrom(...TAGS), { maxLength: 4 }) }), {
        maxLength: 200,
      }),
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
        const shared = [...model.values()].map((set) => [...set].filter((t) => !isStateTag(t)).join());
        assert.equal(index.setCount, new Set(shared).size);
        for (const [slot, set] of model) assert.deepEqual(index.tagsOf(slot).toSorted(), [...set].toSorted());
        for (const t of [0, ...TAGS]) {
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
