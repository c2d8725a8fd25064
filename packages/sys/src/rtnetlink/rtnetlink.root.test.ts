import assert from 'node:assert/strict';
import { test } from 'node:test';
import { close } from '../fd.ts';
import { NetlinkSocket } from '../netlink.ts';
import { openNetns, runIn } from '../netns.ts';
import { needsRoot, useNetns } from '../testing.ts';
import { addressAdd, addressDel, addressList, IFA_F_TENTATIVE } from './address.ts';
import { linkAdd, linkDel, linkGet, linkIndex, linkList, linkSet } from './link.ts';
import { type RtEvent, RtMonitor } from './monitor.ts';
import { NUD, neighbourDel, neighbourList, neighbourSet } from './neighbour.ts';
import { RTNH_F_ONLINK, routeAdd, routeDel, routeGet, routeList } from './route.ts';

const skip = needsRoot();

function socketIn(t: { after(fn: () => void): void }, name: string): NetlinkSocket {
  const nl = runIn(name, () => new NetlinkSocket());
  t.after(() => nl.close());
  return nl;
}

test('a veth pair with its peer in another namespace', { skip }, (t) => {
  const [a, b] = useNetns(t, 'veth-a', 'veth-b');
  const nlA = socketIn(t, a!);
  const nlB = socketIn(t, b!);
  const fd = openNetns(b!);
  try {
    linkAdd(nlA, {
      kind: 'veth',
      name: 'p0',
      mac: '02:00:00:00:00:0a',
      mtu: 1400,
      up: true,
      gsoMaxSize: 65000,
      gsoIpv4MaxSize: 65000,
      addrGenMode: 'none',
      alias: 'port zero',
      peer: { name: 'q0', mac: '02:00:00:00:00:0b', mtu: 1450, netns: { fd } },
    });
  } finally {
    close(fd);
  }
  assert.throws(
    () => linkAdd(nlA, { kind: 'veth', name: 'p1', peer: { name: 'q1', up: true, netns: { pid: process.pid } } }),
    { code: 'WEFT_SYS_ARGUMENT' },
  );
  linkSet(nlB, 'q0', { up: true });
  const p = linkGet(nlA, 'p0');
  const q = linkGet(nlB, 'q0');
  assert.ok(p && q);
  assert.equal(p.mac, '02:00:00:00:00:0a');
  assert.equal(q.mac, '02:00:00:00:00:0b');
  assert.deepEqual([p.mtu, q.mtu], [1400, 1450]);
  assert.deepEqual([p.kind, p.up, p.operState, p.alias], ['veth', true, 'up', 'port zero']);
  assert.deepEqual([p.gsoMaxSize, p.gsoIpv4MaxSize], [65000, 65000]);
  assert.equal(p.link, q.ifindex);
  assert.equal(q.link, p.ifindex);
  assert.ok(p.linkNetnsid >= 0 && q.linkNetnsid >= 0);
  assert.equal(linkGet(nlA, p.ifindex)?.name, 'p0');
  // No link-local address: the mode was set before the link went up. The peer, left alone, has one.
  assert.deepEqual(addressList(nlA, p.ifindex), []);
  assert.ok(addressList(nlB, q.ifindex).some((x) => x.address.startsWith('fe80::')));

  assert.equal(linkDel(nlB, 'q0'), true);
  assert.equal(linkGet(nlA, 'p0'), undefined);
  assert.equal(linkDel(nlA, 'p0'), false);
});

test('renaming, moving, masters, and what the kernel refuses', { skip }, (t) => {
  const [a, b] = useNetns(t, 'set-a', 'set-b');
  const nl = socketIn(t, a!);
  const nlB = socketIn(t, b!);
  linkAdd(nl, { kind: 'bridge', name: 'br0' });
  linkAdd(nl, { kind: 'veth', name: 'd0', peer: { name: 'e0' } });
  linkSet(nl, 'd0', { name: 'd1', mac: '02:00:00:00:00:01', mtu: 9000, master: linkIndex(nl, 'br0'), up: true });
  const d1 = linkGet(nl, 'd1')!;
  assert.deepEqual([d1.mac, d1.mtu, d1.up, d1.master], ['02:00:00:00:00:01', 9000, true, linkIndex(nl, 'br0')]);
  linkSet(nl, d1.ifindex, { master: 0, up: false });
  assert.deepEqual([linkGet(nl, 'd1')!.master, linkGet(nl, 'd1')!.up], [0, false]);
  const fd = openNetns(b!);
  try {
    linkSet(nl, 'd1', { netns: { fd } });
  } finally {
    close(fd);
  }
  assert.equal(linkGet(nl, 'd1'), undefined);
  assert.equal(linkGet(nlB, 'd1')?.kind, 'veth');

  assert.throws(() => linkAdd(nl, { kind: 'bridge', name: 'br0' }), { code: 'WEFT_SYS_NETLINK', errnoName: 'EEXIST' });
  assert.throws(() => linkSet(nl, 'none', { up: true }), { code: 'WEFT_SYS_NETLINK', errnoName: 'ENODEV' });
  assert.throws(() => linkAdd(nl, { kind: 'bridge', name: 'sixteen-bytes-xx' }), { code: 'WEFT_SYS_ARGUMENT' });
  // The kernel's own sentence reaches the person.
  assert.throws(() => linkSet(nl, 'br0', { mtu: 1 << 20 }), /netlink \(set link br0\): EINVAL: .*mtu/i);
});

