import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { createNetns, deleteNetns, runIn } from '@weft/sys';
import { Underlay } from './underlay.ts';

const NS = `wagent-u${process.pid}`;
const PEER = `wagent-p${process.pid}`;
const root = process.getuid?.() === 0;
const skip = root ? false : 'needs root for network namespaces';

const ip = (ns: string, ...args: string[]) => execFileSync('ip', ['-n', ns, ...args]);

before(() => {
  if (!root) return;
  createNetns(NS);
  createNetns(PEER);
  for (const [n, mtu] of [
    [0, 1500],
    [1, 1400],
  ]) {
    ip(NS, 'link', 'add', `a${n}`, 'type', 'veth', 'peer', 'name', `b${n}`);
    ip(NS, 'link', 'set', `b${n}`, 'netns', PEER);
    ip(NS, 'addr', 'add', `10.0.${n}.1/24`, 'dev', `a${n}`);
    ip(NS, '-6', 'addr', 'add', `fd00:${n}::1/64`, 'dev', `a${n}`, 'nodad');
    ip(NS, 'link', 'set', `a${n}`, 'mtu', String(mtu), 'up');
    ip(PEER, 'link', 'set', `b${n}`, 'up');
  }
  ip(NS, 'route', 'add', '172.16.0.0/16', 'nexthop', 'via', '10.0.0.2', 'nexthop', 'via', '10.0.1.2');
  ip(NS, 'route', 'add', '172.16.9.0/24', 'via', '10.0.0.2', 'mtu', '1300');
  ip(NS, '-6', 'route', 'add', 'fd99::/16', 'nexthop', 'via', 'fd00:0::2', 'nexthop', 'via', 'fd00:1::2');
});

after(() => {
  if (!root) return;
  deleteNetns(NS);
  deleteNetns(PEER);
});

test('follows equal-cost paths, route MTUs and failing links', { skip }, async () => {
  const underlay = runIn(NS, () => new Underlay());
  const names = (address: string) => underlay.path(address).hops.map(({ ifindex }) => underlay.link(ifindex)?.name);
  assert.deepEqual(names('172.16.1.1'), ['a0', 'a1']);
  const gateways = (address: string) => underlay.path(address).hops.map(({ gateway }) => gateway);
  assert.deepEqual(gateways('172.16.1.1'), ['10.0.0.2', '10.0.1.2']);
  assert.deepEqual(gateways('fd99::1'), ['fd00::2', 'fd00:1::2']);
  assert.deepEqual(gateways('10.0.1.77'), ['']);
  assert.equal(underlay.path('172.16.1.1').mtu, 1400);
  assert.deepEqual(names('172.16.9.1'), ['a0']);
  assert.equal(underlay.path('172.16.9.1').mtu, 1300);
  assert.deepEqual(names('fd99::1'), ['a0', 'a1']);
  assert.deepEqual(names('10.0.1.77'), ['a1']);
  assert.deepEqual(names('192.0.2.1'), []);

  ip(PEER, 'link', 'set', 'b1', 'down');
  for (let i = 0; i < 100 && names('172.16.1.1').length > 1; i++) {
    underlay.drain();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(names('172.16.1.1'), ['a0']);
  assert.equal(underlay.path('172.16.1.1').mtu, 1500);
  ip(PEER, 'link', 'set', 'b1', 'up');
  for (let i = 0; i < 100 && names('172.16.1.1').length < 2; i++) {
    underlay.drain();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(names('172.16.1.1'), ['a0', 'a1']);
  underlay.close();
});
