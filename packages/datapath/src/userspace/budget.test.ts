import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UPCALL_MISS, UPCALL_TTL } from '@weft/flow';
import fc from 'fast-check';
import { Gcra, UPCALL_CUT, UPCALL_REFUSED, UPCALL_WHOLE, UpcallBudget } from './budget.ts';

test('at most the burst at once and the rate in the long run, whatever the arrivals', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(3_000_000), { minLength: 50, maxLength: 300 }),
      fc.integer({ min: 1, max: 20 }),
      (gaps, burst) => {
        const interval = 1_000_000;
        const gcra = new Gcra();
        let now = 5_000_000;
        const passed: number[] = [];
        for (const gap of gaps) {
          now += gap;
          if (gcra.take(now, interval, burst * interval)) passed.push(now);
        }
        for (let i = 0; i < passed.length; i++) {
          for (let j = i; j < passed.length; j++) {
            const window = passed[j] - passed[i];
            assert.ok(j - i + 1 <= burst + window / interval + 1e-6);
          }
        }
      },
    ),
  );
});

test('misses and notices have budgets of their own; a port without rate sends nothing up', () => {
  const budget = new UpcallBudget(1, 2);
  const charge = (reason: number) => budget.charge(reason, 100, 1e9);
  assert.deepEqual(
    [1, 2, 3].map(() => charge(UPCALL_MISS)),
    [UPCALL_WHOLE, UPCALL_WHOLE, UPCALL_REFUSED],
  );
  assert.equal(charge(UPCALL_TTL), UPCALL_WHOLE);
  assert.equal(new UpcallBudget(0, 10).charge(UPCALL_MISS, 100, 1e9), UPCALL_REFUSED);
});

test('super-packets are cut when their share is used up, and come whole again later', () => {
  const budget = new UpcallBudget(100, 100);
  let now = 1e9;
  const verdicts = Array.from({ length: 20 }, () => budget.charge(UPCALL_MISS, 40_000, now));
  assert.equal(verdicts[0], UPCALL_WHOLE);
  assert.ok(verdicts.includes(UPCALL_CUT));
  assert.ok(!verdicts.includes(UPCALL_REFUSED));
  now += 60e9;
  assert.equal(budget.charge(UPCALL_MISS, 40_000, now), UPCALL_WHOLE);
});