test('an external VXLAN device, with others of the namespace in the list', { skip }, (t) => {
  const [a] = useNetns(t, 'vxlan');
  const nl = socketIn(t, a!);
  try {
    linkAdd(nl, { kind: 'vxlan', name: 'vx0', vxlan: { external: true, port: 4790 }, up: true });
  } catch (error) {
    if ((error as { errnoName?: string }).errnoName !== 'EOPNOTSUPP') throw error;
    t.skip('this kernel has no VXLAN');
    return;
  }
  assert.equal(linkGet(nl, 'vx0')?.kind, 'vxlan');
  linkAdd(nl, { kind: 'vxlan', name: 'vx1', vxlan: { id: 7, local: '192.0.2.1', port: 4791 } });
  const names = linkList(nl).map((l) => l.name);
  assert.ok(['lo', 'vx0', 'vx1'].every((n) => names.includes(n)));
});

test('a list longer than one datagram is complete', { skip }, (t) => {
  const [a] = useNetns(t, 'many');
  const nl = socketIn(t, a!);
  const index = linkIndex(nl, 'lo');
  for (let i = 0; i < 1500; i++) addressAdd(nl, index, `10.9.${i >> 8}.${i & 255}/32`);
  const listed = addressList(nl, index).filter((x) => x.address.startsWith('10.9.'));
  assert.equal(new Set(listed.map((x) => x.address)).size, 1500);
});

test('addresses of both families', { skip }, (t) => {
  const [a] = useNetns(t, 'addr');
  const nl = socketIn(t, a!);
  linkAdd(nl, { kind: 'veth', name: 'd0', up: true, addrGenMode: 'none', peer: { name: 'e0', up: true } });
  const d = linkIndex(nl, 'd0');
  addressAdd(nl, d, '10.1.0.1/24');
  addressAdd(nl, d, 'fd00:1::1/64');
  assert.deepEqual(
    addressList(nl, d).map((x) => `${x.family} ${x.address}/${x.prefixLength}`),
    ['4 10.1.0.1/24', '6 fd00:1::1/64'],
  );
  assert.equal(addressList(nl, d).filter((x) => x.flags & IFA_F_TENTATIVE).length, 0);
  assert.throws(() => addressAdd(nl, d, '10.1.0.1/24'), { errnoName: 'EEXIST' });
  assert.doesNotThrow(() => addressAdd(nl, d, '10.1.0.1/24', { replace: true }));
  assert.equal(addressDel(nl, d, '10.1.0.1/24'), true);
  assert.equal(addressDel(nl, d, '10.1.0.1/24'), false);
});

test('routes: plain, multipath, other family, blackhole; the kernel answers by them', { skip }, (t) => {
  const [a] = useNetns(t, 'route');
  const nl = socketIn(t, a!);
  linkAdd(nl, { kind: 'veth', name: 'd0', up: true, mtu: 1500, addrGenMode: 'none', peer: { name: 'e0', up: true } });
  linkAdd(nl, { kind: 'veth', name: 'd1', up: true, mtu: 1400, addrGenMode: 'none', peer: { name: 'e1', up: true } });
  const d0 = linkIndex(nl, 'd0');
  const d1 = linkIndex(nl, 'd1');
  addressAdd(nl, d0, '10.1.0.1/24');
  addressAdd(nl, d1, '10.2.0.1/24');
  addressAdd(nl, d0, 'fd00:1::1/64');

  assert.deepEqual(routeGet(nl, '10.2.0.9'), {
    type: 'unicast',
    oif: d1,
    gateway: undefined,
    prefSrc: '10.2.0.1',
    mtu: 1400,
  });
  assert.equal(routeGet(nl, '172.16.0.1'), undefined);

  routeAdd(nl, { dst: '172.16.0.0/16', gateway: '10.1.0.254', mtu: 1300, prefSrc: '10.2.0.1' });
  assert.deepEqual(routeGet(nl, '172.16.0.1'), {
    type: 'unicast',
    oif: d0,
    gateway: '10.1.0.254',
    prefSrc: '10.2.0.1',
    mtu: 1300,
  });
  assert.throws(() => routeAdd(nl, { dst: '172.16.0.0/16', gateway: '10.1.0.254' }), { errnoName: 'EEXIST' });
  routeAdd(nl, { dst: '172.16.0.0/16', gateway: '10.1.0.253' }, 'replace');
  assert.equal(routeGet(nl, '172.16.0.1')?.gateway, '10.1.0.253');

  routeAdd(nl, {
    dst: '172.17.0.0/16',
    nextHops: [
      { gateway: '10.1.0.254', oif: d0, weight: 3 },
      { gateway: '10.99.0.1', oif: d1, flags: RTNH_F_ONLINK },
    ],
  });
  const multi = routeList(nl, { family: 4 }).find((r) => r.dst === '172.17.0.0/16');
  assert.deepEqual(
    multi?.nextHops.map((h) => [h.gateway, h.oif, h.weight]),
    [
      ['10.1.0.254', d0, 3],
      ['10.99.0.1', d1, 1],
    ],
  );
  routeAdd(nl, { dst: '172.18.0.0/16', gateway: 'fd00:1::254', oif: d0 });
  assert.equal(routeGet(nl, '172.18.0.1')?.gateway, 'fd00:1::254');
  routeAdd(nl, { dst: '172.19.0.0/16', type: 'blackhole', table: 1000, protocol: 99, metric: 5 });
  const [hole] = routeList(nl, { table: 1000 });
  assert.deepEqual([hole?.type, hole?.table, hole?.protocol, hole?.metric], ['blackhole', 1000, 99, 5]);
  assert.deepEqual(routeList(nl, { table: 4711 }), []);

  routeAdd(nl, { dst: '::/0', gateway: 'fd00:1::254', oif: d0 });
  assert.deepEqual(routeGet(nl, '2001:db8::1'), {
    type: 'unicast',
    oif: d0,
    gateway: 'fd00:1::254',
    prefSrc: 'fd00:1::1',
    mtu: 1500,
  });
  for (const dst of ['172.16.0.0/16', '172.17.0.0/16', '172.18.0.0/16', '::/0']) {
    assert.equal(routeDel(nl, { dst }), true, dst);
    assert.equal(routeDel(nl, { dst }), false, dst);
  }
  assert.equal(routeDel(nl, { dst: '172.19.0.0/16', table: 1000 }), true);
});

