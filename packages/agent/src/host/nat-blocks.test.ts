/** Blocks of NAT ports between worker and store: what the worker is told to hold is this host's, whatever crosses on the way. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setImmediate as yieldTo } from 'node:timers/promises';
import { type HostSession, type Nsdb, NsdbError, openEmbedded, registerHost } from '@weft/nsdb';
import { uuid } from '@weft/simulator/testing';
import type { NatBlock } from '../worker/connections/nat-pools.ts';
import { NatBlocks } from './nat-blocks.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-nat-blocks-'));
after(() => rmSync(directory, { recursive: true }));

let stores = 0;

/** A store, the host's session, and what the worker was told. Answers of the store can be held back, or lost. */
class Bench {
  readonly told: string[] = [];
  readonly events: string[] = [];
  readonly blocks: NatBlocks;
  readonly pool: string;
  readonly nsdb: Nsdb;
  readonly session: HostSession;
  /** What the agent takes for the session: null while it has none. */
  seen: HostSession | null;
  generation = 'first';
  /** Answers to these calls wait. */
  held: 'allocate' | 'allocations' | 'release' | 'keep' | null = null;
  /** The next call fails so. */
  failure: Error | null = null;
  private readonly context: TestContext;
  private readonly waiting: (() => void)[] = [];

  private constructor(context: TestContext, nsdb: Nsdb, session: HostSession, pool: string) {
    this.context = context;
    this.nsdb = nsdb;
    this.session = session;
    this.pool = pool;
    this.seen = this.disturbed();
    const bench = this;
    this.blocks = new NatBlocks(
      {
        get generation() {
          return bench.generation;
        },
      },
      () => this.seen,
      {
        granted: (name, blocks) => this.told.push(`granted ${name === pool} ${blocks === null ? null : blocks.length}`),
        kept: (blocks) => this.told.push(`kept ${blocks.map(({ index }) => index).sort()}`),
        blocks: (blocks) => this.told.push(`holds ${blocks.map(({ index }) => index).sort()}`),
      },
      { udpReplied: 8_000_000, tombstone: 9_000_000 },
      (event) => this.events.push(event),
    );
  }

  static async open(context: TestContext): Promise<Bench> {
    const nsdb = await openEmbedded({ dir: join(directory, `${stores++}`) });
    context.after(() => nsdb.close());
    await registerHost(nsdb, { id: uuid(1), name: 'h' });
    const session = await nsdb.openSession(uuid(1));
    const { result } = await nsdb.transact((tx) => tx.create<{ id: string }>('Router', {}));
    context.mock.timers.enable({ apis: ['setInterval'] });
    const bench = new Bench(context, nsdb, session, `nat/${result.id}/203.0.113.1`);
    context.after(() => bench.blocks.close());
    return bench;
  }

  /** The session, with answers as the test wants them. */
  disturbed(): HostSession {
    const { session } = this;
    const pass = async <T>(name: Bench['held'], call: () => Promise<T>): Promise<T> => {
      const { failure } = this;
      this.failure = null;
      const answer = await call();
      if (this.held === name) await new Promise<void>((resolve) => this.waiting.push(resolve));
      if (failure !== null) throw failure;
      return answer;
    };
    return {
      hostId: session.hostId,
      incarnation: session.incarnation,
      allocate: (...args: Parameters<HostSession['allocate']>) => pass('allocate', () => session.allocate(...args)),
      release: (list: readonly NatBlock[]) => pass('release', () => session.release(list)),
      keep: (list: readonly NatBlock[]) => pass('keep', () => session.keep(list)),
      allocations: () => pass('allocations', () => session.allocations()),
    } as HostSession;
  }

  /** The answers that were held back come. */
  deliver(): void {
    this.held = null;
    for (const go of this.waiting.splice(0)) go();
  }

  /** What is on its way arrives; then a second passes. */
  async second(): Promise<void> {
    await this.quiet();
    this.context.mock.timers.tick(1_000);
    await this.quiet();
  }

  async quiet(): Promise<void> {
    for (let i = 0; i < 50; i++) await yieldTo();
    // What was asked of the store before this has been answered.
    await this.nsdb.get('Host', uuid(1));
    for (let i = 0; i < 50; i++) await yieldTo();
  }

  takeTold(): string[] {
    return this.told.splice(0);
  }
}

test('at the start the worker is told what the host holds, and again only when that may have changed', async (t) => {
  const bench = await Bench.open(t);
  await bench.session.allocate(bench.pool, { first: 16, last: 17 }, 2, 1_000);
  bench.seen = null;
  bench.blocks.start();
  await bench.second();
  assert.deepEqual(bench.takeTold(), [], 'there is no session yet');
  bench.seen = bench.disturbed();
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds 16,17']);
  await bench.second();
  assert.deepEqual(bench.takeTold(), []);
  bench.generation = 'restored';
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds 16,17'], 'another generation of the store');
  bench.seen = { ...bench.disturbed(), incarnation: 99 };
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds 16,17'], 'the session began anew');
});

