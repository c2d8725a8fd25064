/**
 * Numbers that hosts hold: exclusive, with rising tokens, cooling after release and death, gone with their owner.
 *
 * Longer than other files because it is one list of promises over one small set of helpers.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Allocation, HostSession, Nsdb } from '../contract.ts';
import { cannotRestart, type Factory, newHost, on, refused, TestClock, until } from './harness.ts';

const COOL = 60_000;
const ALL = { first: 0, last: 1023 };

const newRouter = async (nsdb: Nsdb, id?: string) =>
  (await nsdb.transact((tx) => tx.create<{ id: string }>('Router', { name: 'r', ...(id ? { id } : {}) }))).result.id;
const newPool = async (nsdb: Nsdb) => `nat/${await newRouter(nsdb)}/198.51.100.1`;
const newSession = async (nsdb: Nsdb) => nsdb.openSession(await newHost(nsdb));
const indexes = (allocations: readonly { readonly index: number }[]) =>
  allocations.map(({ index }) => index).sort((a, b) => a - b);
const sorted = (allocations: readonly Allocation[]) =>
  [...allocations].sort((a, b) => a.pool.localeCompare(b.pool) || a.index - b.index);
const upTo = (last: number) => ({ first: 0, last });

/** All of the session's numbers of a pool, in order. */
const held = async (session: HostSession, pool: string) =>
  sorted((await session.allocations()).filter((allocation) => allocation.pool === pool));

