/** Hosts' sessions: incarnations, grace, vouching, reconnects, convergence. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Nsdb, TableEntry } from '../contract.ts';
import { cannotRestart, type Factory, newBridge, newHost, on, refused, until, update, Watcher } from './harness.ts';

const count = async (nsdb: Nsdb, table: string) => (await nsdb.entries(table)).length;

export function sessionTests(factory: Factory): void {
  describe('host sessions', () => {
    it(
      'need a registered host; a newer start takes over, its incarnation is higher, the older one may not write any more',
      on(factory, async ({ nsdb, another }) => {
        await refused(nsdb.openSession(crypto.randomUUID()), 'WEFT_NOT_FOUND');
        const table = `mac/${await newBridge(nsdb)}`;
        const host = await newHost(nsdb);
        const first = await nsdb.openSession(host);
        await first.put(table, 'k', 'v');
        const second = await (await another()).openSession(host);
        assert.ok(second.incarnation > first.incarnation);
        await refused(first.put(table, 'k2', 'v'), 'WEFT_SESSION_LOST');
        const owned = (await second.owned()).filter(({ table: of }) => of === table);
        assert.deepEqual(
          owned.map(({ entry }) => [entry.key, entry.value, entry.owner]),
          [['k', 'v', host]],
        );
        await second.remove(table, 'k');
        assert.equal(await count(nsdb, table), 0);
      }),
    );

    it(
      'leaving takes the state along at once',
      on(factory, async ({ nsdb }) => {
        const table = `mac/${await newBridge(nsdb)}`;
        const [one, two] = [await nsdb.openSession(await newHost(nsdb)), await nsdb.openSession(await newHost(nsdb))];
        await Promise.all([one.put(table, 'one', 'v'), two.put(table, 'two', 'v')]);
        await one.close({ leave: true });
        assert.deepEqual(
          (await nsdb.entries(table)).map(({ key }) => key),
          ['two'],
        );
        await refused(one.put(table, 'one', 'v'), 'WEFT_SESSION_LOST');
        assert.deepEqual(
          (await nsdb.entries('alive/hosts')).map(({ key }) => key),
          [two.hostId],
        );
      }),
    );

    it(
      'without a session the state stays for the grace time, longer while somebody vouches, and then goes',
      on(
        factory,
        async ({ nsdb, another }) => {
          const table = `mac/${await newBridge(nsdb)}`;
          const [gone, alone, peer] = [await newHost(nsdb), await newHost(nsdb), await newHost(nsdb)];
          const witness = await nsdb.openSession(peer);
          const other = await another();
          const [a, b] = [await other.openSession(gone), await other.openSession(alone)];
          await Promise.all([a.put(table, 'vouched', 'v'), b.put(table, 'alone', 'v')]);
          const heartbeat = setInterval(() => witness.vouch(gone), 20);
          try {
            witness.vouch(gone);
            await a.close();
            await b.close();
            await until(async () => (await count(nsdb, table)) === 1, 'the host that nobody vouches for is given up');
            assert.equal((await nsdb.entries(table))[0].key, 'vouched');
            await sleep(600);
            assert.equal(await count(nsdb, table), 1, 'stays as long as it is vouched for');
          } finally {
            clearInterval(heartbeat);
          }
          await until(async () => (await count(nsdb, table)) === 0, 'goes when the vouching ends');
        },
        { grace: 200 },
      ),
    );

    it(
      'a restarted agent finds its state, if it comes in time',
      on(
        factory,
        async ({ nsdb, another }) => {
          const table = `mac/${await newBridge(nsdb)}`;
          const host = await newHost(nsdb);
          const first = await (await another()).openSession(host);
          await first.put(table, 'k', 'v');
          await first.close();
          const second = await nsdb.openSession(host);
          await sleep(500);
          assert.equal(await count(nsdb, table), 1);
          assert.ok(second.incarnation > first.incarnation);
        },
        { grace: 200 },
      ),
    );

    it(
      'convergence names every registered host, and what it applied of this generation',
      on(factory, async ({ nsdb, another }) => {
        const [quick, silent, absent] = [await newHost(nsdb), await newHost(nsdb), await newHost(nsdb)];
        const bridge = await newBridge(nsdb);
        const handle = await another();
        const session = await handle.openSession(quick);
        await (await another()).openSession(silent);
        const watcher = new Watcher(handle, [`o/Bridge/${bridge}`]);
        watcher.afterBatch = ({ revision }) => session.reportApplied(revision);
        const target = await update(nsdb, 'Bridge', bridge, { name: 'x' });
        await until(async () => {
          const hosts = new Map((await nsdb.convergence()).map((host) => [host.hostId, host]));
          assert.deepEqual(hosts.get(absent), { hostId: absent, applied: null, reachable: false, unknownFor: null });
          assert.deepEqual(hosts.get(silent), { hostId: silent, applied: null, reachable: true, unknownFor: null });
          return (hosts.get(quick)!.applied ?? -1) >= target;
        }, 'the report of the reachable host');
        await session.close();
        await until(
          async () => (await nsdb.convergence()).find(({ hostId }) => hostId === quick)!.reachable === false,
          'a closed session makes unreachable',
        );
        watcher.close();
      }),
    );

    it(
      'convergence says for how long a host has been away, by the store, whoever asks and however often it was away before',
      on(factory, async ({ nsdb, another, restart }) => {
        const [host, left] = [await newHost(nsdb), await newHost(nsdb)];
        const handle = await another();
        const awayFor = async (id: string, by: Nsdb = nsdb) =>
          (await by.convergence()).find(({ hostId }) => hostId === id)!.unknownFor;
        const noted = (id: string) => until(async () => (await awayFor(id)) !== null, 'its absence is noted');
        const session = await handle.openSession(host);
        await (await handle.openSession(left)).close({ leave: true });
        await noted(left);
        assert.equal(await awayFor(host), null);
        await session.close();
        await noted(host);
        const beforeSleep = (await awayFor(host))!;
        await sleep(300);
        const later = [await awayFor(host), await awayFor(host, await another()), await awayFor(left)];
        for (const ms of later) assert.ok(ms! >= beforeSleep + 200 && ms! < 20_000, `away for ${later} ms`);
        if (restart !== undefined) {
          await restart();
          await until(() => nsdb.revision().then(Boolean, () => false), 'the store is back');
          assert.ok((await awayFor(host))! >= later[0]!, 'the restarted store knows it still');
        }
        const second = await handle.openSession(host);
        assert.equal(await awayFor(host), null, 'it is back');
        const back = performance.now();
        await second.close();
        await noted(host);
        const again = (await awayFor(host))!;
        // The clock of a store may be behind by some 50 ms, never its reckoning of an absence.
        assert.ok(again <= performance.now() - back + 100, `its absence begins anew: ${again} ms`);
      }),
    );

    it('outlive links and restarts of the store; writes made meanwhile arrive', async (t) => {
      const harness = await factory();
      try {
        const { nsdb, down } = harness;
        if (down === undefined) return t.skip(cannotRestart(harness));
        const table = `mac/${await newBridge(nsdb)}`;
        const session = await nsdb.openSession(await newHost(nsdb));
        await session.put(table, 'before', 'v');
        const { incarnation } = session;
        const watcher = new Watcher(nsdb, [`t/${table}`]);
        await watcher.reached(await nsdb.revision());
        const up = await down();
        await until(() => watcher.links.at(-1) === false, 'the subscriber is told');
        await refused(nsdb.revision(), 'WEFT_STORE_AWAY');
        await refused(
          nsdb.transact(async () => {}),
          'WEFT_STORE_AWAY',
        );
        const written = session.put(table, 'meanwhile', 'v');
        assert.equal(watcher.tables.get(`t/${table}`)!.size, 1, 'the last state stays valid');
        const batches = watcher.batches.length;
        await up();
        await written;
        assert.equal(session.incarnation, incarnation);
        assert.deepEqual((await nsdb.entries(table)).map(({ key }) => key).sort(), ['before', 'meanwhile']);
        await watcher.reached(await nsdb.revision());
        const first = watcher.batches[batches];
        assert.ok(first.changes.length === 1 && 'reset' in first.changes[0] && first.changes[0].reset, 'content anew');
        assert.equal(watcher.links.at(-1), true);
        watcher.close();
      } finally {
        await harness.close();
      }
    });

    it('a host given up while it was cut off writes its state again, under a new incarnation', async (t) => {
      const harness = await factory({ grace: 60 });
      try {
        const { nsdb, isolate } = harness;
        if (isolate === undefined) return t.skip('this implementation has no links');
        const bridge = await newBridge(nsdb);
        const table = `mac/${bridge}`;
        const [host, silent] = [await newHost(nsdb), await newHost(nsdb)];
        const session = await nsdb.openSession(host);
        const leftover = await (await harness.another()).openSession(silent);
        await Promise.all(['k', 'gone'].map((key) => session.put(table, key, 'v')));
        await leftover.put(table, 'of-another', 'v');
        await session.remove(table, 'gone');
        const { incarnation } = session;
        const before = (await nsdb.entries(table)).find(({ key }) => key === 'k')!.version;
        const back = await isolate();
        await sleep(400);
        const late = session.put(table, 'late', 'v');
        await back();
        await late;
        let entries: TableEntry[] = [];
        const written = async () => {
          entries = await nsdb.entries(table).catch(() => []);
          const keys = entries.map(({ key }) => key).sort();
          return keys.join() === 'k,late,of-another';
        };
        await until(written, 'both hosts have written theirs again');
        assert.ok(session.incarnation > incarnation);
        const after = entries.find(({ key }) => key === 'k')!.version;
        assert.ok(after > before, 'it was gone in between');
      } finally {
        await harness.close();
      }
    });
  });
}