test('blocks come as asked for; none when there are none; null while the store is away', async (t) => {
  const bench = await Bench.open(t);
  await bench.blocks.allocate(bench.pool, 16, 18, 2);
  await bench.blocks.allocate(bench.pool, 16, 18, 2);
  await bench.blocks.allocate(bench.pool, 16, 18, 2);
  assert.deepEqual(bench.takeTold(), ['granted true 2', 'granted true 1', 'granted true 0']);
  bench.failure = new NsdbError('WEFT_STORE_AWAY');
  await bench.blocks.allocate(bench.pool, 16, 18, 1);
  assert.deepEqual([bench.takeTold(), bench.events], [['granted true null'], ['nat.refused']]);
  bench.seen = null;
  await bench.blocks.allocate(bench.pool, 16, 18, 1);
  assert.deepEqual(bench.takeTold(), ['granted true null']);
});

test('a block rests for longer than any connection can live without packets', async (t) => {
  const bench = await Bench.open(t);
  await bench.blocks.allocate(bench.pool, 16, 16, 1);
  await bench.blocks.release(await bench.session.allocations());
  const [usage] = await bench.nsdb.poolUsage(bench.pool);
  assert.ok(usage.coolsFor! > 8_000_000 && usage.coolsFor! <= 8_060_000, `${usage.coolsFor}`);
});

test('what was taken although the answer was lost is told', async (t) => {
  const bench = await Bench.open(t);
  bench.blocks.start();
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds ']);
  bench.failure = new NsdbError('WEFT_OUTCOME_UNKNOWN');
  await bench.blocks.allocate(bench.pool, 16, 16, 1);
  assert.deepEqual(bench.takeTold(), ['granted true null']);
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds 16']);
});

test('a list that was made before a block was taken, whose answer was lost, is not the last word', async (t) => {
  const bench = await Bench.open(t);
  bench.held = 'allocations';
  bench.blocks.start();
  await bench.quiet();
  bench.failure = new NsdbError('WEFT_OUTCOME_UNKNOWN');
  await bench.blocks.allocate(bench.pool, 16, 16, 1);
  bench.deliver();
  await bench.quiet();
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['granted true null', 'holds 16']);
});

test('a block that was given back is not held again because of a list that was made before', async (t) => {
  const bench = await Bench.open(t);
  await bench.session.allocate(bench.pool, { first: 16, last: 17 }, 2, 1_000);
  const given = (await bench.session.allocations()).filter(({ index }) => index === 16);
  bench.held = 'allocations';
  bench.blocks.start();
  await bench.quiet();
  await bench.blocks.release(given);
  bench.deliver();
  await bench.quiet();
  assert.deepEqual(bench.takeTold(), [], 'the list is old');
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds 17']);
});

test('a list that is made while a block is given back does not say that it is held', async (t) => {
  const bench = await Bench.open(t);
  await bench.session.allocate(bench.pool, { first: 16, last: 16 }, 1, 1_000);
  const given = await bench.session.allocations();
  bench.held = 'release';
  const released = bench.blocks.release(given);
  bench.blocks.start();
  bench.deliver();
  await released;
  await bench.second();
  assert.equal(bench.takeTold().at(-1), 'holds ');
});

test('a block that could not be given back is told as held', async (t) => {
  const bench = await Bench.open(t);
  await bench.session.allocate(bench.pool, { first: 16, last: 16 }, 1, 1_000);
  bench.blocks.start();
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds 16']);
  const { release } = bench.seen!;
  bench.seen!.release = () => Promise.reject(new NsdbError('WEFT_STORE_AWAY'));
  await bench.blocks.release(await bench.session.allocations());
  bench.seen!.release = release;
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds 16']);
});

test('blocks of a host that is gone are kept, once it is given up; what was kept although the answer was lost is told', async (t) => {
  const bench = await Bench.open(t);
  await registerHost(bench.nsdb, { id: uuid(2), name: 'gone' });
  const gone = await bench.nsdb.openSession(uuid(2));
  const given = await gone.allocate(bench.pool, { first: 16, last: 17 }, 2, 1_000);
  bench.blocks.start();
  await bench.second();
  await bench.blocks.keep(given);
  assert.deepEqual([bench.takeTold(), bench.events], [['holds '], []], 'it is there');
  await gone.close({ leave: true });
  await bench.blocks.keep(given.filter(({ index }) => index === 16));
  assert.deepEqual([bench.takeTold(), bench.events], [['kept 16'], ['nat.kept']]);
  bench.failure = new NsdbError('WEFT_OUTCOME_UNKNOWN');
  await bench.blocks.keep(given);
  await bench.second();
  assert.deepEqual(bench.takeTold(), ['holds 16,17']);
  bench.seen = null;
  await bench.blocks.keep(given);
  assert.deepEqual(bench.takeTold(), []);
});
