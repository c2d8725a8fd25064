/** The judge itself: a history as it should be, and what is wrong with others. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkHistory, type Step } from './history.ts';

const path = '/a';
const node = (data: string, version: number, mzxid: bigint) => ({ data, version, czxid: 1n, mzxid });
const base = { error: undefined, node: undefined, syncBegin: undefined };

/** Client 0 creates and sets, client 1 reads what was and what is, client 2 is refused. */
const GOOD = {
  create: {
    ...base,
    client: 0,
    action: { kind: 'create', path, data: 'x' },
    begin: 1,
    end: 2,
    zxid: 1n,
    node: node('x', 0, 1n),
  },
  set: {
    ...base,
    client: 0,
    action: { kind: 'setData', path, data: 'y', version: 0 },
    begin: 3,
    end: 6,
    zxid: 3n,
    node: node('y', 1, 3n),
  },
  stale: { ...base, client: 1, action: { kind: 'read', path }, begin: 7, end: 8, zxid: 2n, node: node('x', 0, 1n) },
  synced: {
    ...base,
    client: 1,
    action: { kind: 'read', path },
    begin: 9,
    end: 10,
    zxid: 3n,
    node: node('y', 1, 3n),
    syncBegin: 9,
  },
  refused: {
    ...base,
    client: 2,
    action: { kind: 'setData', path, data: 'z', version: 0 },
    begin: 4,
    end: 7,
    zxid: 4n,
    error: 'WEFT_ZK_BAD_VERSION',
  },
} satisfies Record<string, Step>;

const check = (changes: Partial<Record<keyof typeof GOOD, Partial<Step>>>) =>
  checkHistory(
    Object.entries(GOOD).map(([name, step]) => ({ ...step, ...changes[name as keyof typeof GOOD] }) as Step),
  );

describe('the judge of histories', () => {
  it('takes a good one', () => check({}));

  const bad: [string, Parameters<typeof check>[0], RegExp][] = [
    ['two changes in one transaction', { set: { zxid: 1n, node: node('y', 1, 1n) } }, /one transaction/],
    ['an order against real time', { set: { begin: 0, end: 0.5 } }, /behind one that began after its end|went back/],
    ['a change that gives the wrong version', { set: { node: node('y', 2, 3n) } }, /not what it should be/],
    [
      'a change that should have been refused',
      { set: { action: { kind: 'setData', path, data: 'y', version: 5 } } },
      /not what it should be/,
    ],
    ['a read of another state', { stale: { node: node('y', 1, 3n) } }, /not of its transaction/],
    ['a read of nothing', { stale: { node: undefined } }, /not of its transaction/],
    ['a stale read behind a sync', { synced: { zxid: 2n, node: node('x', 0, 1n) } }, /behind a sync is stale/],
    ['a client that goes back', { stale: { begin: 11, end: 12 } }, /went back in time/],
    ['a change refused without a reason', { refused: { zxid: 2n } }, /without a reason/],
    ['a change refused for another reason', { refused: { error: 'WEFT_ZK_NO_NODE' } }, /without a reason/],
  ];
  for (const [what, changes, message] of bad) it(`refuses ${what}`, () => assert.throws(() => check(changes), message));
});
