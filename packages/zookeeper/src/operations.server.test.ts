/** Every operation against a real server, and what it answers when it cannot be done. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import {
  authAcl,
  digestAcl,
  digestId,
  ipAcl,
  isZooKeeperError,
  MultiError,
  PERMS,
  worldAcl,
  ZooKeeper,
  type ZooKeeperErrorCode,
} from './index.ts';
import { needsServer, startServers, type TestEnsemble } from './testing/index.ts';

const fails = (code: ZooKeeperErrorCode) => (error: unknown) => {
  assert.ok(isZooKeeperError(error, code), `${code}: ${String(error)}`);
  return true;
};

describe('operations', { skip: needsServer() }, () => {
  let ensemble: TestEnsemble;
  let zk: ZooKeeper;
  let tests = 0;
  const open = (root: string, options = {}) =>
    ZooKeeper.connect({ servers: `${ensemble.connectString}${root}`, sessionTimeout: 4_000, ...options });

  before(async () => {
    ensemble = await startServers();
  });
  after(() => ensemble?.close());

  /** Runs with a client in a chroot of its own. */
  const test = (name: string, body: () => Promise<void>) =>
    it(name, async () => {
      zk = await open(`/test${tests++}`);
      try {
        await zk.ensurePath('/');
        await body();
      } finally {
        await zk.close();
      }
    });

  test('create, read, change, delete', async () => {
    const created = await zk.create('/a', 'one');
    assert.equal(created.path, '/a');
    assert.equal(created.stat.czxid, created.stat.mzxid);
    assert.deepEqual(await zk.getData('/a'), { data: Buffer.from('one'), stat: created.stat });
    assert.deepEqual(await zk.exists('/a'), created.stat);
    const stat = await zk.setData('/a', Buffer.from('three'), { version: 0 });
    assert.equal(stat.version, 1);
    assert.equal(stat.dataLength, 5);
    assert.ok(stat.mzxid > stat.czxid);
    assert.ok(Math.abs(stat.mtime - Date.now()) < 3_600_000);
    assert.deepEqual((await zk.getChildren('/')).children, ['a']);
    assert.equal((await zk.getChildren('/')).stat.numChildren, 1);
    await zk.delete('/a', { version: 1 });
    assert.equal(await zk.exists('/a'), undefined);
    assert.equal((await zk.create('/empty')).stat.dataLength, 0);
    assert.equal((await zk.getData('/empty')).data.length, 0);
  });

  test('names and data of any script', async () => {
    await zk.create('/grüße-漢字', 'ß漢😀');
    assert.equal((await zk.getData('/grüße-漢字')).data.toString(), 'ß漢😀');
    assert.deepEqual((await zk.getChildren('/')).children, ['grüße-漢字']);
  });

  test('kinds of nodes', async () => {
    const [first, second] = await Promise.all([
      zk.create('/s-', '', { sequential: true }),
      zk.create('/s-', '', { sequential: true, mode: 'ephemeral' }),
    ]);
    assert.match(first.path, /^\/s-\d{10}$/);
    assert.ok(second.path > first.path);
    assert.equal(second.stat.ephemeralOwner, zk.session.id);
    assert.equal(first.stat.ephemeralOwner, 0n);
    await assert.rejects(zk.create(`${second.path}/child`), fails('WEFT_ZK_EPHEMERAL_PARENT'));
    assert.deepEqual(await zk.getEphemerals(), [second.path]);
    assert.match((await zk.create('/dir/', '', { sequential: true }).catch((e) => e)).message, /NONODE/);
    await zk.create('/container', '', { mode: 'container' });
    await zk.create('/ttl', '', { ttl: 60_000 });
    assert.match((await zk.create('/ttl-', '', { ttl: 2 ** 35, sequential: true })).path, /^\/ttl-\d{10}$/);
    assert.equal(await zk.countDescendants('/'), 5);
    await assert.rejects(zk.create('/x', '', { mode: 'ephemeral', ttl: 1 }), fails('WEFT_ZK_ARGUMENT'));
    await assert.rejects(zk.create('/x', '', { mode: 'container', sequential: true }), fails('WEFT_ZK_ARGUMENT'));
  });

  test('what cannot be done', async () => {
    await zk.create('/a');
    await zk.create('/a/b');
    await assert.rejects(zk.create('/a'), fails('WEFT_ZK_NODE_EXISTS'));
    await assert.rejects(zk.create('/x/y'), fails('WEFT_ZK_NO_NODE'));
    await assert.rejects(zk.delete('/a'), fails('WEFT_ZK_NOT_EMPTY'));
    await assert.rejects(zk.delete('/x'), fails('WEFT_ZK_NO_NODE'));
    await assert.rejects(zk.setData('/a', '', { version: 7 }), fails('WEFT_ZK_BAD_VERSION'));
    await assert.rejects(zk.getData('/x'), fails('WEFT_ZK_NO_NODE'));
    await assert.rejects(zk.getChildren('/x'), fails('WEFT_ZK_NO_NODE'));
    await assert.rejects(zk.check('/a', { version: 1 }), fails('WEFT_ZK_BAD_VERSION'));
    await assert.rejects(zk.check('/x'), fails('WEFT_ZK_NO_NODE'));
    await assert.rejects(zk.getData('a'), fails('WEFT_ZK_ARGUMENT'));
    await assert.rejects(zk.setAcl('/a', []), fails('WEFT_ZK_INVALID_ACL'));
    await assert.rejects(zk.setAcl('/a', [authAcl()]), fails('WEFT_ZK_INVALID_ACL'));
    await assert.rejects(zk.setAcl('/a', [{ perms: 31, scheme: 'nosuch', id: 'x' }]), fails('WEFT_ZK_INVALID_ACL'));
    await assert.rejects(zk.removeWatches('/a', 'data'), fails('WEFT_ZK_NO_WATCHER'));
    await zk.check('/a', { version: 0 });
    await zk.sync('/a');
  });

  test('multi: all or nothing, and which one failed', async () => {
    await zk.create('/a', 'x');
    const zxids: bigint[] = [];
    const results = await zk.multi(
      [
        { op: 'check', path: '/a', version: 0 },
        { op: 'create', path: '/b', data: 'y' },
        { op: 'create', path: '/s-', sequential: true, mode: 'ephemeral' },
        { op: 'create', path: '/c', mode: 'container' },
        { op: 'create', path: '/t', ttl: 60_000 },
        { op: 'setData', path: '/a', data: 'z', version: 0 },
        { op: 'create', path: '/gone' },
        { op: 'delete', path: '/gone' },
      ],
      { onZxid: (zxid) => zxids.push(zxid) },
    );
    assert.deepEqual(
      results.map(({ op }) => op),
      ['check', 'create', 'create', 'create', 'create', 'setData', 'create', 'delete'],
    );
    const sequential = results[2];
    assert.ok(sequential.op === 'create' && /^\/s-\d{10}$/.test(sequential.path));
    assert.ok(results[5].op === 'setData' && results[5].stat.version === 1);
    const { czxid } = (await zk.exists('/b'))!;
    assert.deepEqual(zxids, [czxid]);
    assert.equal((await zk.getData('/a')).stat.mzxid, czxid);

    const failed = await zk
      .multi([
        { op: 'setData', path: '/a', data: 'never' },
        { op: 'delete', path: '/b', version: 9 },
        { op: 'create', path: '/a' },
      ])
      .catch((error) => error);
    assert.ok(failed instanceof MultiError);
    assert.deepEqual([failed.code, failed.index, failed.path], ['WEFT_ZK_BAD_VERSION', 1, '/b']);
    assert.equal((await zk.getData('/a')).data.toString(), 'z');
    assert.deepEqual(await zk.multi([]), []);
  });

  test('multiRead: each by itself', async () => {
    await zk.create('/a', 'x');
    const [data, children, missing] = await zk.multiRead([
      { op: 'getData', path: '/a' },
      { op: 'getChildren', path: '/' },
      { op: 'getData', path: '/none' },
    ]);
    assert.ok(data.op === 'getData' && data.data.toString() === 'x' && data.stat.version === 0);
    assert.deepEqual(children, { op: 'getChildren', children: ['a'] });
    assert.ok(missing.op === 'error' && missing.error.code === 'WEFT_ZK_NO_NODE' && missing.error.path === '/none');
  });

  test('ACLs: world, digest, ip, auth; and who one is', async () => {
    await zk.create('/secret', 'x', { acl: [digestAcl('bob', 'pass'), worldAcl(PERMS.admin)] });
    await zk.create('/local', 'x', { acl: [ipAcl('127.0.0.0/8', PERMS.read)] });
    await zk.create('/elsewhere', 'x', { acl: [ipAcl('10.0.0.1')] });
    await assert.rejects(zk.getData('/secret'), fails('WEFT_ZK_NO_AUTH'));
    await assert.rejects(zk.getData('/elsewhere'), fails('WEFT_ZK_NO_AUTH'));
    await assert.rejects(zk.setData('/local', ''), fails('WEFT_ZK_NO_AUTH'));
    assert.equal((await zk.getData('/local')).data.toString(), 'x');
    await zk.addAuth({ scheme: 'digest', user: 'bob', password: 'pass' });
    assert.equal((await zk.getData('/secret')).data.toString(), 'x');
    assert.ok((await zk.whoAmI()).some(({ scheme, id }) => scheme === 'digest' && id.startsWith('bob')));
    const { acl, stat } = await zk.getAcl('/secret');
    assert.deepEqual(acl, [digestAcl('bob', 'pass'), worldAcl(PERMS.admin)]);
    await assert.rejects(zk.setAcl('/secret', [worldAcl()], { version: 5 }), fails('WEFT_ZK_BAD_VERSION'));
    assert.equal((await zk.setAcl('/secret', [authAcl(PERMS.all)], { version: stat.aversion })).aversion, 1);
    assert.deepEqual((await zk.getAcl('/secret')).acl, [
      { perms: PERMS.all, scheme: 'digest', id: digestId('bob', 'pass') },
    ]);
  });

  test('credentials that are refused end the connection, not the session', async () => {
    const { id } = zk.session;
    const reconnected = once(zk, 'reconnected');
    await assert.rejects(zk.addAuth({ scheme: 'nosuch', credential: Buffer.from('x') }), fails('WEFT_ZK_AUTH_FAILED'));
    await reconnected;
    assert.equal(zk.session.id, id);
    await zk.exists('/');
  });

  test('packets that are too large fail their request only', async () => {
    let disconnects = 0;
    zk.on('disconnected', () => disconnects++);
    await assert.rejects(zk.create('/large', Buffer.alloc(2 ** 20)), fails('WEFT_ZK_TOO_LARGE'));
    await zk.create('/large', Buffer.alloc(2 ** 20 - 1_000, 7));
    const frugal = await open('', { maxResponse: 10_000 });
    const path = `/test${tests - 1}/large`;
    const [large, next] = await Promise.allSettled([frugal.getData(path), frugal.exists(path)]);
    assert.ok(large.status === 'rejected' && isZooKeeperError(large.reason, 'WEFT_ZK_TOO_LARGE'));
    assert.equal(next.status, 'fulfilled');
    assert.equal((await zk.getData('/large')).data.length, 2 ** 20 - 1_000);
    assert.equal(disconnects, 0);
    await frugal.close();
  });

  test('thousands of requests at once are answered in order', async () => {
    await zk.create('/counter', '0');
    const answers: number[] = [];
    await Promise.all(
      Array.from({ length: 5_000 }, async (_, i) => {
        if (i % 2 === 0) await zk.setData('/counter', String(i), { version: i / 2 });
        else assert.equal((await zk.getData('/counter')).data.toString(), String(i - 1));
        answers.push(i);
      }),
    );
    assert.deepEqual(
      answers,
      Array.from({ length: 5_000 }, (_, i) => i),
    );
  });

  test('closing waits for what was asked before, and takes ephemeral nodes along', async () => {
    const other = await open('');
    const root = `/test${tests - 1}`;
    const last = [other.create(`${root}/e`, '', { mode: 'ephemeral' }), other.create(`${root}/p`)];
    assert.equal(await other.close(), true);
    await Promise.all(last);
    assert.equal(await zk.exists('/e'), undefined);
    assert.notEqual(await zk.exists('/p'), undefined);
    await assert.rejects(other.exists('/'), fails('WEFT_ZK_CLOSED'));
    assert.equal(other.state, 'closed');
    assert.equal(await other.close(), true);
  });

  test('ensurePath creates what is missing, and may be repeated', async () => {
    await Promise.all([zk.ensurePath('/x/y/z'), zk.ensurePath('/x/y/z')]);
    await zk.ensurePath('/x/y/z');
    assert.deepEqual((await zk.getChildren('/x/y')).children, ['z']);
  });
});

