/**
 * Random hosts, deaths, releases, deletions, restarts and clocks against a model of a few lines: what may be given, what is
 * held, and that tokens rise for ever.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import fc from 'fast-check';
import type { Allocation, HostSession } from '../contract.ts';
import { openEmbedded } from '../embedded/index.ts';
import type { LmdbStore } from '../embedded/lmdb-store.ts';

const HOSTS = 3;
const NUMBERS = 6;
const SECOND = 1_000;

interface Known {
  readonly host: number;
  readonly token: number;
  readonly cool: number;
  released: number | undefined;
  readonly kept?: boolean;
}

const host = fc.nat(HOSTS - 1);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant('allocate' as const),
      host,
      first: fc.nat(NUMBERS - 1),
      span: fc.nat(NUMBERS - 1),
      count: fc.integer({ min: 1, max: NUMBERS }),
      cool: fc.integer({ min: 0, max: 5 * SECOND }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('together' as const), count: fc.integer({ min: 1, max: NUMBERS }) }),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('release' as const), host, which: fc.nat(2 ** 12) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('keep' as const), host, which: fc.nat(2 ** 12) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('leave' as const), host }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('start' as const), host }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('pass' as const), ms: fc.nat(3 * SECOND) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const), ms: fc.integer({ min: -1e7, max: 1e4 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('recreate' as const) }) },
);

it('random lives of hosts and store agree with a model', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), fc.integer(), async (steps, seed) => {
      const dir = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
      let [wall, steady] = [1_700_000_000_000, 0];
      const clock = { wall: () => wall, steady: () => steady };
      let dice = seed >>> 0;
      const random = () => (dice = (Math.imul(dice, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
      const open = () => openEmbedded({ dir, clock, random });
      let nsdb = await open();
      try {
        const ids = Array.from({ length: HOSTS }, () => crypto.randomUUID());
        for (const id of ids) await nsdb.transact((tx) => tx.create('Host', { id, name: id.slice(0, 8) }));
        const router = crypto.randomUUID();
        const create = () => nsdb.transact((tx) => tx.create('Router', { id: router, name: 'r' }));
        await create();
        const pool = `nat/${router}/192.0.2.1`;

        const numbers = new Map<number, Known>();
        const tokens = new Map<number, number>();
        const died: (number | undefined)[] = Array(HOSTS).fill(undefined);
        const sessions: (HostSession | undefined)[] = Array(HOSTS).fill(undefined);
        const known: Allocation[] = [];
        const now = () => (nsdb.store as LmdbStore).now();
        const isHeld = (number: Known) => number.released === undefined && died[number.host] === undefined;
        const freeAt = (number: Known) => (number.released ?? died[number.host])! + number.cool;
        const canHave = (who: number, index: number) => {
          const number = numbers.get(index);
          if (number === undefined) return true;
          if (isHeld(number)) return false;
          return now() >= freeAt(number) || (number.released !== undefined && number.host === who && !number.kept);
        };
        const got = (who: number, given: readonly Allocation[], cool: number) => {
          for (const { pool: of, index, token } of given) {
            assert.equal(of, pool);
            assert.ok(canHave(who, index), `${index} was not free for host ${who}`);
            assert.ok(token > (tokens.get(index) ?? 0), 'tokens rise');
            tokens.set(index, token);
            numbers.set(index, { host: who, token, cool, released: undefined });
            known.push({ pool, index, token });
          }
        };
        const start = async (who: number) => {
          sessions[who] = await nsdb.openSession(ids[who]);
          died[who] = undefined;
          return sessions[who];
        };
        const agree = async () => {
          for (const [who, session] of sessions.entries()) {
            if (session === undefined) continue;
            const expected = [...numbers].filter(([, number]) => number.host === who && isHeld(number));
            assert.deepEqual(
              new Map((await session.allocations()).map(({ index, token }) => [index, token])),
              new Map(expected.map(([index, { token }]) => [index, token])),
            );
          }
          const cooling = [...numbers].filter(([, number]) => isHeld(number) || freeAt(number) > now());
          assert.deepEqual(
            await nsdb.poolUsage(pool),
            cooling
              .sort(([a], [b]) => a - b)
              .map(([index, number]) => ({
                index,
                token: number.token,
                hostId: ids[number.host],
                coolsFor: isHeld(number) ? null : freeAt(number) - now(),
              })),
          );
        };

        for (const action of steps) {
          switch (action.op) {
            case 'allocate': {
              const { host: who, first, count, cool } = action;
              const session = sessions[who] ?? (await start(who));
              const last = Math.min(first + action.span, NUMBERS - 1);
              let possible = 0;
              for (let index = first; index <= last; index++) if (canHave(who, index)) possible++;
              const given = await session.allocate(pool, { first, last }, count, cool);
              assert.equal(given.length, Math.min(count, possible), 'as many as there are');
              for (const { index } of given) assert.ok(index >= first && index <= last);
              got(who, given, cool);
              break;
            }
            case 'together': {
              const { count } = action;
              for (let who = 0; who < HOSTS; who++) if (sessions[who] === undefined) await start(who);
              const range = { first: 0, last: NUMBERS - 1 };
              const given = await Promise.all(sessions.map((session) => session!.allocate(pool, range, count, SECOND)));
              given.forEach((some, who) => {
                got(who, some, SECOND);
              });
              break;
            }
            case 'release': {
              const { host: who, which } = action;
              const session = sessions[who] ?? (await start(who));
              // Some of all that were ever given, to whomever.
              const some = known.filter((_, i) => (which >>> (i % 12)) & 1);
              await session.release(some);
              for (const { index, token } of some) {
                const number = numbers.get(index);
                if (number?.host === who && number.token === token) number.released ??= now();
              }
              break;
            }
            case 'keep': {
              const { host: who, which } = action;
              const session = sessions[who] ?? (await start(who));
              const some = known.filter((_, i) => (which >>> (i % 12)) & 1);
              const expected = [];
              for (const { index, token } of some) {
                const number = numbers.get(index);
                if (number?.token !== token || (isHeld(number) && number.host !== who)) continue;
                const kept = number.kept || !isHeld(number);
                if (!isHeld(number)) numbers.set(index, { ...number, host: who, released: undefined, kept: true });
                expected.push({ pool, index, token, ...(kept ? { kept } : {}) });
              }
              assert.deepEqual(await session.keep(some), expected);
              break;
            }
            case 'leave':
              await sessions[action.host]?.close({ leave: true });
              if (sessions[action.host] !== undefined) died[action.host] = now();
              sessions[action.host] = undefined;
              break;
            case 'start':
              await start(action.host);
              break;
            case 'pass':
              wall += action.ms;
              steady += action.ms;
              break;
            case 'restart': {
              await nsdb.close();
              wall += action.ms;
              nsdb = await open();
              for (let who = 0; who < HOSTS; who++) if (sessions[who] !== undefined) await start(who);
              break;
            }
            case 'recreate':
              await nsdb.transact((tx) => tx.delete('Router', router));
              numbers.clear();
              await create();
              break;
          }
          await agree();
        }
      } finally {
        await nsdb.close();
        rmSync(dir, { recursive: true, force: true });
      }
    }),
    { numRuns: 60 },
  );
});