export function allocationTests(factory: Factory): void {
  describe('allocations', () => {
    it(
      'are distinct numbers of the range, fewer when there are not more; the host finds them again, operators see them',
      on(factory, async ({ nsdb, another }) => {
        const pool = await newPool(nsdb);
        const session = await newSession(nsdb);
        assert.deepEqual(await session.allocations(), []);
        const first = await session.allocate(pool, { first: 10, last: 17 }, 5, COOL);
        assert.equal(new Set(indexes(first)).size, 5);
        for (const { pool: of, index, token } of first) {
          assert.equal(of, pool);
          assert.ok(index >= 10 && index <= 17 && token > 0 && token <= 0xffffffff);
        }
        const rest = await session.allocate(pool, { first: 10, last: 17 }, 5, COOL);
        assert.deepEqual(indexes([...first, ...rest]), [10, 11, 12, 13, 14, 15, 16, 17]);
        assert.deepEqual(await session.allocate(pool, { first: 10, last: 17 }, 5, COOL), []);
        assert.deepEqual(await held(session, pool), sorted([...first, ...rest]));
        const usage = await (await another()).poolUsage(pool);
        assert.deepEqual(
          usage,
          sorted([...first, ...rest]).map(({ index, token }) => ({
            index,
            token,
            hostId: session.hostId,
            coolsFor: null,
          })),
        );
        const other = await session.allocate(`nat/${pool.split('/')[1]}/198.51.100.2`, { first: 10, last: 10 }, 1, 0);
        assert.deepEqual(indexes(other), [10], 'each address has its own numbers');
        assert.equal((await session.allocations()).length, 9);
      }),
    );

    it(
      'need an owner where the kind has one, and sensible wishes',
      on(factory, async ({ nsdb }) => {
        const session = await newSession(nsdb);
        const pool = await newPool(nsdb);
        await refused(session.allocate(`nat/${crypto.randomUUID()}/x`, ALL, 1, COOL), 'WEFT_NOT_FOUND');
        assert.equal((await session.allocate(`free/${crypto.randomUUID()}/x`, ALL, 1, COOL)).length, 1);
        const bridge = (await nsdb.transact((tx) => tx.create('Bridge', { name: 'b' }))).result.id;
        assert.equal((await session.allocate(`nat/${bridge}/2001:db8::1`, ALL, 1, COOL)).length, 1);
        for (const name of ['', 'nat', 'nat/x', 'nat/x/y|z', '../x/y', 'NAT/x/y', `nat/x/${'y'.repeat(129)}`])
          await refused(session.allocate(name, ALL, 1, COOL), 'WEFT_INVALID');
        for (const [first, last] of [
          [-1, 5],
          [5, 4],
          [0, 65_536],
          [0.5, 2],
          [0, Number.MAX_SAFE_INTEGER],
        ])
          await refused(session.allocate(pool, { first, last }, 1, COOL), 'WEFT_INVALID');
        for (const count of [0, -1, 1_025]) await refused(session.allocate(pool, ALL, count, COOL), 'WEFT_INVALID');
        for (const cool of [-1, 1e12]) await refused(session.allocate(pool, ALL, 1, cool), 'WEFT_INVALID');
        await refused(session.release([{ pool, index: -1, token: 1 }]), 'WEFT_INVALID');
        await refused(nsdb.poolUsage('nat'), 'WEFT_INVALID');
        assert.deepEqual(await nsdb.poolUsage(pool), []);
        assert.deepEqual(await nsdb.poolUsage(`nat/${crypto.randomUUID()}/x`), []);
      }),
    );

    it(
      'hosts that ask at the same time never get the same number, and get all there are',
      on(factory, async ({ nsdb, another }) => {
        const pool = await newPool(nsdb);
        const handles = [nsdb, await another(), await another()];
        const sessions = await Promise.all([...Array(9).keys()].map((i) => newSession(handles[i % 3])));
        const given = await Promise.all(
          sessions.flatMap((session) => [1, 2, 3].map(() => session.allocate(pool, upTo(99), 7, COOL))),
        );
        const numbers = indexes(given.flat());
        assert.deepEqual(
          numbers,
          [...Array(100).keys()],
          'each once, although 189 were wanted: nobody gave up on a conflict',
        );
        for (const [i, session] of sessions.entries())
          assert.deepEqual(await held(session, pool), sorted(given.slice(3 * i, 3 * i + 3).flat()));
      }),
    );

    it('released ones cool before others get them; their host may have them at once; tokens rise', async () => {
      const clock = new TestClock();
      await on(
        factory,
        async ({ nsdb }) => {
          const pool = await newPool(nsdb);
          const [one, two] = [await newSession(nsdb), await newSession(nsdb)];
          const [a] = await one.allocate(pool, upTo(0), 1, COOL);
          await two.release([a]);
          assert.deepEqual(await held(one, pool), [a], 'a foreign number is passed over');
          await one.release([
            { ...a, token: a.token - 1 || 7 },
            { ...a, index: 5 },
            { ...a, pool: 'free/x/y' },
          ]);
          assert.deepEqual(await held(one, pool), [a], 'so are an old token and unknown numbers');
          await one.release([a]);
          await one.release([a]);
          assert.deepEqual(await held(one, pool), []);
          clock.advance(COOL / 2);
          assert.deepEqual(await two.allocate(pool, upTo(0), 1, 0), []);
          assert.deepEqual(await nsdb.poolUsage(pool), [
            { index: 0, token: a.token, hostId: one.hostId, coolsFor: COOL / 2 },
          ]);
          const [b] = await one.allocate(pool, upTo(0), 1, 2 * COOL);
          assert.ok(b.token > a.token);
          await one.release([a]);
          assert.deepEqual(await held(one, pool), [b], 'a late release of the earlier allocation does nothing');
          await one.release([b]);
          clock.advance(2 * COOL - 1);
          assert.deepEqual(await two.allocate(pool, upTo(0), 1, COOL), [], 'the time that its holder asked for');
          clock.advance(1);
          assert.deepEqual(await nsdb.poolUsage(pool), []);
          const [c] = await two.allocate(pool, upTo(0), 1, COOL);
          assert.ok(c.token > b.token);
          assert.deepEqual(await one.allocate(pool, upTo(0), 1, COOL), []);
        },
        { clock },
      )();
    });

    it('a list tells of what was asked for before, and a dead host that comes back never shares with who takes its numbers', async () => {
      const clock = new TestClock();
      await on(
        factory,
        async ({ nsdb, another }) => {
          const pool = await newPool(nsdb);
          const [one, two] = [await newSession(nsdb), await newSession(await another())];
          let session = one;
          let [kept, taken] = [0, 0];
          for (let round = 0; round < 30; round++) {
            const [given, list] = await Promise.all([session.allocate(pool, upTo(3), 4, COOL), session.allocations()]);
            assert.deepEqual(sorted(list), sorted(given));
            await session.close({ leave: true });
            clock.advance(COOL);
            const stealing = delayed(round % 3, () => two.allocate(pool, upTo(1), 2, COOL));
            const comeBack = async () => {
              session = await nsdb.openSession(one.hostId);
              return session.allocations();
            };
            // However fast a store is to the one or the other: sometimes the thief is surely first.
            const [stolen, back] = await Promise.all([
              stealing,
              round % 10 === 9 ? stealing.then(comeBack) : delayed((round >> 2) % 3, comeBack),
            ]);
            const rest = await session.allocations();
            for (const index of indexes(stolen))
              assert.ok(!indexes(back).includes(index) && !indexes(rest).includes(index), `${index} has two holders`);
            assert.equal(rest.length + stolen.length, 4);
            if (stolen.length > 0) taken++;
            else kept++;
            await session.release(rest);
            await two.release(stolen);
            clock.advance(COOL);
          }
          assert.ok(kept + taken === 30 && taken > 0);
        },
        { clock },
      )();
    });

    it('a host prefers what it has released itself over what is free', async () => {
      await on(factory, async ({ nsdb }) => {
        const pool = await newPool(nsdb);
        const session = await newSession(nsdb);
        const given = await session.allocate(pool, ALL, 20, COOL);
        await session.release(given);
        const again = await session.allocate(pool, ALL, 30, COOL);
        assert.equal(again.length, 30);
        for (const index of indexes(given)) assert.ok(indexes(again).includes(index));
      })();
    });

    it('of a host that leaves, or is unregistered, cool from then on; it holds on what nobody got meanwhile', async () => {
      const clock = new TestClock();
      await on(
        factory,
        async ({ nsdb, another }) => {
          const pool = await newPool(nsdb);
          const [one, two] = [await newSession(nsdb), await newSession(await another())];
          const given = await one.allocate(pool, upTo(3), 4, COOL);
          await one.close({ leave: true });
          clock.advance(COOL - 1);
          assert.deepEqual(await two.allocate(pool, upTo(3), 4, COOL), []);
          assert.deepEqual(
            (await nsdb.poolUsage(pool)).map(({ hostId, coolsFor }) => [hostId, coolsFor]),
            Array(4).fill([one.hostId, 1]),
          );
          clock.advance(1);
          const taken = await two.allocate(pool, upTo(3), 1, COOL);
          assert.ok(taken[0].token > given.find(({ index }) => index === taken[0].index)!.token);
          const back = await nsdb.openSession(one.hostId);
          const kept = sorted(given.filter(({ index }) => index !== taken[0].index));
          assert.deepEqual(await held(back, pool), kept, 'with the tokens it had');
          assert.deepEqual(await two.allocate(pool, upTo(3), 4, COOL), [], 'it is alive again');
          await back.release(given);
          assert.deepEqual(await held(two, pool), taken, 'what was lost cannot be released');
          const more = await back.allocate(pool, upTo(3), 4, COOL);
          await nsdb.transact((tx) => tx.delete('Host', one.hostId));
          assert.deepEqual(
            await held(back, pool),
            sorted(more),
            'an unregistered host that lives on goes on using them',
          );
          await back.close({ leave: true });
          clock.advance(COOL - 1);
          assert.deepEqual(await two.allocate(pool, upTo(3), 4, COOL), []);
          clock.advance(1);
          assert.deepEqual(indexes(await two.allocate(pool, upTo(3), 4, COOL)), indexes(more));
        },
        { clock },
      )();
    });

    it('that nobody holds are kept by who needs them, with their tokens; nothing new is given from them', async () => {
      const clock = new TestClock();
      await on(
        factory,
        async ({ nsdb, another }) => {
          const pool = await newPool(nsdb);
          const [gone, heir, other] = [
            await newSession(nsdb),
            await newSession(await another()),
            await newSession(await another()),
          ];
          const given = sorted(await gone.allocate(pool, upTo(2), 3, COOL));
          const marked = given.map((allocation) => ({ ...allocation, kept: true }));
          assert.deepEqual(await heir.keep(given), [], 'who lives keeps its own');
          await gone.close({ leave: true });
          const [first, second] = given;
          assert.deepEqual(await heir.keep([first, { ...second, token: second.token - 1 }]), [marked[0]]);
          assert.deepEqual(await heir.keep([first]), [marked[0]], 'again');
          assert.deepEqual(await other.keep(given), marked.slice(1), 'whoever comes first');
          assert.deepEqual(await held(heir, pool), [marked[0]]);
          clock.advance(10 * COOL);
          assert.deepEqual(await other.allocate(pool, upTo(2), 3, COOL), [], 'they are held');
          const back = await nsdb.openSession(gone.hostId);
          assert.deepEqual(await held(back, pool), [], 'also when their first holder comes back');
          assert.deepEqual(await back.keep(given), []);

          // Given back, it cools for its last holder, too: something of a third one may stand on it, who keeps it then.
          await heir.release([first]);
          assert.deepEqual(await heir.allocate(pool, upTo(2), 3, COOL), []);
          assert.deepEqual(await other.keep([first]), [marked[0]]);
          await other.release(given);
          clock.advance(COOL - 1);
          assert.deepEqual(await heir.allocate(pool, upTo(2), 3, COOL), []);
          clock.advance(1);
          const anew = await heir.allocate(pool, upTo(2), 3, COOL);
          assert.deepEqual(indexes(anew), [0, 1, 2]);
          for (const { token, kept } of anew) assert.ok(token > given[0].token && kept === undefined);
          assert.deepEqual(await other.keep(given), [], 'given to somebody else meanwhile');
        },
        { clock },
      )();
    });

    it('of a host without session cool only when the grace time is over and nobody vouches', async () => {
      const clock = new TestClock();
      await on(
        factory,
        async ({ nsdb, another }) => {
          const pool = await newPool(nsdb);
          const [gone, vouched, two] = [
            await newSession(nsdb),
            await newSession(nsdb),
            await newSession(await another()),
          ];
          const [a] = await gone.allocate(pool, upTo(0), 1, COOL);
          const [b] = await vouched.allocate(pool, { first: 1, last: 1 }, 1, COOL);
          const heartbeat = setInterval(() => two.vouch(vouched.hostId), 15);
          try {
            two.vouch(vouched.hostId);
            await gone.close();
            await vouched.close();
            clock.advance(10 * COOL);
            const coolsFor = async (index: number) =>
              (await nsdb.poolUsage(pool)).find((number) => number.index === index)?.coolsFor;
            await until(async () => (await coolsFor(0)) === COOL, 'cools from its death on');
            assert.equal(await coolsFor(1), null);
            clock.advance(COOL);
            assert.deepEqual(indexes(await two.allocate(pool, upTo(1), 2, COOL)), [0]);
          } finally {
            clearInterval(heartbeat);
          }
          const back = await nsdb.openSession(vouched.hostId);
          assert.deepEqual(await held(back, pool), [b]);
          const woken = await nsdb.openSession(gone.hostId);
          assert.deepEqual(await held(woken, pool), [], 'given away meanwhile');
          await woken.release([a]);
          assert.deepEqual(indexes(await held(two, pool)), [0]);
        },
        { clock, grace: 150 },
      )();
    });

    it(
      'stay with a host that is started anew; the older start can do nothing any more',
      on(factory, async ({ nsdb, another }) => {
        const pool = await newPool(nsdb);
        const first = await newSession(nsdb);
        const given = await first.allocate(pool, ALL, 3, COOL);
        const second = await (await another()).openSession(first.hostId);
        assert.deepEqual(await held(second, pool), sorted(given));
        await refused(first.allocate(pool, ALL, 1, COOL), 'WEFT_SESSION_LOST');
        await refused(first.release(given), 'WEFT_SESSION_LOST');
        await refused(first.allocations(), 'WEFT_SESSION_LOST');
        assert.deepEqual(await held(second, pool), sorted(given));
        await second.close();
        await refused(second.allocate(pool, ALL, 1, COOL), 'WEFT_SESSION_LOST');
      }),
    );

    it('go with their owner, many in one deletion; one of the same id starts with greater tokens', async () => {
      await on(
        factory,
        async ({ nsdb }) => {
          const router = await newRouter(nsdb);
          const pools = ['a', 'b', 'c'].map((name) => `nat/${router}/${name}`);
          const [one, two] = [await newSession(nsdb), await newSession(nsdb)];
          const other = await one.allocate(await newPool(nsdb), ALL, 2, COOL);
          const first: Allocation[] = [];
          for (const pool of pools) first.push(...(await one.allocate(pool, ALL, 1_000, COOL)));
          // More often than the time goes on: tokens are ahead of it.
          for (let round = 0; round < 3; round++) {
            await one.release(first);
            first.length = 0;
            for (const pool of pools) first.push(...(await one.allocate(pool, ALL, 1_000, COOL)));
          }
          await nsdb.transact(async (tx) => {
            await tx.delete('Router', router);
            await tx.create('Router', { id: router, name: 'another' });
          });
          assert.deepEqual(await nsdb.poolUsage(pools[2]), []);
          assert.deepEqual(sorted(await one.allocations()), sorted(other), 'not those of the earlier owner');
          await nsdb.transact((tx) => tx.delete('Router', router));
          await refused(one.allocate(pools[0], ALL, 1, COOL), 'WEFT_NOT_FOUND');
          await one.release(first);
          await newRouter(nsdb, router);
          for (const pool of pools) {
            const again = await two.allocate(pool, ALL, 1_024, COOL);
            assert.equal(again.length, 1_024);
            const tokens = new Map(again.map(({ index, token }) => [index, token]));
            for (const { pool: of, index, token } of first)
              if (of === pool) assert.ok(tokens.get(index)! > token, `${tokens.get(index)} after ${token}`);
          }
          assert.deepEqual(sorted(await one.allocations()), sorted(other));
        },
        { clock: new TestClock() },
      )();
    });

    it(
      'and deletions of their owner at the same time: nothing is left of it',
      on(factory, async ({ nsdb, another }) => {
        const handle = await another();
        const sessions = [await newSession(nsdb), await newSession(handle)];
        for (let round = 0; round < 10; round++) {
          const router = await newRouter(nsdb);
          const pool = `nat/${router}/x`;
          const outcomes = await Promise.all([
            ...sessions.map((session) => session.allocate(pool, ALL, 3, COOL).then(() => {}, codeOf)),
            handle.transact((tx) => tx.delete('Router', router)).then(() => {}),
            ...sessions.map((session) => session.allocate(pool, ALL, 3, COOL).then(() => {}, codeOf)),
          ]);
          for (const code of outcomes) assert.ok(code === undefined || code === 'WEFT_NOT_FOUND', String(code));
          for (const session of sessions) assert.deepEqual(await session.allocations(), []);
          await newRouter(nsdb, router);
          for (const session of sessions) assert.deepEqual(await session.allocations(), []);
        }
      }),
    );

    it('survive links and restarts of the store; what a lost answer had given is listed', async (t) => {
      const clock = new TestClock();
      const harness = await factory({ clock });
      try {
        const { nsdb, cut, restart, down } = harness;
        if (cut === undefined || restart === undefined || down === undefined) return t.skip(cannotRestart(harness));
        const pool = await newPool(nsdb);
        const [session, other] = [await newSession(nsdb), await newSession(await harness.another())];
        const known = new Map<number, number>();
        let [losses, running] = [0, true];
        const work = async () => {
          while (running)
            await session.allocate(pool, ALL, 3, COOL).then(
              async (given) => {
                for (const { index, token } of given) known.set(index, token);
                const back = given.slice(0, 2);
                for (const { index } of back) known.delete(index);
                losses += await releaseSurely(session, back);
              },
              (error) => {
                const code = codeOf(error);
                assert.ok(code === 'WEFT_STORE_AWAY' || code === 'WEFT_OUTCOME_UNKNOWN', String(error));
                losses++;
                return sleep(5);
              },
            );
        };
        const working = work();
        for (let round = 0; round < 6; round++) {
          const before = losses;
          await until(async () => {
            await (round % 3 === 2 ? restart() : cut());
            await sleep(10);
            return losses > before;
          }, 'a call that was cut off');
        }
        running = false;
        await working;
        const up = await down();
        await until(async () => (await session.allocations().catch(codeOf)) === 'WEFT_STORE_AWAY', 'the store is away');
        await refused(session.allocate(pool, ALL, 1, COOL), 'WEFT_STORE_AWAY');
        await up();
        let mine: Allocation[] = [];
        await until(async () => (mine = await held(session, pool).catch(() => [])).length > 0, 'the session is back');
        const tokens = new Map(mine.map(({ index, token }) => [index, token]));
        for (const [index, token] of known) assert.equal(tokens.get(index), token, 'what was answered is held');
        const usage = (await nsdb.poolUsage(pool)).filter(({ coolsFor }) => coolsFor === null);
        assert.deepEqual(indexes(usage), indexes(mine), 'nothing is held that the host is not told of');
        await until(
          async () => (await other.allocations().catch(codeOf)) !== 'WEFT_STORE_AWAY',
          'the other one is back',
        );
        const rest = await other.allocate(pool, ALL, 1_024, COOL);
        assert.equal(new Set([...indexes(rest), ...indexes(mine)]).size, rest.length + mine.length);
      } finally {
        await harness.close();
      }
    });
  });
}

/** Repeats a release until its answer arrives, as a host does. Resolves with the number of answers that were lost. */
async function releaseSurely(session: HostSession, allocations: readonly Allocation[]): Promise<number> {
  for (let losses = 0; ; losses++) {
    const code = await session.release(allocations).then(() => undefined, codeOf);
    if (code === undefined) return losses;
    assert.equal(code, 'WEFT_STORE_AWAY');
    await sleep(2);
  }
}

/** Runs some turns of the event loop later. */
async function delayed<R>(turns: number, run: () => Promise<R>): Promise<R> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
  return run();
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}
