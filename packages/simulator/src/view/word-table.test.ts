import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { WordTable } from './word-table.ts';

describe('word table', () => {
  it('behaves as a map, through growth and deletion', () => {
    const operation = fc.record({
      key: fc.tuple(fc.nat({ max: 30 }), fc.nat({ max: 3 })),
      value: fc.integer(),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        const table = new WordTable(2, 1);
        const model = new Map<string, number>();
        for (const { key, value, remove } of operations) {
          table.probe.set(key);
          if (remove) {
            const at = table.find();
            if (at >= 0) table.removeAt(at);
            model.delete(String(key));
          } else {
            table.words[table.insert() + 2] = value | 0;
            model.set(String(key), value | 0);
          }
          assert.equal(table.size, model.size);
        }
        for (let a = 0; a <= 30; a++) {
          for (let b = 0; b <= 3; b++) {
            table.probe.set([a, b]);
            const at = table.find();
            assert.equal(at < 0 ? undefined : table.words[at + 2], model.get(`${a},${b}`));
          }
        }
      }),
    );
  });
});
