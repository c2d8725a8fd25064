/** Lists of connections by flow: against a plain model, with slots and nodes used again and again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FlowStates } from './flow-states.ts';

type Entry = readonly [entry: number, generation: number];

function listOf(states: FlowStates, slot: number): Entry[] {
  const out: Entry[] = [];
  for (let n = states.first(slot); n >= 0; n = states.following(n)) out.push([states.entry(n), states.generation(n)]);
  return out;
}

const sorted = (list: readonly Entry[]): string[] => list.map(String).sort();

test('every flow has the connections that it was given since it was dropped last', () => {
  const step = fc.record({
    slot: fc.nat(7),
    entry: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    generation: fc.nat(9),
    drop: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const states = new FlowStates(8);
      const model: Entry[][] = Array.from({ length: 8 }, () => []);
      for (const { slot, entry, generation, drop } of steps) {
        if (drop) {
          states.drop(slot);
          model[slot] = [];
        } else {
          states.add(slot, entry, generation);
          model[slot].push([entry, generation]);
        }
        for (let s = 0; s < 8; s++) {
          assert.deepEqual(sorted(listOf(states, s)), sorted(model[s]));
          assert.equal(states.has(s), model[s].length > 0);
        }
      }
    }),
  );
});

test('there is room for more entries than it began with, and what was dropped is used again', () => {
  const states = new FlowStates(3000);
  for (let slot = 0; slot < 3000; slot++) states.add(slot, slot << 1, slot);
  for (let slot = 0; slot < 3000; slot++) assert.deepEqual(listOf(states, slot), [[slot << 1, slot]]);
  for (let slot = 0; slot < 3000; slot += 2) states.drop(slot);
  for (let slot = 0; slot < 3000; slot += 2) states.add(slot, 1, 1);
  for (let slot = 1; slot < 3000; slot += 2) assert.deepEqual(listOf(states, slot), [[slot << 1, slot]]);
});
