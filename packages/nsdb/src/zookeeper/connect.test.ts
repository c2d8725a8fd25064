/** Ways in: addresses, settings, what is refused, the snapshot, and who may do what. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestId, ZooKeeper } from '@weft/zookeeper';
import { needsServer, startProxy, startServers, type TestEnsemble } from '@weft/zookeeper/testing';
import { storeAddress } from '../address.ts';
import { newBridge, newHost, newPort, refused, until, Watcher } from '../compliance/harness.ts';
import { connect } from '../connect.ts';
import { NsdbError } from '../errors.ts';
import { verifyStore } from '../transfer/verify.ts';
import { openZookeeper, type ZookeeperNsdb, type ZookeeperOptions } from './index.ts';
import { sweep } from './sweep.ts';

const dir = mkdtempSync(join(tmpdir(), 'weft-zk-store-'));
let starting: Promise<TestEnsemble> | undefined;
const ensemble = () => (starting ??= startServers());
const skip = needsServer();

after(async () => {
  await (await starting)?.close();
  rmSync(dir, { recursive: true, force: true });
});

const codeOf = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    return error instanceof NsdbError ? error.code : error;
  }
  return undefined;
};

function settings(content: unknown, mode = 0o600): string {
  const file = join(dir, `${Math.random()}.json`);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  chmodSync(file, mode);
  return file;
}

describe('the address of a store', () => {
  it('is a path or an ensemble; its settings are checked', () => {
    assert.deepEqual(storeAddress('/run/x.sock'), { socket: '/run/x.sock' });
    assert.deepEqual(storeAddress('zookeeper://a:1,b/root'), { zookeeper: { servers: 'a:1,b/root' } });
    for (const text of ['', 'x', 'zookeeper://', 'http://x'])
      assert.equal(
        codeOf(() => storeAddress(text)),
        'WEFT_STORE_CONFIG',
      );
    const good = {
      auth: [{ scheme: 'digest', user: 'u', password: 'p' }],
      tls: true,
      sessionTimeout: 5_000,
      access: { role: 'host', admin: { scheme: 'sasl', id: 'a' }, hosts: { scheme: 'digest', id: 'h:x' } },
    };
    const address = storeAddress('zookeeper://a', settings(good));
    assert.ok('zookeeper' in address && address.zookeeper.access?.role === 'host' && address.zookeeper.tls === true);
    for (const bad of [
      '{',
      [],
      { nonsense: 1 },
      { auth: {} },
      { auth: [{ scheme: 'x', user: 'u', password: 'p' }] },
      { auth: [{ scheme: 'sasl', user: 'u' }] },
      { tls: { ca: join(dir, 'absent') } },
      { access: { role: 'root' } },
      { sessionTimeout: 0.5 },
    ])
      assert.equal(
        codeOf(() => storeAddress('zookeeper://a', settings(bad))),
        'WEFT_STORE_CONFIG',
        JSON.stringify(bad),
      );
    assert.equal(
      codeOf(() => storeAddress('zookeeper://a', settings(good, 0o640))),
      'WEFT_STORE_CONFIG',
    );
  });

  it('elsewhere is used with credentials and TLS only', async () => {
    const auth = { scheme: 'sasl', user: 'u', password: 'p' } as const;
    const servers = '127.0.0.1:1,192.0.2.1:2181';
    for (const options of [{ servers }, { servers, auth }, { servers, tls: true }, { servers, auth, tls: false }])
      await refused(openZookeeper(options), 'WEFT_STORE_INSECURE');
  });
});

describe('connect to an ensemble', { skip }, () => {
  it('begins from the snapshot while it is away, and goes on by itself', async (t) => {
    const proxy = await startProxy({ port: (await ensemble()).servers[0].port });
    const options = {
      zookeeper: { servers: `${proxy.address}/snapshot`, sessionTimeout: 1_000 },
      snapshotDir: join(dir, 's'),
    };
    const first = await connect(options);
    const bridge = await newBridge(first, 'before');
    const interest = `o/Bridge/${bridge}`;
    const seen: [string, boolean | undefined][] = [];
    const revisions: number[] = [];
    const follow = async (nsdb: typeof first) => {
      const subscription = nsdb.subscribe({
        snapshot: 'test',
        onBatch: ({ changes, fromSnapshot, revision }) => {
          revisions.push(revision);
          for (const change of changes)
            if (change.kind === 'object') seen.push([String(change.object?.value.name), fromSnapshot]);
        },
      });
      // Whoever says only later what he wants: meanwhile there is nothing to be said.
      await sleep(300);
      subscription.add([interest]);
      return subscription;
    };
    const kept = await follow(first);
    await until(() => seen.length === 1, 'the content');
    kept.close();
    await first.close();
    proxy.mode = 'refuse';
    const second = await connect(options);
    t.after(() => second.close());
    t.after(() => proxy.close());
    await refused(second.revision(), 'WEFT_STORE_AWAY');
    const subscription = await follow(second);
    await until(() => seen.length === 2, 'the content from disk');
    assert.deepEqual(seen[1], ['before', true]);
    assert.ok(revisions.every((revision) => revision > 0));
    proxy.mode = 'pass';
    await until(() => seen.length === 3, 'the content from the store');
    assert.deepEqual(seen[2].slice(0, 1), ['before']);
    assert.ok(seen[2][1] !== true);
    subscription.close();
    await second.close();
    await proxy.close();
  });

  it('everybody sees one generation; another root is another store', async () => {
    const { connectString } = await ensemble();
    const [a, b, c] = await Promise.all(
      ['one', 'one', 'two'].map((root) => openZookeeper({ servers: `${connectString}/${root}` })),
    );
    assert.equal(a.generation, b.generation);
    assert.notEqual(a.generation, c.generation);
    await newBridge(a);
    assert.equal((await b.list('Bridge')).length, 1);
    assert.equal((await c.list('Bridge')).length, 0);
    await Promise.all([a, b, c].map((nsdb) => nsdb.close()));
  });

  it('the grace time is the one that somebody was told last, also for those who have come before', async () => {
    const { connectString } = await ensemble();
    const servers = `${connectString}/grace`;
    const early = await openZookeeper({ servers });
    const late: ZookeeperNsdb[] = [];
    for (const grace of [7_000, 2_000]) {
      late.push(await openZookeeper({ servers, grace }));
      await until(() => early.inner.sessions.grace === grace, `${grace}`);
    }
    for (const nsdb of [early, ...late]) await nsdb.close();
  });

  it('what was deleted leaves nothing behind that is old, and comes again', async (t) => {
    const nsdb = await openZookeeper({ servers: `${(await ensemble()).connectString}/sweep` });
    t.after(() => nsdb.close());
    const bridge = await newBridge(nsdb);
    const port = await newPort(nsdb, bridge, { vlanId: 7 });
    const session = await nsdb.openSession(await newHost(nsdb));
    await session.put(`mac/${bridge}`, 'k', 'v');
    await nsdb.transact((tx) => tx.delete('Bridge', bridge));
    assert.ok((await nsdb.zookeeper.image()).garbage >= 3, 'bridge, port, its VLAN');
    assert.equal(await sweep(nsdb.zookeeper), 0, 'nothing is old');
    assert.ok((await sweep(nsdb.zookeeper, -1_000)) >= 3);
    assert.equal((await nsdb.zookeeper.image()).garbage, 0);
    await nsdb.transact(async (tx) => {
      await tx.create('Bridge', { id: bridge, name: 'again' });
      await tx.create('Port', { id: port, bridgeId: bridge, vlanId: 7 });
    });
    assert.deepEqual(await nsdb.entries(`mac/${bridge}`), []);
    await session.put(`mac/${bridge}`, 'k', 'w');
    assert.equal((await nsdb.entries(`mac/${bridge}`))[0].value, 'w');
    assert.deepEqual(verifyStore(await nsdb.zookeeper.image()), []);
  });

  it('a host writes what is its own, and nothing else; who is nobody reads nothing', async (t) => {
    const servers = `${(await ensemble()).connectString}/access`;
    const user = (name: string) => ({ scheme: 'digest', user: name, password: `secret of ${name}` }) as const;
    const identity = (name: string) => ({ scheme: 'digest', id: digestId(name, `secret of ${name}`) });
    const as = (role: 'admin' | 'host', ...names: string[]): ZookeeperOptions => ({
      servers,
      auth: names.map(user),
      access: { role, admin: identity('admin'), hosts: identity('hosts'), host: (id) => identity(`host-${id}`) },
    });
    const admin = await openZookeeper(as('admin', 'admin'));
    t.after(() => admin.close());
    const bridge = await newBridge(admin);
    const table = `mac/${bridge}`;
    const [one, two] = [await newHost(admin), await newHost(admin)];
    const agent = await openZookeeper(as('host', 'hosts', `host-${one}`));
    t.after(() => agent.close());
    const session = await agent.openSession(one);
    const watcher = new Watcher(admin, [`t/${table}`]);
    await session.put(table, 'k', 'v');
    await watcher.reached(await admin.revision());
    assert.equal(watcher.tables.get(`t/${table}`)?.get('k')?.owner, one);
    watcher.close();
    const router = (await admin.transact((tx) => tx.create('Router', { name: 'r' }))).result.id;
    assert.equal((await session.allocate(`nat/${router}/x`, { first: 0, last: 9 }, 3, 0)).length, 3);
    session.reportApplied(await agent.revision());
    await until(
      async () => (await admin.convergence()).some(({ hostId, applied }) => hostId === one && applied !== null),
      'its report',
    );
    for (const forbidden of [
      newBridge(agent),
      agent.transact((tx) => tx.delete('Bridge', bridge)),
      agent.transact(async (tx) => tx.putEntry(table, 'k', 'persistent')),
      agent.openSession(two),
    ])
      await refused(forbidden, 'WEFT_STORE_DENIED');
    // Not by what the agent's code refrains from, either.
    const raw = await ZooKeeper.connect({ servers, auth: ['hosts', `host-${two}`].map(user) });
    const owned = await agent.inner.store.ownedBy(one);
    assert.equal(owned.length, 2);
    const epoch = Buffer.from((await raw.getData(`/t/mac/${bridge}`)).data).toString();
    const space = `/t/mac/${bridge}/${epoch}/_/${one}`;
    const [bucket] = (await raw.getChildren(space)).children;
    const [entry] = (await raw.getChildren(`${space}/${bucket}`)).children;
    const denied = { code: 'WEFT_ZK_NO_AUTH' };
    await assert.rejects(raw.setData(`${space}/${bucket}/${entry}`, 'forged'), denied);
    await assert.rejects(raw.delete(`${space}/${bucket}/${entry}`), denied);
    await assert.rejects(raw.create(`${space}/${bucket}/x|${one}`, 'forged'), denied);
    await assert.rejects(raw.setData(`/n/l/${one}`, 'forged'), denied);
    await assert.rejects(raw.setData(`/n/o/Bridge/${bridge}`, 'forged'), denied);
    await assert.rejects(raw.setData(`/t/mac/${bridge}`, 'forged'), denied);
    await assert.rejects(raw.setData('/generation', 'forged'), denied);
    await raw.close();
    const nobody = await ZooKeeper.connect({ servers });
    for (const path of ['/n/o', '/t', `/n/o/Bridge/${bridge}`, '/generation', '/m'])
      await assert.rejects(nobody.getChildren(path), denied, path);
    await nobody.close();
    await session.close({ leave: true });
    assert.deepEqual(await admin.entries(table), []);
  });
});
