/** Subscriptions: first content, batches, order, merging, marks. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Factory, newBridge, newPort, on, refused, until, update, Watcher } from './harness.ts';

export function subscriptionTests(factory: Factory): void {
  describe('subscriptions', () => {
    it(
      'begin with the whole content and follow every kind of interest',
      on(factory, async ({ nsdb }) => {
        const bridge = await newBridge(nsdb, 'b');
        const port = await newPort(nsdb, bridge);
        const [object, all, index, table] = [
          `o/Bridge/${bridge}`,
          'a/Bridge',
          `i/Port.bridgeId/${bridge}`,
          `t/mac/${bridge}`,
        ];
        const absent = `o/Bridge/${crypto.randomUUID()}`;
        const watcher = new Watcher(nsdb, [object, all, index, table, absent]);
        await watcher.reached(await nsdb.revision());
        assert.equal(watcher.batches[0].changes.length, 5, 'all of it in one batch');
        assert.equal(watcher.objects.get(object)!.value.name, 'b');
        assert.equal(watcher.objects.get(absent), null);
        assert.deepEqual([...watcher.sets.get(index)!], [port]);

        await update(nsdb, 'Bridge', bridge, { name: 'c' });
        const second = await newBridge(nsdb);
        const other = await newPort(nsdb, bridge);
        await nsdb.transact(async (tx) => tx.putEntry(`mac/${bridge}`, 'aa', other));
        await watcher.reached(await nsdb.revision());
        assert.equal(watcher.objects.get(object)!.value.name, 'c');
        assert.deepEqual([...watcher.all.get(all)!.keys()].sort(), [bridge, second].sort());
        assert.deepEqual([...watcher.sets.get(index)!].sort(), [port, other].sort());
        assert.equal(watcher.tables.get(table)!.get('aa')!.value, other);

        await nsdb.transact((tx) => tx.delete('Bridge', bridge));
        await watcher.reached(await nsdb.revision());
        assert.equal(watcher.objects.get(object), null);
        assert.deepEqual([...watcher.all.get(all)!.keys()], [second]);
        assert.equal(watcher.sets.get(index)!.size, 0);
        assert.equal(watcher.tables.get(table)!.size, 0);
        watcher.close();
      }),
    );

    it(
      'interests come and go; what was removed is not heard of any more',
      on(factory, async ({ nsdb }) => {
        const [a, b] = [await newBridge(nsdb, 'a'), await newBridge(nsdb, 'b')];
        const watcher = new Watcher(nsdb, [`o/Bridge/${a}`]);
        await watcher.reached(await nsdb.revision());
        watcher.subscription.add([`o/Bridge/${b}`]);
        await until(() => watcher.objects.has(`o/Bridge/${b}`), 'the added interest arrives');
        watcher.subscription.remove([`o/Bridge/${a}`]);
        const mark = watcher.batches.length;
        await update(nsdb, 'Bridge', a, { name: 'a2' });
        await update(nsdb, 'Bridge', b, { name: 'b2' });
        await watcher.reached(await nsdb.revision());
        assert.equal(watcher.objects.get(`o/Bridge/${a}`)!.value.name, 'a');
        assert.ok(
          watcher.batches.slice(mark).every(({ changes }) => changes.every((c) => c.interest !== `o/Bridge/${a}`)),
        );
        assert.equal(watcher.objects.get(`o/Bridge/${b}`)!.value.name, 'b2');
        watcher.subscription.add([`o/Bridge/${a}`]);
        await until(() => watcher.objects.get(`o/Bridge/${a}`)!.value.name === 'a2', 'current content after re-adding');
        await refused((async () => watcher.subscription.add(['nonsense']))(), 'WEFT_INVALID');
        watcher.close();
        const after = watcher.batches.length;
        await update(nsdb, 'Bridge', b, { name: 'b3' });
        await sleep(100);
        assert.equal(watcher.batches.length, after, 'nothing after close');
      }),
    );

    it(
      'a busy subscriber gets what happened meanwhile merged, one batch at a time, ending in the last state',
      on(factory, async ({ nsdb }) => {
        const id = await newBridge(nsdb, '0');
        const watcher = new Watcher(nsdb, [`o/Bridge/${id}`, `i/Port.bridgeId/${id}`]);
        let free = (): void => {};
        const blocked = new Promise<void>((resolve) => {
          free = resolve;
        });
        watcher.afterBatch = () => blocked;
        await until(() => watcher.batches.length === 1, 'the first batch');
        for (let i = 1; i <= 40; i++) await update(nsdb, 'Bridge', id, { name: String(i) });
        const port = await newPort(nsdb, id);
        await nsdb.transact((tx) => tx.delete('Port', port));
        const kept = await newPort(nsdb, id);
        assert.equal(watcher.batches.length, 1);
        free();
        watcher.afterBatch = () => {};
        await watcher.reached(await nsdb.revision());
        assert.equal(watcher.objects.get(`o/Bridge/${id}`)!.value.name, '40');
        assert.deepEqual([...watcher.sets.get(`i/Port.bridgeId/${id}`)!], [kept]);
        assert.ok(watcher.batches.length < 10, `merged into few (${watcher.batches.length})`);
        watcher.close();
      }),
    );

    it(
      'a quiet subscriber is told how far the store has got, and costs it no content',
      on(factory, async ({ nsdb, another }) => {
        const mine = await newBridge(nsdb, 'mine');
        const watcher = new Watcher(await another(), [`o/Bridge/${mine}`, `i/Port.bridgeId/${mine}`, `t/mac/${mine}`]);
        await watcher.reached(await nsdb.revision());
        const before = watcher.subscription.bytesReceived;
        for (let round = 0; round < 10; round++) await Promise.all(Array.from({ length: 100 }, () => newBridge(nsdb)));
        await watcher.reached(await nsdb.revision());
        assert.equal(watcher.subscription.bytesReceived, before);
        assert.equal(watcher.batches.slice(1).flatMap(({ changes }) => changes).length, 0);
        watcher.close();
      }),
    );

    it(
      'adding a port wakes those who watch the set, not those who watch the bridge',
      on(factory, async ({ nsdb }) => {
        const bridge = await newBridge(nsdb);
        const [ofBridge, ofSet] = [
          new Watcher(nsdb, [`o/Bridge/${bridge}`]),
          new Watcher(nsdb, [`i/Port.bridgeId/${bridge}`]),
        ];
        await Promise.all([ofBridge, ofSet].map(async (w) => w.reached(await nsdb.revision())));
        await newPort(nsdb, bridge);
        await Promise.all([ofBridge, ofSet].map(async (w) => w.reached(await nsdb.revision())));
        assert.equal(ofSet.sets.get(`i/Port.bridgeId/${bridge}`)!.size, 1);
        assert.equal(ofBridge.batches.flatMap(({ changes }) => changes).length, 1);
        ofBridge.close();
        ofSet.close();
      }),
    );

    it(
      'a subscriber that throws is not cut off',
      on(factory, async ({ nsdb }) => {
        const id = await newBridge(nsdb, 'a');
        const watcher = new Watcher(nsdb, [`o/Bridge/${id}`]);
        const seen: unknown[] = [];
        const listener = (reason: unknown) => seen.push(reason);
        const listeners = process.listeners('unhandledRejection');
        process.removeAllListeners('unhandledRejection');
        process.on('unhandledRejection', listener);
        try {
          watcher.afterBatch = () => {
            throw new Error('my own fault');
          };
          await until(() => seen.length > 0, 'the fault is reported');
          watcher.afterBatch = () => {};
          await update(nsdb, 'Bridge', id, { name: 'b' });
          await until(() => watcher.objects.get(`o/Bridge/${id}`)?.value.name === 'b', 'the next batch');
        } finally {
          process.off('unhandledRejection', listener);
          for (const other of listeners) process.on('unhandledRejection', other);
          watcher.close();
        }
      }),
    );
  });
}
