/**
 * The worker's own cost per new flow, without a kernel: new 5-tuples through a router and a 20-rule L4 chain.
 * Prints one JSON line: {"us_per_flow","flows","rss_mib"}.
 */
import { udpFrame } from '@weft/packet';
import { routed } from '@weft/simulator/testing';
import { Harness, LOCAL_HOST } from '../src/testing/harness.ts';
import { MemoryState } from '../src/testing/memory-datapath.ts';

const FLOWS = Number(process.argv[2] ?? 100_000);
const net = routed();
const { world } = net;
for (const [port, name] of [
  [net.a, 'vm0'],
  [net.b, 'vm1'],
]) {
  world.patch('Port', port, { hostId: LOCAL_HOST, interfaceName: name });
}
const rules = Array.from({ length: 20 }, (_, i) => ({
  type: 'drop',
  nwProto: 17,
  tpSrc: { start: i + 1, end: i + 1 },
}));
world.patch('Router', net.router, { inboundFilterId: world.chain(rules) });
const host = new Harness(world, new MemoryState(262_144), { publish: false });
host.settle();
const frame = udpFrame({
  ethSrc: '02:00:00:00:00:0a',
  ethDst: 'ac:ca:ba:00:00:01',
  src: '10.0.1.10',
  dst: '10.0.2.10',
  srcPort: 1,
  dstPort: 1,
  payload: new Uint8Array(4),
});
// The first packet fetches the topology that the others use.
host.datapath.inject(10, frame.slice());
host.settle();
const BATCH = 128;
let spent = 0;
for (let done = 0; done < FLOWS; done += BATCH) {
  for (let i = 0; i < BATCH; i++) {
    const n = done + i;
    frame[34] = 4 + ((n >> 8) & 0x7f);
    frame[35] = n;
    frame[36] = n >> 15;
    frame[37] = 9;
    host.datapath.inject(10, frame.slice());
  }
  const start = performance.now();
  host.turn();
  spent += performance.now() - start;
  host.datapath.executed.length = 0;
}
const flows = host.datapath.stats().flows;
const us = (spent * 1000) / FLOWS;
console.log(
  JSON.stringify({ us_per_flow: +us.toFixed(2), flows, rss_mib: Math.round(process.memoryUsage().rss / 2 ** 20) }),
);
