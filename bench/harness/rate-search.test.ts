import assert from 'node:assert/strict';
import { test } from 'node:test';
import { searchInTurns, searchRate } from './rate-search.ts';

interface Tried {
  readonly rate: number;
  readonly faults: readonly string[];
}

/** Runs a search against something that holds up to `limit`; returns the best rate and all that were tried. */
function run(limit: number, steps: readonly number[], flaws: readonly number[] = []): [Tried, number[]] {
  const search = searchRate<Tried>(steps);
  const tried: number[] = [];
  const broken = [...flaws];
  let next = search.next();
  while (!next.done) {
    const rate = next.value;
    tried.push(rate);
    const flaw = broken.indexOf(rate);
    if (flaw >= 0) broken.splice(flaw, 1);
    next = search.next({ rate, faults: rate <= limit && flaw < 0 ? [] : ['too much'] });
  }
  return [next.value, tried];
}

test('narrows down between the last good and the first bad rate', () => {
  const [best, tried] = run(26, [10, 20, 40]);
  assert.equal(best.rate, 25);
  assert.deepEqual(tried, [10, 20, 40, 40, 30, 30, 25]);
});

test('a rate that fails once and then passes is good', () => {
  const [best, tried] = run(100, [10, 20], [20]);
  assert.equal(best.rate, 20);
  assert.deepEqual(tried, [10, 20, 20]);
});

test('nothing lies above the last step, and a failure of the first one is told', () => {
  assert.equal(run(1_000, [10, 20])[0].rate, 20);
  assert.deepEqual(run(5, [10, 20])[0], { rate: 10, faults: ['too much'] });
});

test('contestants take turns, and the one that needs more tries goes on alone', async () => {
  const order: string[] = [];
  const contestant = (name: string, limit: number) => ({
    name,
    steps: [10, 20],
    async attempt(rate: number): Promise<Tried> {
      order.push(`${name}${rate}`);
      return { rate, faults: rate <= limit ? [] : ['too much'] };
    },
  });
  const best = await searchInTurns([contestant('a', 12), contestant('b', 50)]);
  assert.deepEqual(
    best.map(({ rate }) => rate),
    [10, 20],
  );
  assert.deepEqual(order, ['a10', 'b10', 'a20', 'b20', 'a20', 'a15', 'a15', 'a13', 'a13']);
});
