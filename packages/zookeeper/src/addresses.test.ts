import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { digestId } from './acl.ts';
import { formatServer, parseConnectString } from './connect-string.ts';
import { isZooKeeperError } from './errors.ts';
import { Chroot, checkPath, parentOf } from './paths.ts';

const isArgumentError = (error: unknown) => isZooKeeperError(error, 'WEFT_ZK_ARGUMENT');

describe('connect strings', () => {
  it('name servers and a chroot', () => {
    assert.deepEqual(parseConnectString('zk1, zk2:2182,[::1]:2183,[fe80::1]/a/b'), {
      servers: [
        { host: 'zk1', port: 2181 },
        { host: 'zk2', port: 2182 },
        { host: '::1', port: 2183 },
        { host: 'fe80::1', port: 2181 },
      ],
      chroot: '/a/b',
    });
    assert.equal(parseConnectString('zk/').chroot, '');
  });

  it('are refused when they name no server, port or path', () => {
    for (const bad of ['', '/a', 'zk,', 'zk:0', 'zk:65536', 'zk:x', '::1', '[zk]:1', 'zk//', 'zk/a/', 'zk/../a', 'a b'])
      assert.throws(() => parseConnectString(bad), isArgumentError, bad);
  });

  it('can be read back', () => {
    const port = fc.integer({ min: 1, max: 65_535 });
    const host = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV6().filter((ip) => !ip.includes('.')),
    );
    const server = fc.record({ host, port }, { noNullPrototype: true });
    fc.assert(
      fc.property(fc.array(server, { minLength: 1 }), (servers) => {
        assert.deepEqual(parseConnectString(servers.map(formatServer).join(',')).servers, servers);
      }),
    );
  });
});

describe('paths', () => {
  it('are refused as the server would refuse them', () => {
    const bad = [
      '',
      'a',
      '/a/',
      '//',
      '/a//b',
      '/.',
      '/a/..',
      '/../b',
      '/a\0',
      '/a\x1f',
      '/a\x7f',
      '/\ud800',
      '/\ue000',
      '/\uffff',
    ];
    for (const path of bad) assert.throws(() => checkPath(path), isArgumentError, JSON.stringify(path));
    for (const path of ['/', '/a', '/.a', '/a..', '/a.b/c', '/ü/漢', '/a b']) checkPath(path);
  });

  it('may end in "/" where a number is appended', () => {
    checkPath('/a/', true);
    assert.throws(() => checkPath('/a//', true), isArgumentError);
  });

  it('within a chroot are translated there and back', () => {
    const name = fc.stringMatching(/^[a-z]{1,3}$/);
    const path = fc.array(name).map((names) => `/${names.join('/')}`);
    fc.assert(
      fc.property(path, path, (root, shown) => {
        const chroot = new Chroot(root);
        const full = chroot.toServer(shown);
        checkPath(full);
        assert.equal(chroot.fromServer(full), shown);
      }),
    );
  });

  it('outside of the chroot are nobody’s', () => {
    const chroot = new Chroot('/app');
    assert.equal(chroot.fromServer('/apple'), undefined);
    assert.equal(chroot.fromServer('/'), undefined);
    assert.equal(chroot.fromServer('/app'), '/');
  });

  it('have parents up to the root', () => {
    assert.deepEqual(['/a/b', '/a', '/'].map(parentOf), ['/a', '/', undefined]);
  });
});

it('the id of a digest is the one that Apache ZooKeeper generates', () => {
  assert.equal(digestId('super', 'test'), 'super:D/InIHSb7yEEbrWz8b9l71RjZJU=');
});
