import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Change, StoredObject, TableEntry } from '../contract.ts';
import { Pending } from './pending.ts';

type State = Map<string, Map<string, unknown>>;

/** Applies changes as a subscriber does. */
function apply(state: State, changes: readonly Change[]): void {
  for (const change of changes) {
    const { interest } = change;
    if (change.kind === 'object') {
      state.set(interest, new Map([['object', change.object]]));
      continue;
    }
    const map = change.reset ? new Map<string, unknown>() : (state.get(interest) ?? new Map());
    state.set(interest, map);
    if (change.kind === 'index') for (const id of change.added) map.set(id, true);
    else if (change.kind === 'objects') for (const object of change.upserts) map.set(object.id, object);
    else for (const entry of change.upserts) map.set(entry.key, entry);
    for (const key of change.removed) map.delete(key);
  }
}

const key = fc.constantFrom('p', 'q', 'r', 's');
const version = fc.nat(1000);
const object = fc
  .record({ id: key, version })
  .map(({ id, version }): StoredObject => ({ type: 'T', id, version, value: {} }));
const entry = fc
  .record({ key, version })
  .map(({ key, version }): TableEntry => ({ key, version, value: '', owner: null }));
/** A change never names one key both as there and as gone. */
const without = <T>(items: T[], keyOf: (item: T) => string, removed: string[]) =>
  items.filter((item) => !removed.includes(keyOf(item)));
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.option(object).map((object): Change => ({ interest: 'o/T/x', kind: 'object', object })),
  fc.tuple(fc.boolean(), fc.array(object), fc.array(key)).map(
    ([reset, upserts, removed]): Change => ({
      interest: 'a/T',
      kind: 'objects',
      reset,
      upserts: without(upserts, ({ id }) => id, removed),
      removed,
    }),
  ),
  fc.tuple(fc.boolean(), fc.array(key), fc.array(key)).map(
    ([reset, added, removed]): Change => ({
      interest: 'i/T.f/x',
      kind: 'index',
      reset,
      added: without(added, (id) => id, removed),
      removed,
    }),
  ),
  fc.tuple(fc.boolean(), fc.array(entry), fc.array(key)).map(
    ([reset, upserts, removed]): Change => ({
      interest: 't/mac/x',
      kind: 'table',
      reset,
      upserts: without(upserts, ({ key }) => key, removed),
      removed,
    }),
  ),
);

describe('pending changes', () => {
  it('merged, wherever they are taken out in between, lead to the same state as one by one', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(change, fc.boolean())), (steps) => {
        const pending = new Pending();
        const [merged, single]: State[] = [new Map(), new Map()];
        for (const [step, take] of steps) {
          pending.add(step);
          apply(single, [step]);
          if (take) apply(merged, pending.take());
        }
        apply(merged, pending.take());
        assert.ok(pending.empty);
        assert.deepEqual(merged, single);
      }),
    );
  });

  it('forget an interest wholly', () => {
    const pending = new Pending();
    pending.add({ interest: 'o/T/x', kind: 'object', object: null });
    pending.forget('o/T/x');
    assert.deepEqual(pending.take(), []);
  });
});
