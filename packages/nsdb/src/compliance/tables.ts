/** State tables: who wins, who owns, what goes when. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { createObject, groupTable, securityGroupAddressesId } from '@weft/topology';
import { NsdbError } from '../errors.ts';
import { type Factory, newBridge, newHost, newPort, on, refused, until, Watcher } from './harness.ts';

export function tableTests(factory: Factory): void {
  describe('state tables', () => {
    it(
      'how much there is of what can be asked',
      on(factory, async ({ nsdb, another }) => {
        const bridges = [await newBridge(nsdb), await newBridge(nsdb)];
        const session = await nsdb.openSession(await newHost(nsdb));
        for (const key of ['02:00:00:00:00:01', '02:00:00:00:00:02']) await session.put(`mac/${bridges[0]}`, key, 'x');
        await nsdb.transact(async (tx) => tx.putEntry(`mac/${bridges[1]}`, '02:00:00:00:00:01', 'y'));
        await nsdb.transact(async (tx) => tx.putEntry(`arp/${bridges[1]}`, '192.0.2.1', 'y'));
        const { objects, entries, bytes } = await (await another()).size();
        assert.equal(objects.Bridge, 2);
        assert.equal(objects.Host, 1);
        assert.equal(objects.Port, undefined);
        if (entries !== null) assert.deepEqual({ mac: entries.mac, arp: entries.arp }, { mac: 3, arp: 1 });
        if (bytes !== null) assert.ok(bytes > 0);
        await session.close();
      }),
    );
    it(
      'learned beats persistent, the newest learned wins, and what is beneath shows again',
      on(factory, async ({ nsdb, another }) => {
        const bridge = await newBridge(nsdb);
        const table = `mac/${bridge}`;
        const [a, b] = [
          await nsdb.openSession(await newHost(nsdb)),
          await (await another()).openSession(await newHost(nsdb)),
        ];
        const watcher = new Watcher(nsdb, [`t/${table}`]);
        const shown = async () => {
          await watcher.reached(await nsdb.revision());
          const entries = await nsdb.entries(table);
          assert.deepEqual([...watcher.tables.get(`t/${table}`)!.values()], entries, 'watching and reading agree');
          return entries.map(({ value, owner }) => [value, owner]);
        };
        await a.put(table, '02:00:00:00:00:01', 'by-a');
        await nsdb.transact(async (tx) => tx.putEntry(table, '02:00:00:00:00:01', 'by-operator'));
        assert.deepEqual(await shown(), [['by-a', a.hostId]]);
        await b.put(table, '02:00:00:00:00:01', 'by-b');
        assert.deepEqual(await shown(), [['by-b', b.hostId]]);
        await a.put(table, '02:00:00:00:00:01', 'by-a-again');
        assert.deepEqual(await shown(), [['by-a-again', a.hostId]]);
        await a.remove(table, '02:00:00:00:00:01');
        assert.deepEqual(await shown(), [['by-b', b.hostId]]);
        await b.remove(table, '02:00:00:00:00:01');
        assert.deepEqual(await shown(), [['by-operator', null]]);
        await nsdb.transact(async (tx) => tx.deleteEntry(table, '02:00:00:00:00:01'));
        assert.deepEqual(await shown(), []);
        watcher.close();
      }),
    );

    it(
      'the same entry again wakes nobody; the last of many values for a key is what stays',
      on(factory, async ({ nsdb }) => {
        const bridge = await newBridge(nsdb);
        const table = `mac/${bridge}`;
        const session = await nsdb.openSession(await newHost(nsdb));
        await session.put(table, 'k', 'v');
        const before = await nsdb.revision();
        await session.put(table, 'k', 'v');
        assert.equal(await nsdb.revision(), before);
        await Promise.all(Array.from({ length: 500 }, (_, i) => session.put(table, `k${i % 5}`, String(i))));
        const values = (await nsdb.entries(table)).map(({ key, value }) => `${key}=${value}`).sort();
        assert.deepEqual(values, ['k0=495', 'k1=496', 'k2=497', 'k3=498', 'k4=499', 'k=v']);
      }),
    );

    it(
      'a host that says the same again wins back a key that another had taken meanwhile',
      on(factory, async ({ nsdb, another }) => {
        const table = `mac/${await newBridge(nsdb)}`;
        const a = await nsdb.openSession(await newHost(nsdb));
        const b = await (await another()).openSession(await newHost(nsdb));
        const owners = async () => (await nsdb.entries(table)).map(({ owner }) => owner);
        await a.put(table, 'k', 'at-a');
        await b.put(table, 'k', 'at-b');
        assert.deepEqual(await owners(), [b.hostId]);
        await a.put(table, 'k', 'at-a');
        assert.deepEqual(await owners(), [a.hostId]);
      }),
    );

    it(
      'entries need their owner, and go with it',
      on(factory, async ({ nsdb }) => {
        const bridge = await newBridge(nsdb);
        const session = await nsdb.openSession(await newHost(nsdb));
        const nowhere = `mac/${crypto.randomUUID()}`;
        await refused(session.put(nowhere, 'k', 'v'), 'WEFT_NOT_FOUND');
        await refused(
          nsdb.transact(async (tx) => tx.putEntry(nowhere, 'k', 'v')),
          'WEFT_NOT_FOUND',
        );
        // One refused entry does not take its neighbours along.
        const [good, bad] = await Promise.allSettled([
          session.put(`mac/${bridge}`, 'k', 'v'),
          session.put(nowhere, 'k', 'v'),
        ]);
        assert.deepEqual([good.status, bad.status], ['fulfilled', 'rejected']);
        await nsdb.transact(async (tx) => tx.putEntry(`arp/${bridge}`, '192.0.2.1', '02:00:00:00:00:01'));
        await session.put(`mac/${bridge}/7`, 'k', 'in-vlan');
        await nsdb.transact((tx) => tx.delete('Bridge', bridge));
        for (const table of [`mac/${bridge}`, `arp/${bridge}`, `mac/${bridge}/7`])
          assert.deepEqual(await nsdb.entries(table), []);
      }),
    );

    it(
      'what belongs to the topology is written by transactions, not by hosts',
      on(factory, async ({ nsdb }) => {
        const created = await nsdb.transact((tx) => tx.create('IpAddrGroup', { name: 'g' }));
        const group = created.result.id as string;
        const session = await nsdb.openSession(await newHost(nsdb));
        const table = `addresses/${group}`;
        await nsdb.transact(async (tx) => tx.putEntry(table, '10.0.0.0/8', ''));
        await refused(session.put(table, '10.0.0.1', ''), 'WEFT_INVALID');
        await refused(session.remove(table, '10.0.0.0/8'), 'WEFT_INVALID');
        assert.deepEqual(
          (await nsdb.entries(table)).map(({ key, owner }) => [key, owner]),
          [['10.0.0.0/8', null]],
        );
        await nsdb.transact((tx) => tx.delete('IpAddrGroup', group));
        assert.deepEqual(await nsdb.entries(table), []);
      }),
    );

    it(
      'members of a security group come and go with the ports that have them, also when their bridge goes',
      on(factory, async ({ nsdb }) => {
        const group = randomUUID();
        const [objects, addresses] = [securityGroupAddressesId(group), groupTable(securityGroupAddressesId(group))];
        await nsdb.transact((tx) => createObject(tx, 'SecurityGroup', { id: group }));
        const watcher = new Watcher(nsdb, [`t/${addresses}`]);
        const members = async () => {
          await watcher.reached(await nsdb.revision());
          const entries = await nsdb.entries(addresses);
          assert.deepEqual(
            [...watcher.tables.get(`t/${addresses}`)!.keys()].sort(),
            entries.map(({ key }) => key).sort(),
          );
          return entries.map(({ key }) => key).sort();
        };
        const [one, two] = [await newBridge(nsdb), await newBridge(nsdb)];
        const secure = { portSecurityEnabled: true, macAddress: '02:00:00:00:00:01', securityGroupIds: [group] };
        const first = await newPort(nsdb, one, { ...secure, fixedIps: ['10.0.0.1', '10.0.0.9'] });
        await newPort(nsdb, two, { ...secure, fixedIps: ['10.0.0.2', '10.0.0.9'] });
        assert.deepEqual(await members(), ['10.0.0.1', '10.0.0.2', '10.0.0.9']);

        await nsdb.transact(async (tx) => {
          const { value } = (await tx.get('Port', first))!;
          await tx.update('Port', first, { ...value, fixedIps: ['fd00::1', '10.0.0.9'] });
        });
        assert.deepEqual(await members(), ['10.0.0.2', '10.0.0.9', 'fd00::1']);
        await nsdb.transact((tx) => tx.delete('Bridge', two));
        assert.deepEqual(
          await members(),
          ['10.0.0.9', 'fd00::1'],
          'what the first has in common with the second stays',
        );
        await refused(
          nsdb.transact(async (tx) => {
            await tx.delete('Port', first);
            throw new NsdbError('WEFT_INVALID', 'thought better of it');
          }),
          'WEFT_INVALID',
        );
        assert.deepEqual(await members(), ['10.0.0.9', 'fd00::1']);
        await refused(
          nsdb.transact((tx) => tx.delete('SecurityGroup', group)),
          'WEFT_IN_USE',
        );
        await nsdb.transact(async (tx) => {
          const { value } = (await tx.get('Port', first))!;
          await tx.update('Port', first, { ...value, portSecurityEnabled: false });
        });
        assert.deepEqual(await members(), []);
        await nsdb.transact(async (tx) => {
          await tx.delete('Port', first);
          await tx.delete('SecurityGroup', group);
        });
        assert.equal(await nsdb.get('IpAddrGroup', objects), undefined);
        assert.deepEqual((await nsdb.list('Chain')).concat(await nsdb.list('Rule')), []);
        watcher.close();
      }),
    );

    it(
      'refuse keys, values and names beyond their limits',
      on(factory, async ({ nsdb }) => {
        const bridge = await newBridge(nsdb);
        const session = await nsdb.openSession(await newHost(nsdb));
        await refused(session.put(`mac/${bridge}`, 'k'.repeat(129), 'v'), 'WEFT_INVALID');
        await refused(session.put(`mac/${bridge}`, 'a\tb', 'v'), 'WEFT_INVALID');
        await refused(session.put(`mac/${bridge}`, '', 'v'), 'WEFT_INVALID');
        await refused(session.put(`mac/${bridge}`, 'k', 'v'.repeat(1025)), 'WEFT_TOO_LARGE');
        await refused(session.put('mac', 'k', 'v'), 'WEFT_INVALID');
        await refused(nsdb.entries('../x'), 'WEFT_INVALID');
        await session.put(`mac/${bridge}`, 'ü'.repeat(64), 'ü'.repeat(512));
        assert.equal((await nsdb.entries(`mac/${bridge}`))[0].value, 'ü'.repeat(512));
      }),
    );

    it(
      'ten thousand entries arrive whole, and one change costs its watcher one entry',
      on(factory, async ({ nsdb, another }) => {
        const bridge = await newBridge(nsdb);
        const table = `mac/${bridge}`;
        const session = await nsdb.openSession(await newHost(nsdb));
        await Promise.all(Array.from({ length: 10_000 }, (_, i) => session.put(table, `key-${i}`, 'x'.repeat(300))));
        const watcher = new Watcher(await another(), [`t/${table}`]);
        await until(() => watcher.tables.get(`t/${table}`)?.size === 10_000, 'the whole table');
        const [bytes, batches] = [watcher.subscription.bytesReceived, watcher.batches.length];
        await session.put(table, 'key-77', 'new');
        await until(() => watcher.tables.get(`t/${table}`)!.get('key-77')!.value === 'new', 'the change');
        assert.ok(watcher.subscription.bytesReceived - bytes < 1_000);
        const changes = watcher.batches.slice(batches).flatMap((batch) => batch.changes);
        assert.equal(changes.length, 1);
        assert.equal(changes[0].kind === 'table' && changes[0].upserts.length, 1);
        watcher.close();
      }),
    );
  });
}
