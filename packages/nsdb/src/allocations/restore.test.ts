/** A restored store does not know what was given after the backup; nobody may get that a second time. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { newHost, TestClock, until } from '../compliance/harness.ts';
import { connect } from '../connect.ts';
import type { HostSession, Nsdb } from '../contract.ts';
import { openEmbedded } from '../embedded/index.ts';
import type { LmdbStore } from '../embedded/lmdb-store.ts';
import { restoreEmbedded } from '../embedded/restore.ts';
import { serve } from '../remote/server.ts';

const COOL = 60_000;
const GRACE = 1_000;
const root = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const path = () => join(root, `s${count++}`);

const byIndex = async (session: HostSession) =>
  (await session.allocations()).sort((a, b) => a.index - b.index).map(({ index, token }) => [index, token]);

const newPool = async (nsdb: Nsdb) =>
  `nat/${(await nsdb.transact((tx) => tx.create<{ id: string }>('Router', { name: 'r' }))).result.id}/192.0.2.1`;

describe('allocations after a restore', () => {
  for (const complete of [false, true])
    it(`${complete ? 'of a complete backup all goes on' : 'nothing is given that may be in use'}; tokens rise`, async () => {
      const clock = new TestClock();
      const options = { clock, grace: GRACE };
      const before = await openEmbedded({ ...options, dir: path() });
      const pool = await newPool(before);
      const [one, two] = [
        await before.openSession(await newHost(before)),
        await before.openSession(await newHost(before)),
      ];
      const range = { first: 0, last: 2 };
      const [a] = await one.allocate(pool, { first: 0, last: 0 }, 1, COOL);
      const [b] = await one.allocate(pool, { first: 1, last: 1 }, 1, COOL);
      await one.release([b]);
      const [backup, dir] = [path(), path()];
      await (before.store as LmdbStore).backup(backup);
      // Once an hour later, as far as its clock goes: what the backup saw cool is another's by now.
      clock.advance(3_600_000);
      const lost = complete ? [] : await two.allocate(pool, range, 2, COOL);
      await before.close();

      await restoreEmbedded({ backup, dir, complete });
      clock.advance(10 * COOL); // while nobody runs it
      const again = await openEmbedded({ ...options, dir });
      const [back, other] = [await again.openSession(one.hostId), await again.openSession(two.hostId)];
      assert.deepEqual(await byIndex(back), [[a.index, a.token]], 'what the backup knows is held on');
      if (!complete) {
        for (const session of [back, other]) assert.deepEqual(await session.allocate(pool, range, 2, COOL), []);
        clock.advance(GRACE + COOL - 1);
        assert.deepEqual(await other.allocate(pool, range, 2, COOL), []);
        clock.advance(1);
      }
      const given = await other.allocate(pool, range, 3, COOL);
      assert.deepEqual(given.map(({ index }) => index).sort(), [1, 2]);
      for (const { index, token } of [b, ...lost])
        assert.ok(given.find((number) => number.index === index)!.token > token);
      await other.release(given);
      assert.equal((await other.allocate(pool, range, 3, COOL)).length, 2, 'what is released since may be had at once');
      await again.close();
    });

  it('a host that lived through it says what it holds, and who was given a number last has it', async () => {
    const clock = new TestClock();
    const [socket, backup] = [path(), path()];
    const options = { clock, grace: 100_000 };
    let dir = path();
    let store = await openEmbedded({ ...options, dir });
    let server = await serve(store, { socket });
    const handle = () => connect({ socket, reconnect: { first: 2, most: 20 } });
    const [first, second] = [await handle(), await handle()];
    const pool = await newPool(store);
    const [one, two] = [await first.openSession(await newHost(store)), await second.openSession(await newHost(store))];
    const at = (index: number) => ({ first: index, last: index });
    const numbers = async (session: HostSession, ...indexes: number[]) => {
      const given = [];
      for (const index of indexes) given.push(...(await session.allocate(pool, at(index), 1, COOL)));
      assert.equal(given.length, indexes.length);
      return given;
    };
    const kept = await numbers(one, 0);
    const moved = await numbers(one, 1);
    await one.allocations();
    const dropped = await numbers(one, 2);
    await (store.store as LmdbStore).backup(backup);
    await one.release([...moved, ...dropped]);
    clock.advance(COOL);
    const taken = await numbers(two, 1);
    const fresh = await numbers(two, 3);
    await server.close();
    await store.close();

    dir = path();
    const { generation } = await restoreEmbedded({ backup, dir });
    store = await openEmbedded({ ...options, dir });
    server = await serve(store, { socket });
    await until(
      async () => first.generation === generation && (await one.allocations().then(Boolean, () => false)),
      'one',
    );
    await until(
      async () => second.generation === generation && (await two.allocations().then(Boolean, () => false)),
      'two',
    );
    const pairs = (list: readonly { index: number; token: number }[]) => list.map(({ index, token }) => [index, token]);
    assert.deepEqual(await byIndex(one), pairs(kept), 'not what it had released since the backup');
    assert.deepEqual(await byIndex(two), pairs([...taken, ...fresh]));
    const usage = await store.poolUsage(pool);
    assert.deepEqual(
      usage.map(({ index, hostId, coolsFor }) => [index, hostId, coolsFor === null]),
      [
        [0, one.hostId, true],
        [1, two.hostId, true],
        [2, one.hostId, false],
        [3, two.hostId, true],
      ],
    );
    await first.close();
    await second.close();
    await server.close();
    await store.close();
  });
});
