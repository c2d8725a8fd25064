import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { close } from './fd.ts';
import { check, SYS, syscall } from './libc.ts';
import { NativeBuffer } from './memory.ts';
import { NetlinkSocket } from './netlink.ts';
import { NetlinkWriter, NLM_F_CREATE, NLM_F_EXCL } from './netlink-message.ts';
import { runIn } from './netns.ts';
import { PacketBatch } from './packet-batch.ts';
import { linkAdd, linkIndex, linkSet } from './rtnetlink/link.ts';
import { openPacketSocket } from './socket.ts';
import { clsactAdd, clsactDel, tcAttach, tcDetach, tcList } from './tc.ts';
import { attachProgram } from './tcx.ts';
import { needsRoot, useNetns } from './testing.ts';

const skip = needsRoot();
const TC_ACT_OK = 0;
const TC_ACT_SHOT = 2;

/** Loads `first instruction; exit` as a SCHED_CLS program: what the instruction leaves in r0 is the verdict. */
function load(t: TestContext, write: (v: DataView, at: number) => void): number {
  using memory = NativeBuffer.alloc(4096);
  const v = memory.view;
  write(v, 512);
  v.setUint8(520, 0x95); // exit
  memory.bytes.set(Buffer.from('GPL'), 600);
  v.setUint32(0, 3, true); // BPF_PROG_TYPE_SCHED_CLS
  v.setUint32(4, 2, true);
  v.setBigUint64(8, BigInt(memory.address + 512), true);
  v.setBigUint64(16, BigInt(memory.address + 600), true);
  const fd = check('bpf', syscall(SYS.bpf, 5, memory.address, 128), 'BPF_PROG_LOAD');
  t.after(() => close(fd));
  return fd;
}

/** r0 = verdict */
const verdictProgram = (t: TestContext, verdict: number) =>
  load(t, (v, at) => {
    v.setUint8(at, 0xb7);
    v.setInt32(at + 4, verdict, true);
  });

/** r0 = skb->mark */
const markProgram = (t: TestContext) =>
  load(t, (v, at) => {
    v.setUint8(at, 0x61);
    v.setUint8(at + 1, 0x10);
    v.setInt16(at + 2, 8, true);
  });

test('the mark of each frame is the one the program sees', { skip }, (t) => {
  const [ns] = useNetns(t, 'mark');
  const nl = runIn(ns!, () => new NetlinkSocket());
  t.after(() => nl.close());
  linkAdd(nl, { kind: 'veth', name: 'a', up: true, addrGenMode: 'none', peer: { name: 'b', up: true } });
  const [a, b] = [linkIndex(nl, 'a'), linkIndex(nl, 'b')];
  const fd = runIn(ns!, () => openPacketSocket({ ifindex: b, protocol: 0x88b5 }));
  t.after(() => close(fd));
  tcAttach(nl, a, 'egress', markProgram(t));
  const batch = new PacketBatch(6, 100);
  t.after(() => batch.close());
  const marks = [0, TC_ACT_SHOT, 0, TC_ACT_SHOT, TC_ACT_SHOT, 0];
  const send = () =>
    marks.forEach((mark, i) => {
      const f = new Uint8Array(60).fill(0xff, 0, 6);
      f.set([0x88, 0xb5, i], 12);
      batch.put(i, f, a, mark);
    });
  send();
  batch.send(fd, 6, false);
  const n = batch.recv(fd, false);
  assert.deepEqual(
    Array.from({ length: n }, (_, i) => batch.frame(i)[14]),
    [0, 2, 5],
  );
});

