/** Cost of batched frames over a veth: sendmmsg and recvmmsg per frame, and the clocks. Needs root. `node packages/sys/bench/packet-batch.ts` */
import { bench, do_not_optimize, run } from 'mitata';
import {
  close,
  createNetns,
  deleteNetns,
  linkAdd,
  linkIndex,
  monotonicNs,
  monotonicUs,
  NetlinkSocket,
  openPacketSocket,
  PacketBatch,
  runIn,
} from '../src/index.ts';

const ns = `wsys-${process.pid}-bench`;
createNetns(ns);
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));
process.once('exit', () => deleteNetns(ns));

const nl = runIn(ns, () => new NetlinkSocket());
linkAdd(nl, { kind: 'veth', name: 'a', up: true, addrGenMode: 'none', peer: { name: 'b', up: true } });
const a = linkIndex(nl, 'a');
const tx = runIn(ns, () => openPacketSocket({ protocol: 0, qdiscBypass: true }));
const rx = runIn(ns, () => openPacketSocket({ ifindex: linkIndex(nl, 'b'), protocol: 0x88b5 }));
const quiet = 0x88b6; // an ethertype nobody receives: the cost of sending alone

function filled(size: number, ethertype: number): PacketBatch {
  const batch = new PacketBatch(size, 1514);
  const frame = new Uint8Array(100).fill(0xff, 0, 6);
  frame.set([ethertype >> 8, ethertype & 255], 12);
  for (let i = 0; i < size; i++) batch.put(i, frame, a);
  return batch;
}

for (const size of [1, 16, 64]) {
  const send = filled(size, quiet);
  bench(`send ${size} frames of 100 bytes`, () => send.send(tx, size, false));
  const there = filled(size, 0x88b5);
  const back = new PacketBatch(size, 1514);
  bench(`send and receive ${size} frames of 100 bytes`, () => {
    there.send(tx, size, false);
    if (back.recv(rx, false) !== size) throw new Error('frames lost');
  });
}
bench('monotonicNs', () => do_not_optimize(monotonicNs()));
bench('monotonicUs', () => do_not_optimize(monotonicUs()));

await run();
nl.close();
close(tx);
close(rx);
