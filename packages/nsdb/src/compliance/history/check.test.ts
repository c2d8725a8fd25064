/** The checker accepts what may be and rejects planted violations. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BatchRecord, checkHistory, type History, type HoldRecord, type TransactionRecord } from './check.ts';

const initial = new Map([
  ['x', { value: 'x0', version: 1 }],
  ['y', { value: 'y0', version: 2 }],
]);
const tx = (start: number, end: number, revision: number, reads: object, writes: object): TransactionRecord => ({
  start,
  end,
  outcome: 'committed',
  revision,
  reads: new Map(Object.entries(reads)),
  writes: new Map(Object.entries(writes)),
});
const batch = (revision: number, x: string, y: string, subscriber = 's'): BatchRecord => ({
  subscriber,
  revision,
  state: new Map([
    ['x', { value: x, version: revision }],
    ['y', { value: y, version: revision }],
  ]),
});
const hold = (host: string, token: number, from: number, until: number): HoldRecord => ({
  host,
  number: 'p/1',
  token,
  from,
  until,
});
/** Moves both registers at once, then one; a reader in between; a subscriber that missed nothing it may not. */
const good: History = {
  initial,
  transactions: [
    tx(0, 5, 3, { x: 'x0', y: 'y0' }, { x: 'x1', y: 'y1' }),
    tx(4, 9, 4, { x: 'x1' }, { x: 'x2' }),
    tx(6, 8, -1, { x: 'x1', y: 'y1' }, {}),
  ],
  batches: [batch(2, 'x0', 'y0'), batch(4, 'x2', 'y1'), batch(2, 'x0', 'y0', 'other'), batch(3, 'x1', 'y1', 'other')],
  holds: [hold('a', 1, 0, 5), hold('b', 2, 6, Number.POSITIVE_INFINITY)],
};
const rejected = (change: Partial<History>, what: RegExp) => {
  const violations = checkHistory({ ...good, ...change });
  assert.ok(
    violations.some((violation) => what.test(violation)),
    `${violations.join('\n')} has no ${what}`,
  );
};
const [both, one, reader] = good.transactions;

describe('the checker of histories', () => {
  it('accepts a history that may be', () => assert.deepEqual(checkHistory(good), []));

  it('accepts that an unknown transaction happened, or not', () => {
    const lost = { ...one, outcome: 'unknown', revision: -1 } as const;
    assert.deepEqual(checkHistory({ ...good, transactions: [both, lost, reader] }), []);
    assert.deepEqual(
      checkHistory({ ...good, transactions: [both, lost, reader], batches: [batch(9, 'x1', 'y1')] }),
      [],
    );
  });

  it('rejects a stale read of one that writes', () =>
    rejected({ transactions: [both, tx(4, 9, 4, { x: 'x0' }, { x: 'x2' }), reader] }, /read x = x0, but it was x1/));

  it('rejects a stale read of one that only reads', () =>
    rejected(
      { transactions: [both, one, tx(6, 8, -1, { x: 'x0', y: 'y0' }, {})] },
      /never was together, or no longer/,
    ));

  it('rejects a torn read, and a value from nowhere', () => {
    rejected({ transactions: [both, one, tx(1, 8, -1, { x: 'x1', y: 'y0' }, {})] }, /never was together/);
    rejected({ transactions: [both, one, tx(1, 8, -1, { x: 'x7' }, {})] }, /which nobody wrote/);
  });

  it('rejects a torn batch, one that lost a change, and one out of order', () => {
    rejected({ batches: [batch(3, 'x1', 'y0')] }, /s at 3: y = y0, but it was y1/);
    rejected({ batches: [batch(4, 'x1', 'y1')] }, /s at 4: x = x1, but it was x2/);
    rejected({ batches: [batch(4, 'x2', 'y1'), batch(3, 'x1', 'y1')] }, /revision 3 after a later one/);
  });

  it('rejects an order of commits that contradicts their answers, and a revision given twice', () => {
    rejected(
      { transactions: [both, tx(0, 1, 5, { y: 'y1' }, { y: 'y2' }), tx(3, 9, 4, { x: 'x1' }, { x: 'x2' })] },
      /later one had been answered/,
    );
    rejected({ transactions: [both, one, tx(4, 9, 4, { y: 'y1' }, { y: 'y2' })] }, /two commits are revision 4/);
  });

  it('rejects two holders, and a token given twice', () => {
    rejected({ holds: [hold('a', 1, 0, 5), hold('b', 2, 4, 9)] }, /held by a and b/);
    rejected({ holds: [hold('a', 1, 0, 5), hold('b', 1, 6, 9)] }, /token 1 was given twice/);
  });
});
