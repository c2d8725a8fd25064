/** Transactions: all or nothing, optimistic, bounded. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Factory, newBridge, newPort, on, refused, update } from './harness.ts';

export function transactionTests(factory: Factory): void {
  describe('transactions', () => {
    it(
      'see their own writes, in any order, and end as one revision',
      on(factory, async ({ nsdb }) => {
        const { revision, result } = await nsdb.transact(async (tx) => {
          const id = crypto.randomUUID();
          const port = await tx.create<{ id: string }>('Port', { bridgeId: id });
          const bridge = await tx.create<{ id: string }>('Bridge', { id, name: 'b' });
          assert.deepEqual(await tx.referrers('Port', 'bridgeId', id), [port.id]);
          assert.equal((await tx.get('Bridge', id))!.value.name, 'b');
          const gone = await tx.create<{ id: string }>('Port', { bridgeId: id });
          await tx.delete('Port', gone.id);
          assert.equal(await tx.get('Port', gone.id), undefined);
          return { bridge: bridge.id, port: port.id, gone: gone.id };
        });
        assert.equal((await nsdb.get('Bridge', result.bridge))!.version, revision);
        assert.equal((await nsdb.get('Port', result.port))!.version, revision);
        assert.equal(await nsdb.get('Port', result.gone), undefined);
      }),
    );

    it(
      'an error in the body, or at the end, leaves nothing behind',
      on(factory, async ({ nsdb }) => {
        const before = await nsdb.revision();
        const own = new Error('own');
        await assert.rejects(
          nsdb.transact(async (tx) => {
            await tx.create('Bridge', { name: 'b' });
            throw own;
          }),
          own,
        );
        await refused(
          nsdb.transact(async (tx) => {
            await tx.create('Bridge', { name: 'b' });
            await tx.create('Port', { bridgeId: crypto.randomUUID() });
          }),
          'WEFT_REFERENCE',
        );
        assert.deepEqual(await nsdb.list('Bridge'), []);
        assert.equal(await nsdb.revision(), before);
      }),
    );

    it(
      'lose no update, with many clients on one object',
      on(factory, async ({ nsdb, another }) => {
        const id = await newBridge(nsdb, '0');
        const clients = [nsdb, await another(), await another()];
        await Promise.all(
          Array.from({ length: 90 }, (_, i) =>
            clients[i % 3].transact(async (tx) => {
              const { value } = (await tx.get('Bridge', id))!;
              await tx.update('Bridge', id, { ...value, name: String(Number(value.name) + 1) });
            }),
          ),
        );
        assert.equal((await nsdb.get('Bridge', id))!.value.name, '90');
      }),
    );

    it(
      'check what they only read: an object, an absence, a set of referrers',
      on(factory, async ({ nsdb, another }) => {
        const other = await another();
        const [read, written] = [await newBridge(nsdb, 'old'), await newBridge(nsdb)];
        const absent = crypto.randomUUID();
        const cases: {
          interfere(): Promise<unknown>;
          look(tx: Parameters<Parameters<typeof nsdb.transact>[0]>[0]): Promise<string>;
        }[] = [
          {
            interfere: () => update(other, 'Bridge', read, { name: 'new' }),
            look: async (tx) => String((await tx.get('Bridge', read))!.value.name),
          },
          {
            interfere: () => other.transact((tx) => tx.create('Bridge', { id: absent, name: 'b' })),
            look: async (tx) => String((await tx.get('Bridge', absent)) !== undefined),
          },
          {
            interfere: () => newPort(other, read),
            look: async (tx) => String((await tx.referrers('Port', 'bridgeId', read)).length),
          },
        ];
        for (const { interfere, look } of cases) {
          const seen: string[] = [];
          await nsdb.transact(async (tx) => {
            seen.push(await look(tx));
            if (seen.length === 1) await interfere();
            await tx.update('Bridge', written, { ...(await tx.get('Bridge', written))!.value, name: seen.at(-1)! });
          });
          assert.equal(seen.length, 2, 'ran again after the interference');
          assert.notEqual(seen[0], seen[1]);
          assert.equal((await nsdb.get('Bridge', written))!.value.name, seen[1]);
        }
      }),
    );

    it(
      'an error from a view that was overtaken does not count',
      on(factory, async ({ nsdb, another }) => {
        const other = await another();
        const id = await newBridge(nsdb, 'bad');
        let runs = 0;
        await nsdb.transact(async (tx) => {
          const name = (await tx.get('Bridge', id))!.value.name;
          if (runs++ === 0) await update(other, 'Bridge', id, { name: 'good' });
          if (name === 'bad') throw new Error('saw the old state');
        });
        assert.equal(runs, 2);
      }),
    );

    it(
      'a reference to what is deleted at the same time never dangles',
      on(factory, async ({ nsdb, another }) => {
        const other = await another();
        for (let round = 0; round < 10; round++) {
          const bridge = await newBridge(nsdb);
          const outcomes = await Promise.allSettled([
            newPort(nsdb, bridge),
            newPort(other, bridge),
            other.transact((tx) => tx.delete('Bridge', bridge)),
            newPort(nsdb, bridge),
          ]);
          assert.equal(outcomes[2].status, 'fulfilled');
          assert.equal(await nsdb.get('Bridge', bridge), undefined);
          assert.deepEqual(await nsdb.referrers('Port', 'bridgeId', bridge), []);
        }
        assert.deepEqual(await nsdb.list('Port'), []);
      }),
    );

    it(
      'too large ones are refused and never split',
      on(factory, async ({ nsdb }) => {
        const bridge = await newBridge(nsdb);
        const before = await nsdb.revision();
        await refused(
          nsdb.transact(async (tx) => {
            for (let i = 0; i < 10_001; i++) tx.putEntry(`mac/${bridge}`, `k${i}`, 'v');
          }),
          'WEFT_TOO_LARGE',
        );
        await refused(
          nsdb.transact(async (tx) => {
            for (let i = 0; i < 5_000; i++) tx.putEntry(`mac/${bridge}`, `k${i}`, 'v'.repeat(1_000));
          }),
          'WEFT_TOO_LARGE',
        );
        assert.equal(await nsdb.revision(), before);
        assert.deepEqual(await nsdb.entries(`mac/${bridge}`), []);
        await nsdb.transact(async (tx) => {
          for (let i = 0; i < 9_000; i++) tx.putEntry(`mac/${bridge}`, `k${i}`, 'v');
        });
        assert.equal((await nsdb.entries(`mac/${bridge}`)).length, 9_000);
      }),
    );
  });
}