test('an ingress qdisc in the place of clsact is an error, not taken for it', { skip }, (t) => {
  const [ns] = useNetns(t, 'ingress');
  const nl = runIn(ns!, () => new NetlinkSocket());
  t.after(() => nl.close());
  linkAdd(nl, { kind: 'veth', name: 'a', peer: { name: 'b' } });
  const a = linkIndex(nl, 'a');
  const w = new NetlinkWriter(36, NLM_F_CREATE | NLM_F_EXCL).rawU8(0, 0).rawU16(0).rawU32(a);
  nl.request(w.rawU32(0xffff0000).rawU32(0xfffffff1).rawU32(0).attrString(1, 'ingress'), 'add ingress');
  assert.throws(() => clsactAdd(nl, a), { code: 'WEFT_SYS_NETLINK' });

  // tcx needs no qdisc at all: there the program goes, and stays as long as its link.
  linkSet(nl, 'a', { up: true });
  linkSet(nl, 'b', { up: true });
  const fd = runIn(ns!, () => openPacketSocket({ ifindex: linkIndex(nl, 'b'), protocol: 0x88b5 }));
  t.after(() => close(fd));
  const batch = new PacketBatch(1, 100);
  t.after(() => batch.close());
  const delivered = () => {
    const f = new Uint8Array(60).fill(0xff, 0, 6);
    f.set([0x88, 0xb5], 12);
    batch.put(0, f, a);
    batch.send(fd, 1, false);
    return batch.recv(fd, false);
  };
  const drop = verdictProgram(t, TC_ACT_SHOT);
  assert.equal(delivered(), 1);
  const attachment = attachProgram(nl, a, 'egress', drop, { netns: ns! });
  assert.equal(attachment.kind, 'tcx');
  assert.equal(delivered(), 0);
  close((attachment as { linkFd: number }).linkFd);
  assert.equal(delivered(), 1);
});

test('a program attached at clsact decides, is replaced in place, and is gone after detaching', { skip }, (t) => {
  const [ns] = useNetns(t, 'tc');
  const nl = runIn(ns!, () => new NetlinkSocket());
  t.after(() => nl.close());
  linkAdd(nl, { kind: 'veth', name: 'a', up: true, addrGenMode: 'none', peer: { name: 'b', up: true } });
  const [a, b] = [linkIndex(nl, 'a'), linkIndex(nl, 'b')];
  const rx = runIn(ns!, () => openPacketSocket({ ifindex: b, protocol: 0x88b5 }));
  t.after(() => close(rx));
  const batch = new PacketBatch(4, 100);
  t.after(() => batch.close());
  const delivered = () => {
    const f = new Uint8Array(60).fill(0xff, 0, 6);
    f.set([0x88, 0xb5], 12);
    batch.put(0, f, a);
    batch.send(rx, 1, false);
    return batch.recv(rx, false);
  };
  const [pass, drop] = [verdictProgram(t, TC_ACT_OK), verdictProgram(t, TC_ACT_SHOT)];

  assert.deepEqual(tcList(nl, a, 'egress'), []);
  assert.equal(delivered(), 1);
  tcAttach(nl, a, 'egress', drop, { name: 'weft-drop' });
  assert.equal(delivered(), 0);
  assert.deepEqual(tcList(nl, a, 'ingress'), []);
  const [first, ...more] = tcList(nl, a, 'egress');
  assert.equal(more.length, 0);
  assert.equal(first?.name, 'weft-drop');
  assert.ok(first.programId > 0);

  tcAttach(nl, a, 'egress', pass, { name: 'weft-pass' });
  assert.deepEqual(
    tcList(nl, a, 'egress').map((f) => [f.name, f.programId === first.programId]),
    [['weft-pass', false]],
  );
  assert.equal(delivered(), 1);
  tcAttach(nl, a, 'egress', drop, { prio: 1, handle: 7 });
  assert.deepEqual(
    tcList(nl, a, 'egress').map((f) => f.handle),
    [7, 1],
  );
  assert.equal(delivered(), 0);
  assert.equal(tcDetach(nl, a, 'egress', { prio: 1, handle: 7 }), true);
  assert.equal(tcDetach(nl, a, 'egress', { prio: 1, handle: 7 }), false);
  assert.equal(tcDetach(nl, a, 'egress'), true);
  assert.deepEqual(tcList(nl, a, 'egress'), []);
  assert.equal(delivered(), 1);

  assert.equal(clsactAdd(nl, a), false);
  assert.equal(clsactDel(nl, a), true);
  assert.equal(clsactDel(nl, a), false);
  assert.throws(() => tcAttach(nl, 99999, 'ingress', pass), { errnoName: 'ENODEV' });
});
