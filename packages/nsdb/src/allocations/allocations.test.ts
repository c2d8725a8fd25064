/** What happens between an allocation's decision and its commit makes it decide anew. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { NodeOp, NodeStore } from '../backend.ts';
import { refused, TestClock } from '../compliance/harness.ts';
import { LmdbStore } from '../embedded/lmdb-store.ts';
import { numberPath, objectPath } from '../objects/paths.ts';
import { Allocations } from './allocations.ts';
import { HostLives } from './host-lives.ts';

const POOL = 'nat/r/192.0.2.1';
const ONE = { first: 0, last: 0 };
const COOL = 1_000;

interface Parts {
  readonly store: LmdbStore;
  readonly clock: TestClock;
  readonly lives: HostLives;
  readonly allocations: Allocations;
  /** Runs this before the next commit that writes the pool's number 0. */
  before(run: () => Promise<unknown>): void;
}

async function withStore(body: (parts: Parts) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
  const clock = new TestClock();
  const store = new LmdbStore({ dir, clock });
  let pending: (() => Promise<unknown>) | undefined;
  const watched = new Proxy<NodeStore>(store, {
    get(_, name: keyof LmdbStore) {
      if (name === 'commit')
        return async (ops: readonly NodeOp[]) => {
          if (pending !== undefined && ops.some((op) => op.op === 'put' && op.path === numberPath(POOL, 0))) {
            const run = pending;
            pending = undefined;
            await run();
          }
          return store.commit(ops);
        };
      const value = store[name];
      return typeof value === 'function' ? value.bind(store) : value;
    },
  });
  try {
    await store.commit([{ op: 'put', path: objectPath('Router', 'r'), json: '{}' }]);
    const lives = new HostLives(store);
    for (const host of ['a', 'b']) await lives.begin(host, 1);
    const allocations = await Allocations.load(watched, { random: () => 0.5, grace: 0 });
    await body({
      store,
      clock,
      lives,
      allocations,
      before: (run) => {
        pending = run;
      },
    });
    assert.equal(pending, undefined, 'it came to pass');
  } finally {
    await store.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

describe('between decision and commit', () => {
  it('a dead host comes back: it keeps its number', () =>
    withStore(async ({ clock, lives, allocations, before }) => {
      const given = await allocations.allocate('a', 1, POOL, ONE, 1, COOL);
      await lives.end('a', 1);
      clock.advance(COOL);
      before(() => lives.begin('a', 2));
      assert.deepEqual(await allocations.allocate('b', 1, POOL, ONE, 1, COOL), []);
      assert.deepEqual(await allocations.held('a', 2), [{ ...given[0], coolMs: COOL }]);
    }));

  it('a dead host comes back: nobody else keeps its number', () =>
    withStore(async ({ lives, allocations, before }) => {
      const given = await allocations.allocate('a', 1, POOL, ONE, 1, COOL);
      await lives.end('a', 1);
      before(() => lives.begin('a', 2));
      assert.deepEqual(await allocations.keep('b', 1, given), []);
      assert.deepEqual(await allocations.held('a', 2), [{ ...given[0], coolMs: COOL }]);
    }));

  it('what was kept is claimed as that, after the store has forgotten it', () =>
    withStore(async ({ allocations }) => {
      const claim = { pool: POOL, index: 0, token: 9, coolMs: COOL, kept: true } as const;
      await allocations.claim('a', 1, [claim], true);
      assert.deepEqual(await allocations.held('a', 1), [claim]);
      await allocations.release('a', 1, [claim]);
      assert.deepEqual(await allocations.allocate('a', 1, POOL, ONE, 1, COOL), []);
    }));

  it('another host takes the number: it is not given twice', () =>
    withStore(async ({ allocations, before }) => {
      let other: unknown[] = [];
      before(async () => {
        other = await allocations.allocate('a', 1, POOL, ONE, 1, COOL);
      });
      assert.deepEqual(await allocations.allocate('b', 1, POOL, ONE, 1, COOL), []);
      assert.equal(other.length, 1);
    }));

  it('the host is started anew, or given up: the older start gets nothing', () =>
    withStore(async ({ lives, allocations, before }) => {
      before(() => lives.begin('a', 2));
      await refused(allocations.allocate('a', 1, POOL, ONE, 1, COOL), 'WEFT_SESSION_LOST');
      before(() => lives.end('a', 2));
      await refused(allocations.allocate('a', 2, POOL, ONE, 1, COOL), 'WEFT_SESSION_LOST');
      assert.deepEqual(await allocations.usage(POOL), []);
    }));

  it('the owner is deleted: nothing is allocated', () =>
    withStore(async ({ store, allocations, before }) => {
      before(() => store.commit([{ op: 'remove', path: objectPath('Router', 'r') }]));
      await refused(allocations.allocate('a', 1, POOL, ONE, 1, COOL), 'WEFT_NOT_FOUND');
      assert.deepEqual(store.children('n/nat|r|192.0.2.1'), []);
    }));
});

it('a number whose token cannot rise any more is not given; a clock far ahead leaves room to count', () =>
  withStore(async ({ clock, store, allocations }) => {
    clock.advance(1e13);
    const [first] = await allocations.allocate('a', 1, POOL, ONE, 1, COOL);
    await allocations.release('a', 1, [first]);
    const [second] = await allocations.allocate('a', 1, POOL, ONE, 1, COOL);
    assert.equal(second.token, first.token + 1);
    assert.ok(second.token < 0xff000002);
    await allocations.release('a', 1, [second]);
    const last = { host: 'a', token: 0xffffffff, cool: 0, released: 0 };
    await store.commit([{ op: 'put', path: numberPath(POOL, 0), json: JSON.stringify(last) }]);
    assert.deepEqual(await allocations.allocate('a', 1, POOL, ONE, 1, COOL), []);
  }));
