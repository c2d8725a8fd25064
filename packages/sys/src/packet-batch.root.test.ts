import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setOffloads } from './ethtool.ts';
import { close } from './fd.ts';
import { NetlinkSocket } from './netlink.ts';
import { runIn } from './netns.ts';
import {
  PACKET_BROADCAST,
  PacketBatch,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_NONE,
  VIRTIO_NET_HDR_GSO_UDP_L4,
  VNET,
  VNET_HEADER_SIZE,
} from './packet-batch.ts';
import { linkAdd, linkIndex } from './rtnetlink/link.ts';
import { openPacketSocket, type PacketSocketOptions } from './socket.ts';
import { needsRoot, useNetns } from './testing.ts';

const skip = needsRoot();
const ETHERTYPE = 0x88b5; // IEEE 802 local experimental: nothing else speaks it here

type Wire = { ns: string; a: number; b: number; open(o: PacketSocketOptions): number };

/** Two ends of one veth in one namespace. */
function wire(t: import('node:test').TestContext, suffix: string): Wire {
  const [ns] = useNetns(t, suffix);
  const nl = runIn(ns!, () => new NetlinkSocket());
  linkAdd(nl, { kind: 'veth', name: 'a', up: true, addrGenMode: 'none', mtu: 1500, peer: { name: 'b', up: true } });
  const [a, b] = [linkIndex(nl, 'a'), linkIndex(nl, 'b')];
  nl.close();
  const open = (o: PacketSocketOptions) => {
    const fd = runIn(ns!, () => openPacketSocket(o));
    t.after(() => close(fd));
    return fd;
  };
  return { ns: ns!, a, b, open };
}

function frame(length: number, tag: number, ethertype = ETHERTYPE): Uint8Array {
  const f = new Uint8Array(length).fill(tag);
  f.fill(0xff, 0, 6);
  f.set([2, 0, 0, 0, 0, 1, ethertype >> 8, ethertype & 255], 6);
  return f;
}

function batch(t: import('node:test').TestContext, size: number, capacity: number): PacketBatch {
  const b = new PacketBatch(size, capacity);
  t.after(() => b.close());
  return b;
}

test('a batch arrives whole, in order, with its metadata', { skip }, (t) => {
  const w = wire(t, 'batch');
  const tx = w.open({ protocol: 0 });
  const rx = w.open({ ifindex: w.b, protocol: ETHERTYPE });
  const out = batch(t, 32, 1514);
  const into = batch(t, 64, 1514);
  for (let i = 0; i < 32; i++) out.put(i, frame(60 + i * 40, i), w.a);
  assert.equal(out.send(tx, 32, false), 32);
  assert.equal(into.recv(rx, false), 32);
  for (let i = 0; i < 32; i++) {
    assert.deepEqual(into.frame(i), frame(60 + i * 40, i));
    assert.deepEqual([into.ifindex[i], into.packetType[i], into.protocol[i]], [w.b, PACKET_BROADCAST, ETHERTYPE]);
    assert.deepEqual([into.vlanTci[i], into.vlanTpid[i], into.wireLength[i]], [-1, 0, 60 + i * 40]);
  }
  assert.equal(into.recv(rx, false), 0);
});

test('a refused frame has its errno and does not hold up the others', { skip }, (t) => {
  const w = wire(t, 'refused');
  const tx = w.open({ protocol: 0 });
  const rx = w.open({ ifindex: w.b, protocol: ETHERTYPE });
  const out = batch(t, 5, 4000);
  const into = batch(t, 8, 4000);
  out.put(0, frame(60, 0), w.a);
  out.put(1, frame(3000, 1), w.a); // above the MTU
  out.put(2, frame(60, 2), 999999); // no such interface
  out.put(3, frame(60, 3), w.a);
  out.put(4, frame(60, 4)); // no interface at all on an unbound socket
  assert.equal(out.send(tx, 5, false), 2);
  assert.deepEqual([...out.status], [0, 90, 6, 0, 6]);
  assert.equal(into.recv(rx, false), 2);
  assert.deepEqual([into.frame(0)[20], into.frame(1)[20]], [0, 3]);
  assert.throws(() => out.send(-1, 1, false), { errnoName: 'EBADF' });
});

test('a VLAN tag is out of the bytes and in the columns; a frame too long for its slot says so', { skip }, (t) => {
  const w = wire(t, 'vlan');
  const tx = w.open({ ifindex: w.a, protocol: 0 });
  const rx = w.open({ ifindex: w.b });
  const out = batch(t, 2, 1514);
  const into = batch(t, 4, 64);
  const inner = frame(100, 7);
  const tagged = new Uint8Array(104);
  tagged.set(inner.subarray(0, 12));
  tagged.set([0x81, 0x00, 0x60, 0x4d], 12); // priority 3, VLAN 77
  tagged.set(inner.subarray(12), 16);
  out.put(0, tagged);
  assert.equal(out.send(tx, 1, false), 1);
  assert.equal(into.recv(rx, false), 1);
  assert.deepEqual([into.vlanTci[0], into.vlanTpid[0]], [0x604d, 0x8100]);
  assert.deepEqual([into.length[0], into.wireLength[0]], [64, 100]);
  assert.deepEqual(into.frame(0), inner.subarray(0, 64));
});

test('a super-packet keeps its virtio_net_hdr across a veth, and is segmented where the peer cannot take it', {
  skip,
}, (t) => {
  const w = wire(t, 'gso');
  const tx = w.open({ ifindex: w.a, protocol: 0, vnetHeader: true });
  const rx = w.open({ ifindex: w.b, vnetHeader: true });
  const out = batch(t, 1, 65550);
  const into = batch(t, 16, 65550);
  const payload = 5000;
  const f = frame(42 + payload, 9, 0x0800);
  const v = new DataView(f.buffer);
  f.set([0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
  v.setUint16(16, 28 + payload);
  f.set([0x10, 0, 0x20, 0, 0, 0, 0, 0], 34);
  v.setUint16(38, 8 + payload);
  let pseudo = 0x0a00 + 1 + 0x0a00 + 2 + 17 + 8 + payload;
  pseudo = (pseudo & 0xffff) + (pseudo >> 16);
  v.setUint16(40, pseudo);
  const send = () => {
    out.put(0, f);
    out.setVnetHeader(0, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4, 42, 1000, 34, 6);
    assert.equal(out.send(tx, 1, true), 1, `errno ${out.status[0]}`);
  };
  send();
  assert.equal(into.recv(rx, true), 1);
  assert.equal(into.length[0], f.length);
  const header = (i: number) => into.offset(i) - VNET_HEADER_SIZE;
  assert.equal(into.view.getUint8(header(0) + VNET.flags), VIRTIO_NET_HDR_F_NEEDS_CSUM);
  assert.equal(into.view.getUint8(header(0) + VNET.gsoType), VIRTIO_NET_HDR_GSO_UDP_L4);
  assert.equal(into.view.getUint16(header(0) + VNET.gsoSize, true), 1000);
  assert.equal(into.view.getUint16(header(0) + VNET.csumStart, true), 34);

  setOffloads('a', { tx: false, tso: false, gso: false, sg: false }, w.ns);
  send();
  assert.equal(into.recv(rx, true), 5);
  for (let i = 0; i < 5; i++) {
    assert.equal(into.length[i], 1042);
    assert.equal(into.view.getUint8(header(i) + VNET.gsoType), VIRTIO_NET_HDR_GSO_NONE);
  }
});
