/** The store's clock under wall clocks that are set. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { StoreClock } from './clock.ts';

it('never goes back, over any steps of the wall clock and restarts, and is no faster than time while it runs', () => {
  const step = fc.oneof(
    fc.record({ op: fc.constant('pass' as const), ms: fc.double({ min: 0, max: 1e6, noNaN: true }) }),
    fc.record({ op: fc.constant('set' as const), ms: fc.integer({ min: -1e9, max: 1e9 }) }),
    fc.record({ op: fc.constant('restart' as const), ms: fc.integer({ min: 0, max: 1e6 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let [wall, steady, start] = [1e12, 5, 1e12];
      const clock = { wall: () => wall, steady: () => steady };
      let store = new StoreClock(clock, 0);
      assert.equal(store.now(), 1e12);
      let [last, since] = [store.now(), steady];
      for (const { op, ms } of steps) {
        if (op === 'set') wall += ms;
        else {
          wall += ms;
          steady += ms;
        }
        if (op === 'restart') {
          steady = 0; // another boot
          store = new StoreClock(clock, last);
          since = steady;
          start = store.now();
          assert.ok(start >= wall, 'at least the wall clock');
        }
        const now = store.now();
        assert.ok(now >= last, `${now} after ${last}`);
        assert.ok(Math.abs(now - start - (steady - since)) <= 2, 'goes as time does');
        assert.ok(Number.isSafeInteger(now));
        last = now;
      }
    }),
  );
});
