/** Objects one by one: validation, versions, references, unique values, delete behaviour, tunnel keys. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { type Factory, newBridge, newHost, newPort, on, refused, update } from './harness.ts';

export function objectTests(factory: Factory): void {
  describe('objects', () => {
    it(
      'are stored with defaults, read, listed, changed and deleted; the version is the revision of the last change',
      on(factory, async ({ nsdb }) => {
        const { revision, result } = await nsdb.transact((tx) => tx.create('Bridge', { name: 'b' }));
        const id = result.id as string;
        assert.equal(result.adminStateUp, true);
        assert.deepEqual(await nsdb.get('Bridge', id), { type: 'Bridge', id, version: revision, value: result });
        assert.equal(await nsdb.revision(), revision);
        const later = await update(nsdb, 'Bridge', id, { name: 'c' });
        assert.ok(later > revision);
        const [listed, ...others] = await nsdb.list('Bridge');
        assert.equal(others.length, 0);
        assert.equal(listed.version, later);
        assert.equal(listed.value.name, 'c');
        await nsdb.transact((tx) => tx.delete('Bridge', id));
        assert.equal(await nsdb.get('Bridge', id), undefined);
        assert.deepEqual(await nsdb.list('Bridge'), []);
      }),
    );

    it(
      'refuse what the model refuses, with violations, and change nothing',
      on(factory, async ({ nsdb }) => {
        const before = await nsdb.revision();
        const error = await refused(
          nsdb.transact((tx) => tx.create('Bridge', { name: 'b', adminStateUp: 7 })),
          'WEFT_INVALID',
        );
        assert.equal((error.violations[0] as { property: string }).property, 'adminStateUp');
        await refused(
          nsdb.transact((tx) => tx.create('Nonsense', {})),
          'WEFT_UNKNOWN_TYPE',
        );
        await refused(
          nsdb.transact((tx) => tx.get('constructor', 'x')),
          'WEFT_UNKNOWN_TYPE',
        );
        await refused(nsdb.get('Bridge', '../x'), 'WEFT_INVALID');
        await refused(nsdb.referrers('Port', 'name', randomUUID()), 'WEFT_UNKNOWN_TYPE');
        await refused(
          nsdb.transact((tx) => tx.update('Bridge', randomUUID(), { name: 'x' })),
          'WEFT_NOT_FOUND',
        );
        await refused(
          nsdb.transact((tx) => tx.delete('Bridge', randomUUID())),
          'WEFT_NOT_FOUND',
        );
        assert.equal(await nsdb.revision(), before);
      }),
    );

    it(
      'are changed and deleted only at the version that was named',
      on(factory, async ({ nsdb }) => {
        const id = await newBridge(nsdb);
        const old = (await nsdb.get('Bridge', id))!;
        const version = await update(nsdb, 'Bridge', id, { name: 'newer' });
        await refused(
          nsdb.transact((tx) => tx.update('Bridge', id, { name: 'x' }, old.version)),
          'WEFT_VERSION_CONFLICT',
        );
        await refused(
          nsdb.transact((tx) => tx.delete('Bridge', id, old.version)),
          'WEFT_VERSION_CONFLICT',
        );
        await nsdb.transact((tx) => tx.update('Bridge', id, { name: 'x' }, version));
        assert.equal((await nsdb.get('Bridge', id))!.value.name, 'x');
      }),
    );

    it(
      'a change to the same value writes nothing',
      on(factory, async ({ nsdb }) => {
        const id = await newBridge(nsdb);
        const before = (await nsdb.get('Bridge', id))!;
        await nsdb.transact((tx) => tx.update('Bridge', id, { ...before.value }));
        assert.deepEqual(await nsdb.get('Bridge', id), before);
        assert.equal(await nsdb.revision(), before.version);
      }),
    );

    it(
      'ids and unique values exist once, and are free again after deletion or change',
      on(factory, async ({ nsdb }) => {
        const id = randomUUID();
        await nsdb.transact((tx) => tx.create('Bridge', { id, name: 'b' }));
        await refused(
          nsdb.transact((tx) => tx.create('Bridge', { id, name: 'b' })),
          'WEFT_DUPLICATE',
        );
        const port = await newPort(nsdb, id, { vlanId: 7 });
        await refused(newPort(nsdb, id, { vlanId: 7 }), 'WEFT_DUPLICATE');
        await newPort(nsdb, await newBridge(nsdb), { vlanId: 7 }); // unique within its bridge only
        await update(nsdb, 'Port', port, { vlanId: 8 });
        const second = await newPort(nsdb, id, { vlanId: 7 });
        await refused(update(nsdb, 'Port', second, { vlanId: 8 }), 'WEFT_DUPLICATE');
        await nsdb.transact((tx) => tx.delete('Port', port));
        await update(nsdb, 'Port', second, { vlanId: 8 });
        // Both at once, and swapped within one transaction.
        const two = [7, 7].map((vlanId) => newPort(nsdb, id, { vlanId }));
        const outcomes = await Promise.allSettled(two);
        assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
        const third = (outcomes.find(({ status }) => status === 'fulfilled') as PromiseFulfilledResult<string>).value;
        await nsdb.transact(async (tx) => {
          await tx.update('Port', second, { ...(await tx.get('Port', second))!.value, vlanId: 7 });
          await tx.update('Port', third, { ...(await tx.get('Port', third))!.value, vlanId: 8 });
        });
        assert.equal((await nsdb.get('Port', second))!.value.vlanId, 7);
      }),
    );

    it(
      'references lead somewhere; adding a referrer does not touch its target',
      on(factory, async ({ nsdb }) => {
        await refused(newPort(nsdb, randomUUID()), 'WEFT_REFERENCE');
        const bridge = await newBridge(nsdb);
        const before = await nsdb.get('Bridge', bridge);
        const ports = await Promise.all([newPort(nsdb, bridge), newPort(nsdb, bridge), newPort(nsdb, bridge)]);
        assert.deepEqual((await nsdb.referrers('Port', 'bridgeId', bridge)).sort(), [...ports].sort());
        assert.deepEqual(await nsdb.get('Bridge', bridge), before);
      }),
    );

    it(
      'deletion cascades, clears or is refused, as the model says',
      on(factory, async ({ nsdb }) => {
        const bridge = await newBridge(nsdb);
        const chain = (await nsdb.transact((tx) => tx.create('Chain', { name: 'c' }))).result.id as string;
        const port = await newPort(nsdb, bridge, { inboundFilterId: chain });
        const rule = (await nsdb.transact((tx) => tx.create('Rule', { chainId: chain, type: 'drop' }))).result;
        await nsdb.transact((tx) => tx.delete('Chain', chain));
        assert.equal((await nsdb.get('Port', port))!.value.inboundFilterId, undefined);
        assert.equal(await nsdb.get('Rule', rule.id as string), undefined);
        assert.deepEqual(await nsdb.referrers('Port', 'inboundFilterId', chain), []);

        const host = await newHost(nsdb);
        await nsdb.transact(async (tx) => {
          const zone = await tx.create('TunnelZone', { name: 'z', type: 'gre' });
          await tx.create('TunnelZoneHost', { tunnelZoneId: zone.id, hostId: host, ipAddress: '192.0.2.1' });
        });
        await update(nsdb, 'Port', port, { hostId: host, interfaceName: 'eth0' });
        const before = await nsdb.revision();
        await refused(
          nsdb.transact((tx) => tx.delete('Host', host)),
          'WEFT_IN_USE',
        );
        assert.equal(await nsdb.revision(), before);
        // Refused by a port that the same transaction takes away: not refused.
        await nsdb.transact(async (tx) => {
          await tx.delete('Host', host);
          await tx.delete('Bridge', bridge);
        });
        assert.equal(await nsdb.get('Port', port), undefined);
        assert.equal(await nsdb.get('Host', host), undefined);
      }),
    );

    it(
      'a host is deleted where ports were once, and changes of them go on; not where one is about to move',
      on(factory, async ({ nsdb }) => {
        const [old, now, next] = [await newHost(nsdb), await newHost(nsdb), await newHost(nsdb)];
        await nsdb.transact(async (tx) => {
          const zone = await tx.create('TunnelZone', { name: 'z', type: 'gre' });
          for (const [i, hostId] of [old, now, next].entries())
            await tx.create('TunnelZoneHost', { tunnelZoneId: zone.id, hostId, ipAddress: `192.0.2.${i + 1}` });
        });
        const binding = { hostId: now, interfaceName: 'eth0', previousHostId: old };
        const port = await newPort(nsdb, await newBridge(nsdb), binding);
        await update(nsdb, 'Port', port, { nextHostId: next, nextInterfaceName: 'eth1' });
        await refused(
          nsdb.transact((tx) => tx.delete('Host', next)),
          'WEFT_IN_USE',
        );
        await nsdb.transact((tx) => tx.delete('Host', old));
        const stored = (await nsdb.get('Port', port))!.value;
        assert.deepEqual([stored.hostId, stored.previousHostId, stored.nextHostId], [now, undefined, next]);
        await update(nsdb, 'Port', port, { adminStateUp: false });
        await refused(update(nsdb, 'Port', port, { previousHostId: old }), 'WEFT_REFERENCE');
      }),
    );

    it(
      'tunnel keys are given once, kept over updates, and not forgeable',
      on(factory, async ({ nsdb }) => {
        const bridge = await newBridge(nsdb);
        const ids = await Promise.all(Array.from({ length: 20 }, () => newPort(nsdb, bridge, { tunnelKey: 5 })));
        const values = await Promise.all(ids.map(async (id) => (await nsdb.get('Port', id))!.value));
        const keys = new Set([...values.map(({ tunnelKey }) => tunnelKey)]);
        keys.add((await nsdb.get('Bridge', bridge))!.value.tunnelKey);
        assert.equal(keys.size, 21);
        const [first] = values;
        await update(nsdb, 'Port', first.id as string, { tunnelKey: 9999, adminStateUp: false });
        assert.equal((await nsdb.get('Port', first.id as string))!.value.tunnelKey, first.tunnelKey);
      }),
    );

    it(
      'a freed tunnel key comes back only when every registered host has applied the revision that freed it',
      on(
        factory,
        async ({ nsdb }) => {
          const bridge = await newBridge(nsdb);
          const hosts = [await newHost(nsdb), await newHost(nsdb)];
          const sessions = await Promise.all(hosts.map((host) => nsdb.openSession(host)));
          await newPort(nsdb, bridge);
          const victim = await newPort(nsdb, bridge);
          const { tunnelKey } = (await nsdb.get('Port', victim))!.value;
          const { revision } = await nsdb.transact((tx) => tx.delete('Port', victim));
          await refused(newPort(nsdb, bridge), 'WEFT_KEYS_EXHAUSTED');
          sessions[0].reportApplied(revision);
          sessions[1].reportApplied(revision - 1);
          await nsdb.convergence();
          await refused(newPort(nsdb, bridge), 'WEFT_KEYS_EXHAUSTED');
          sessions[1].reportApplied(revision);
          await nsdb.convergence();
          const heir = await newPort(nsdb, bridge);
          assert.equal((await nsdb.get('Port', heir))!.value.tunnelKey, tunnelKey);
          await refused(newPort(nsdb, bridge), 'WEFT_KEYS_EXHAUSTED');
        },
        { tunnelKeys: { first: 1, last: 3 } },
      ),
    );
  });
}
