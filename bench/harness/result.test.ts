import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BenchReport, figure, merge } from './result.ts';

const row = (id: string, median: number) =>
  figure({ id, unit: 'µs' }, { median, values: [median] }, { conditions: {} });
const report = (rows: BenchReport['results'], failures: BenchReport['failures'] = []): BenchReport => ({
  machine: {},
  quick: false,
  started: '',
  results: rows,
  failures,
});

test('a later run replaces its figures in their places, adds new ones, and mends what could not be measured', () => {
  const failed = ['c', 'd'].map((id) => ({ id, code: 'WEFT_BENCH_MISSING', message: '' }));
  const merged = merge(report([row('a', 1), row('b', 2)], failed), report([row('c', 3), row('a', 4)]));
  assert.deepEqual(
    merged.results.map(({ id, value }) => [id, value]),
    [
      ['a', 4],
      ['b', 2],
      ['c', 3],
    ],
  );
  assert.deepEqual(
    merged.failures.map(({ id }) => id),
    ['d'],
  );
});