describe('connect', { skip: needsServer() }, () => {
  it('says why when there is no server, when it is no ZooKeeper, and when it is aborted', async () => {
    const { createServer } = await import('node:net');
    const liar = createServer((socket) => socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve));
    const servers = `127.0.0.1:${(liar.address() as { port: number }).port}`;
    const failed = await ZooKeeper.connect({ servers, connectTimeout: 300 }).catch((error) => error);
    assert.ok(fails('WEFT_ZK_UNREACHABLE')(failed));
    assert.ok(isZooKeeperError(failed.cause, 'WEFT_ZK_PROTOCOL'));
    await new Promise((resolve) => liar.close(resolve));
    const refused = await ZooKeeper.connect({ servers, connectTimeout: 300 }).catch((error) => error);
    assert.ok(fails('WEFT_ZK_UNREACHABLE')(refused));
    assert.equal(refused.cause.cause.code, 'ECONNREFUSED');
    await assert.rejects(ZooKeeper.connect({ servers, signal: AbortSignal.timeout(50) }), fails('WEFT_ZK_ABORTED'));
    await assert.rejects(ZooKeeper.connect({ servers, signal: AbortSignal.abort() }), fails('WEFT_ZK_ABORTED'));
    await assert.rejects(ZooKeeper.connect({ servers, sessionTimeout: -1 }), fails('WEFT_ZK_ARGUMENT'));
  });
});
