/** Sessions and watches against a real server: broken and silent links, expiry, handing over. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import {
  isZooKeeperError,
  type WatchEvent,
  ZooKeeper,
  type ZooKeeperErrorCode,
  type ZooKeeperOptions,
} from './index.ts';
import { needsServer, startProxy, startServers, type TestEnsemble, type TestProxy } from './testing/index.ts';

const fails = (code: ZooKeeperErrorCode, outcomeUnknown?: boolean) => (error: unknown) => {
  assert.ok(isZooKeeperError(error, code), `${code}: ${String(error)}`);
  if (outcomeUnknown !== undefined) assert.equal(error.outcomeUnknown, outcomeUnknown);
  return true;
};

describe('a session', { skip: needsServer() }, () => {
  let ensemble: TestEnsemble;
  let proxy: TestProxy;
  /** Reaches the server directly. */
  let direct: ZooKeeper;
  /** Comes by the proxy. */
  let zk: ZooKeeper;
  let root: string;
  let tests = 0;

  before(async () => {
    ensemble = await startServers();
  });
  after(() => ensemble?.close());

  const byProxy = (options: Partial<ZooKeeperOptions> = {}) =>
    ZooKeeper.connect({ servers: `${proxy.address},${proxy.address}${root}`, sessionTimeout: 3_000, ...options });

  /** Runs with both clients in a chroot of their own. */
  const test = (name: string, body: () => Promise<void>, options: Partial<ZooKeeperOptions> = {}) =>
    it(name, async () => {
      root = `/session${tests++}`;
      proxy = await startProxy(ensemble.servers[0]);
      direct = await ZooKeeper.connect({ servers: `${ensemble.connectString}${root}`, sessionTimeout: 4_000 });
      await direct.ensurePath('/');
      zk = await byProxy(options);
      try {
        await body();
      } finally {
        proxy.mode = 'pass';
        await Promise.all([zk.close(), direct.close()]);
        await proxy.close();
      }
    });

  const drop = async () => {
    const disconnected = once(zk, 'disconnected');
    proxy.mode = 'refuse';
    await disconnected;
  };
  const restore = async (): Promise<{ missed: boolean }> => {
    const reconnected = once(zk, 'reconnected');
    proxy.mode = 'pass';
    return (await reconnected)[0];
  };

  test('one-shot watches fire once, before the answer that shows the change', async () => {
    await direct.create('/a', '0');
    const told: string[] = [];
    const watch = (name: string) => (event: { type: string; path: string }) =>
      told.push(`${name} ${event.type} ${event.path}`);
    await zk.getData('/a', { watch: watch('data') });
    await zk.exists('/a', { watch: watch('exists') });
    await zk.exists('/b', { watch: watch('absent') });
    await zk.getChildren('/a', { watch: watch('children') });
    await assert.rejects(zk.getData('/none', { watch: watch('none') }), fails('WEFT_ZK_NO_NODE'));
    await direct.setData('/a', '1');
    await zk.sync();
    assert.deepEqual(told.splice(0), ['data dataChanged /a', 'exists dataChanged /a']);
    await direct.create('/b');
    await direct.create('/none');
    await direct.create('/a/child');
    await direct.delete('/a/child');
    await zk.sync();
    assert.deepEqual(told.splice(0), ['absent created /b', 'children childrenChanged /a']);
    await zk.getData('/a', { watch: watch('data') });
    await zk.getChildren('/a', { watch: watch('children') });
    await direct.delete('/a');
    await zk.sync();
    assert.deepEqual(told.splice(0), ['data deleted /a', 'children deleted /a']);
  });

  test('one-shot watches can be taken back', async () => {
    await direct.create('/a');
    const told: string[] = [];
    await zk.getData('/a', { watch: ({ type }) => told.push(`data ${type}`) });
    await zk.getChildren('/a', { watch: ({ type }) => told.push(`children ${type}`) });
    await zk.removeWatches('/a', 'data');
    assert.deepEqual(told, ['data removed']);
    await direct.setData('/a', '1');
    await direct.create('/a/b');
    await zk.sync();
    assert.deepEqual(told, ['data removed', 'children childrenChanged']);
    await assert.rejects(zk.removeWatches('/a', 'any'), fails('WEFT_ZK_NO_WATCHER'));
    (await zk.addWatch('/a')).close();
    await zk.addWatch('/a', { recursive: true });
    await assert.rejects(zk.getData('/a', { watch: () => {} }), fails('WEFT_ZK_ARGUMENT'));
  });

  test('persistent watches tell everything in order until they are closed', async () => {
    const one = await zk.addWatch('/a');
    const recursive = await zk.addWatch('/', { recursive: true });
    const again = await zk.addWatch('/a');
    for (let i = 0; i < 3; i++) {
      await direct.create('/a');
      await direct.setData('/a', String(i));
      await direct.create('/a/b');
      await direct.delete('/a/b');
      await direct.delete('/a');
    }
    await zk.sync();
    const read = async (watch: AsyncIterable<WatchEvent>, count: number) => {
      const events: string[] = [];
      for await (const { type, path } of watch) if (events.push(`${type} ${path}`) === count) return events;
      return events;
    };
    const once = ['created /a', 'dataChanged /a', 'childrenChanged /a', 'childrenChanged /a', 'deleted /a'];
    assert.deepEqual(await read(one, 15), [...once, ...once, ...once]);
    const all = ['created /a', 'dataChanged /a', 'created /a/b', 'deleted /a/b', 'deleted /a'];
    assert.deepEqual(await read(recursive, 15), [...all, ...all, ...all]);
    // Reading has closed two of the three. The third is still told, and the server keeps no other.
    await direct.create('/a');
    await zk.sync();
    assert.deepEqual((await read(again, 16)).slice(15), ['created /a']);
    await zk.getData('/a', { watch: () => {} });
  });

  test('goes on after a cut with its id, ephemeral nodes and watches; without changes nothing is missed', async () => {
    const { id } = zk.session;
    await zk.create('/e', '', { mode: 'ephemeral' });
    const watch = await zk.addWatch('/', { recursive: true });
    const fired: string[] = [];
    await zk.exists('/x', { watch: ({ type }) => fired.push(type) });
    await zk.getChildren('/e', { watch: ({ type }) => fired.push(type) });
    await drop();
    assert.equal(zk.state, 'disconnected');
    const { missed } = await restore();
    assert.equal(missed, false);
    assert.equal(zk.session.id, id);
    assert.deepEqual(fired, []);
    await direct.create('/x');
    await zk.sync();
    assert.deepEqual(fired, ['created']);
    const events = watch[Symbol.asyncIterator]();
    assert.deepEqual((await events.next()).value, { type: 'created', path: '/x', zxid: undefined });
    assert.equal((await direct.exists('/e'))?.ephemeralOwner, id);
  });

  test('says after a cut that persistent watches may have missed something; one-shot ones fire by themselves', async () => {
    await direct.create('/a');
    const watch = await zk.addWatch('/', { recursive: true });
    const fired: string[] = [];
    await zk.getData('/a', { watch: ({ type }) => fired.push(`data ${type}`) });
    await zk.getChildren('/a', { watch: ({ type }) => fired.push(`children ${type}`) });
    await zk.exists('/b', { watch: ({ type }) => fired.push(`exists ${type}`) });
    await drop();
    await direct.setData('/a', '1');
    await direct.create('/a/c');
    await direct.create('/b');
    const { missed } = await restore();
    assert.equal(missed, true);
    assert.deepEqual(fired.sort(), ['children childrenChanged', 'data dataChanged', 'exists created']);
    await direct.create('/d');
    const events = watch[Symbol.asyncIterator]();
    assert.deepEqual((await events.next()).value, { type: 'gap', reason: 'reconnected', path: '/' });
    assert.deepEqual((await events.next()).value, { type: 'created', path: '/d', zxid: undefined });
  });

  test('requests that a cut catches: writes fail as unknown, reads are repeated, later ones wait', async () => {
    await zk.create('/a', '0');
    proxy.mode = 'stall';
    const write = zk.setData('/a', '1');
    const read = zk.getData('/a');
    const settled = Promise.allSettled([write]);
    await new Promise(setImmediate);
    await drop();
    await settled;
    await assert.rejects(write, fails('WEFT_ZK_CONNECTION_LOST', true));
    const later = zk.setData('/a', '2');
    await restore();
    assert.ok(['0', '1', '2'].includes((await read).data.toString()));
    assert.ok((await later).version >= 1);
    assert.equal((await zk.getData('/a')).data.toString(), '2');
  });

  test('notices a link that fell silent, comes back by another, and expires nowhere', async () => {
    const { id } = zk.session;
    const disconnected = once(zk, 'disconnected');
    proxy.mode = 'stall';
    const [{ cause }] = await disconnected;
    assert.match(cause.message, /nothing was heard for 2000 ms/);
    await restore();
    assert.equal(zk.session.id, id);
  });

  test('notices a server that stands still', async () => {
    const disconnected = once(zk, 'disconnected');
    ensemble.servers[0].pause();
    try {
      await disconnected;
    } finally {
      ensemble.servers[0].resume();
    }
    await zk.whenConnected();
    await direct.whenConnected();
    await zk.exists('/');
  });

  test('is not bothered by a slow link', async () => {
    proxy.delay = 300;
    let disconnects = 0;
    zk.on('disconnected', () => disconnects++);
    await Promise.all(Array.from({ length: 100 }, (_, i) => zk.create(`/n${i}`)));
    assert.equal((await zk.getChildren('/')).children.length, 100);
    assert.equal(disconnects, 0);
  });

  test('that has expired: everything ends, and says so', async () => {
    await zk.create('/e', '', { mode: 'ephemeral' });
    const watch = await zk.addWatch('/');
    const fired: string[] = [];
    await zk.exists('/x', { watch: ({ type }) => fired.push(type) });
    await drop();
    const gone = await ZooKeeper.connect({
      servers: ensemble.connectString,
      session: zk.session,
      sessionTimeout: 3_000,
    });
    assert.equal(await gone.close(), true);
    const waiting = assert.rejects(zk.create('/y'), fails('WEFT_ZK_SESSION_EXPIRED', false));
    const expired = once(zk, 'expired');
    proxy.mode = 'pass';
    assert.ok(fails('WEFT_ZK_SESSION_EXPIRED')((await expired)[0]));
    await waiting;
    assert.equal(zk.state, 'expired');
    assert.deepEqual(fired, ['lost']);
    await assert.rejects(watch[Symbol.asyncIterator]().next(), fails('WEFT_ZK_SESSION_EXPIRED'));
    await assert.rejects(zk.exists('/'), fails('WEFT_ZK_SESSION_EXPIRED'));
    await assert.rejects(byProxy({ session: zk.session }), fails('WEFT_ZK_SESSION_EXPIRED'));
    assert.equal(await direct.exists('/e'), undefined);
  });

  test(
    'that has expired makes room for a new one where that is wanted',
    async () => {
      const { id } = zk.session;
      const watch = await zk.addWatch('/');
      await drop();
      const gone = await ZooKeeper.connect({ servers: ensemble.connectString, session: zk.session });
      await gone.close();
      const [expired, connected] = [once(zk, 'expired'), once(zk, 'connected')];
      proxy.mode = 'pass';
      await expired;
      await assert.rejects(watch[Symbol.asyncIterator]().next(), fails('WEFT_ZK_SESSION_EXPIRED'));
      const later = zk.create('/e', '', { mode: 'ephemeral' });
      const [{ sessionId }] = await connected;
      assert.notEqual(sessionId, id);
      assert.equal((await later).stat.ephemeralOwner, sessionId);
    },
    { newSessionOnExpiry: true },
  );

  test('expires at the server when its client stays away, and the client learns it', async () => {
    await zk.create('/e', '', { mode: 'ephemeral' });
    const deleted = new Promise((resolve) => direct.exists('/e', { watch: resolve }));
    await drop();
    await deleted;
    const expired = once(zk, 'expired');
    proxy.mode = 'pass';
    await expired;
  });

  test('can be handed over', async () => {
    await zk.create('/e', '', { mode: 'ephemeral' });
    const handle = zk.session;
    assert.equal(await zk.close({ keepSession: true }), false);
    const heir = await byProxy({ session: handle });
    assert.equal(heir.session.id, handle.id);
    assert.equal((await heir.exists('/e'))?.ephemeralOwner, handle.id);
    await heir.close();
    assert.equal(await direct.exists('/e'), undefined);
  });

  test('closed while it is disconnected ends at once', async () => {
    await drop();
    const waiting = assert.rejects(zk.exists('/'), fails('WEFT_ZK_CLOSED'));
    assert.equal(await zk.close(), false);
    await waiting;
  });

  test('keeps a request no longer than its time, and takes an abort', async () => {
    await drop();
    await assert.rejects(zk.create('/a', '', { timeout: 100 }), fails('WEFT_ZK_TIMEOUT', false));
    await assert.rejects(zk.create('/a', '', { signal: AbortSignal.timeout(20) }), fails('WEFT_ZK_ABORTED', false));
    await restore();
    proxy.mode = 'stall';
    await assert.rejects(zk.create('/b', '', { timeout: 100 }), fails('WEFT_ZK_TIMEOUT', true));
    await assert.rejects(zk.exists('/b', { timeout: 100 }), fails('WEFT_ZK_TIMEOUT', false));
    proxy.mode = 'pass';
    assert.equal((await zk.create('/c')).path, '/c');
    assert.deepEqual((await zk.getChildren('/')).children.sort(), ['b', 'c']);
  });

  test('with many watches names them all again', async () => {
    const count = 5_000;
    const name = (i: number) => `/${'long-name-'.repeat(10)}${i}`;
    let fired = 0;
    await Promise.all(Array.from({ length: count }, (_, i) => zk.exists(name(i), { watch: () => fired++ })));
    await zk.addWatch('/p');
    await drop();
    await restore();
    await Promise.all(Array.from({ length: count }, (_, i) => direct.create(name(i))));
    await zk.sync();
    assert.equal(fired, count);
  });
});
