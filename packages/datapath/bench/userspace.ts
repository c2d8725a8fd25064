/**
 * Cost per packet of the userspace datapath without its sockets: load, extract, look up, rewrite, encapsulate. Prints JSON in ns.
 * `node packages/datapath/bench/userspace.ts [flows]`
 */
import {
  ACTION_SIZE,
  compileAction,
  extractKey,
  FLOW_VALUE_SIZE,
  K_IP_SRC,
  K_TP_SRC,
  KEY_SIZE,
  maskKey,
  newFrameLayout,
  OUT_PORT,
  OUT_TUNNEL,
  writeU16,
} from '@weft/flow';
import { ipParse, tcpFrame } from '@weft/packet';
import { Engine, type EngineSink } from '../src/userspace/engine.ts';
import { PortEntry, Tables } from '../src/userspace/tables.ts';

const PORT = 7;
const flows = Number(process.argv[2] ?? 1000);
let out = 0;
const sink: EngineSink = {
  toPort: (_, frame) => {
    out += frame.end;
  },
  toUnderlay: (_, __, ___, from, end, ____, _____, size) => {
    out += end - from + size;
  },
  upcall: () => {
    throw new Error('a packet missed');
  },
};

function frameOf(i: number, size: number): Uint8Array {
  return tcpFrame({
    ethSrc: '02:00:00:00:00:01',
    ethDst: '02:00:00:00:00:02',
    src: `10.0.${(i >> 8) & 255}.${i & 255}`,
    dst: '10.1.0.1',
    srcPort: 1000 + (i >> 16),
    dstPort: 80,
    flags: 0x10,
    payload: new Uint8Array(size),
  });
}

/** An engine with `flows` flows of class 5 (L4), all to the same output. */
function engine(output: number, rewrite: boolean): Engine {
  const tables = new Tables('vxlan', 4789);
  const spec = { name: 'p', portId: '', mac: null, peerable: false, upcallRate: 0, upcallBurst: 0 };
  for (const ifindex of [PORT, PORT + 1]) tables.ports.set(ifindex, new PortEntry({ ...spec, ifindex }));
  const address = ipParse('192.0.2.1');
  tables.setTunnel({ peer: 1, hostId: '', local: address, remote: address, ifindexes: [3], mtu: 1500 });
  const e = new Engine(tables, flows, sink, () => performance.now() * 1e6);
  const [key, final, masked] = [0, 1, 2].map(() => new Uint8Array(KEY_SIZE));
  const value = new Uint8Array(FLOW_VALUE_SIZE);
  for (let i = 0; i < flows; i++) {
    const frame = frameOf(i, 0);
    extractKey(frame, frame.length, PORT, 0, key, 0, newFrameLayout());
    final.set(key);
    if (rewrite) {
      final.set(ipParse('198.51.100.9'), K_IP_SRC);
      writeU16(final, K_TP_SRC, 40_000);
    }
    const outPort = output === OUT_PORT ? PORT + 1 : 1;
    const options = {
      output,
      outPort,
      tunnelKey: 5,
      ttlDec: 1,
      flowId: i + 1,
      ownerPort: PORT,
      ownerClass: 5,
      counterSlot: i,
    };
    compileAction(key, final, value.subarray(0, ACTION_SIZE), options);
    maskKey(key, 0, 5, masked, 0);
    e.flows.put(masked, 0, value, 0);
  }
  return e;
}

function measure(output: number, rewrite: boolean, size: number): number {
  const e = engine(output, rewrite);
  const frames = Array.from({ length: Math.min(flows, 4096) }, (_, i) => frameOf((i * 7919) % flows, size));
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 8; round++) {
    const n = 100_000;
    const start = performance.now();
    for (let i = 0; i < n; i++) {
      const frame = frames[i % frames.length];
      e.arrival.load(frame, 0, frame.length);
      e.ingress(PORT);
    }
    best = Math.min(best, ((performance.now() - start) * 1e6) / n);
  }
  return Math.round(best);
}

const result = {
  flows,
  local_64: measure(OUT_PORT, false, 10),
  nat_64: measure(OUT_PORT, true, 10),
  tunnel_64: measure(OUT_TUNNEL, false, 10),
  nat_tunnel_1400: measure(OUT_TUNNEL, true, 1346),
};
if (out === 0) throw new Error('nothing was forwarded');
console.log(JSON.stringify(result));