test('neighbours are set, overwritten, listed and removed', { skip }, (t) => {
  const [a] = useNetns(t, 'neigh');
  const nl = socketIn(t, a!);
  linkAdd(nl, { kind: 'veth', name: 'p0', up: true, peer: { name: 'p1', up: true } });
  const p = linkIndex(nl, 'p0');
  neighbourSet(nl, p, '10.1.0.7', '02:00:00:00:00:07');
  neighbourSet(nl, p, '10.1.0.7', '02:00:00:00:00:08');
  neighbourSet(nl, p, 'fd00::7', '02:00:00:00:00:09', NUD.STALE);
  assert.deepEqual(
    neighbourList(nl, p)
      .filter((n) => !n.address.startsWith('ff'))
      .map((n) => [n.address, n.mac, n.state]),
    [
      ['10.1.0.7', '02:00:00:00:00:08', NUD.PERMANENT],
      ['fd00::7', '02:00:00:00:00:09', NUD.STALE],
    ],
  );
  assert.equal(neighbourDel(nl, p, '10.1.0.7'), true);
  assert.ok(!neighbourList(nl, p).some((n) => n.address === '10.1.0.7' && n.state === NUD.PERMANENT));
});

test('a monitor sees changes of its namespace in order, and reports an overrun', { skip }, (t) => {
  const [a] = useNetns(t, 'mon');
  const nl = socketIn(t, a!);
  const monitor = runIn(a!, () => new RtMonitor(['link', 'address', 'route', 'neighbour']));
  t.after(() => monitor.close());
  linkAdd(nl, { kind: 'veth', name: 'd0', up: true, addrGenMode: 'none', peer: { name: 'e0', up: true } });
  const d0 = linkIndex(nl, 'd0');
  addressAdd(nl, d0, '10.1.0.1/24');
  routeAdd(nl, { dst: '172.16.0.0/16', gateway: '10.1.0.254' });
  neighbourSet(nl, d0, '10.1.0.7', '02:00:00:00:00:07');
  linkDel(nl, 'd0');
  const events: RtEvent[] = [];
  assert.equal(monitor.drain((e) => events.push(e)).overrun, false);
  const seen = (match: (e: RtEvent) => boolean) => events.findIndex(match);
  const order = [
    seen((e) => e.topic === 'link' && !e.removed && e.link.name === 'd0'),
    seen((e) => e.topic === 'link' && !e.removed && e.link.up),
    seen((e) => e.topic === 'address' && !e.removed && e.address.address === '10.1.0.1'),
    seen((e) => e.topic === 'route' && !e.removed && e.route.dst === '172.16.0.0/16'),
    seen((e) => e.topic === 'neighbour' && !e.removed && e.neighbour.mac === '02:00:00:00:00:07'),
    seen((e) => e.topic === 'link' && e.removed && e.link.ifindex === d0),
  ];
  assert.ok(
    order.every((at) => at >= 0),
    `missing events: ${order}`,
  );
  assert.deepEqual(
    order,
    [...order].sort((x, y) => x - y),
  );
  assert.deepEqual(
    monitor.drain(() => assert.fail('nothing more')),
    { messages: 0, overrun: false },
  );

  const small = runIn(a!, () => new RtMonitor(['address'], { receiveBuffer: 4096 }));
  t.after(() => small.close());
  const lo = linkIndex(nl, 'lo');
  for (let i = 1; i < 200; i++) addressAdd(nl, lo, `10.3.0.${i}/32`);
  assert.equal(small.drain(() => undefined).overrun, true);
});
