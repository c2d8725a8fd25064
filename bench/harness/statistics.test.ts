import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Contestant, samplesOf, takeTurns } from './interleave.ts';
import { figure, judge } from './result.ts';
import { median, pairedRatio, percentile, sampleOf } from './statistics.ts';

test('median of an odd and an even number of values', () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([9, 1, 5, 6]), 5.5);
});

test('percentile is a value that was measured', () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.equal(percentile(values, 0.99), 99);
  assert.equal(percentile(values, 1), 100);
  assert.equal(percentile(values, 0), 1);
});

test('a paired ratio survives a disturbance that meets both', () => {
  assert.equal(pairedRatio([100, 10, 90, 20, 80], [50, 5, 45, 10, 40]), 2);
  assert.throws(() => pairedRatio([1, 2], [1]), RangeError);
});

test('there is no median of nothing', () => {
  assert.throws(() => median([]), RangeError);
  assert.throws(() => percentile([], 0.5), RangeError);
});

test('contestants take turns, in both directions', async () => {
  const order: string[] = [];
  const contestant = (name: string): Contestant<number> => ({
    name,
    measure: async () => order.push(name),
  });
  const taken = await takeTurns([contestant('a'), contestant('b'), contestant('c')], 2);
  assert.deepEqual(order, ['a', 'b', 'c', 'c', 'b', 'a']);
  assert.deepEqual(taken.get('b'), [2, 5]);
  assert.equal(samplesOf(taken, (value) => value).get('a')!.median, 3.5);
});

test('a target is a ratio, a floor or a ceiling', () => {
  assert.equal(judge({ ratio: 1.15 }, 'Gbit/s', 3, 1.2)!.met, true);
  assert.equal(judge({ ratio: 1.15 }, 'Gbit/s', 3, null)!.met, false);
  assert.equal(judge({ atLeast: 10 }, '1/s', 9, null)!.met, false);
  assert.equal(judge({ atMost: 10 }, 'ms', 10, null)!.met, true);
  assert.equal(judge(undefined, 'ns', 1, null), null);
});

test('a figure without peer says so', () => {
  const row = figure({ id: 'x', unit: 'ns' }, sampleOf([3, 1, 2]), { conditions: {} });
  assert.deepEqual([row.value, row.peer, row.peer_value, row.ratio, row.runs], [2, null, null, null, 3]);
});
