/**
 * What a packet costs in the port program: parse, lookup, rewrite, encapsulation, redirect decided. Needs root. Prints JSON: ns per
 * packet.
 *
 *   node packages/datapath/bench/prog.ts [flows, default 100000] [directory of object files]
 *
 * Method: an XDP program hands frames to the receive path of a port in batches of 64, as a driver does; the kernel carries out every redirect
 * (packets leave by a veth and end behind it). The kernel's own statistics (BPF_ENABLE_STATS) give the program's mean run time per window of
 * frames; the same traffic to a port with an empty program, in turns, gives what measuring costs, which is subtracted. Medians of the windows.
 */
import { closeSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  compileAction,
  extractKey,
  FLOW_FIRST_KEY,
  FLOW_VALUE_SIZE,
  KEY_SIZE,
  MASK_CLASSES,
  maskKey,
  newFrameLayout,
  OUT_PORT,
  OUT_TUNNEL,
} from '@weft/flow';
import {
  addressAdd,
  close,
  createNetns,
  createTcxLink,
  deleteNetns,
  elfSection,
  elfSymbols,
  enableProgramStats,
  linkAdd,
  linkIndex,
  linkSet,
  loadObject,
  NetlinkSocket,
  neighbourSet,
  programRuns,
  runIn,
  sysctlSet,
  xdpTraffic,
} from '@weft/sys';
import { type EbpfDatapath, OBJECT_DIRECTORY } from '../src/ebpf/index.ts';
import { createEbpf } from '../src/ebpf/testing.ts';

const FLOWS = Number(process.argv[2] ?? 100_000);
const OBJECTS = process.argv[3] ?? OBJECT_DIRECTORY;
/** Frames per window and windows per figure. */
const WINDOW = 16_384;
const WINDOWS = 15;
/** Flows of each other class where classes are crowded. */
const CROWD = 4000;
const ns = `webpf-bench-${process.pid}`;
const layout = newFrameLayout();
const V4_MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** UDP over IPv4 with a number in MACs, addresses and port: what weft_bench.c writes. */
function frame(n: number): Uint8Array {
  const f = new Uint8Array(142);
  f.set([2, 0, 0, 0, 0, 2, 2, 0, 0, n >>> 16, n >>> 8, n, 8, 0, 0x45, 0, 0, 128, 0, 0, 0x40, 0, 64, 17]);
  f.set([10, n >>> 16, n >>> 8, n, 10, 1, 0, 2, n >>> 8, n, 0, 53, 0, 108], 26);
  return f;
}

const range = (count: number, first: number): number[] => Array.from({ length: count }, (_, i) => first + i);
const median = (runs: number[]): number => runs.sort((a, b) => a - b)[runs.length >> 1];

type Flow = { cls: number; output: number; rewrite?: boolean };
type Port = { ifindex: number; program: number };

/** Installs a flow per number; with `rewrite` an address and the TTL change. Returns their keys. */
function install(dp: EbpfDatapath, ports: Ports, numbers: number[], { cls, output, rewrite }: Flow): Uint8Array {
  const keys = new Uint8Array(numbers.length * KEY_SIZE);
  const values = new Uint8Array(numbers.length * FLOW_VALUE_SIZE);
  const port = ports.weft;
  numbers.forEach((n, i) => {
    const f = frame(n);
    const original = new Uint8Array(KEY_SIZE);
    extractKey(f, f.length, port, 0, original, 0, layout);
    const final = original.slice();
    if (rewrite) final[35] ^= 0x55;
    maskKey(original, 0, cls, keys, i * KEY_SIZE);
    const outPort = output === OUT_TUNNEL ? 1 : ports.sink;
    const options = { output, outPort, tunnelKey: 7, ttlDec: rewrite ? 1 : 0, flowId: n };
    const owner = { ownerPort: port, ownerClass: cls, counterSlot: (n - 1) % FLOWS };
    compileAction(original, final, values, { ...options, ...owner }, i * FLOW_VALUE_SIZE);
    values.set(original, i * FLOW_VALUE_SIZE + FLOW_FIRST_KEY);
  });
  const taken = dp.putFlows({ keys, values, count: numbers.length });
  if (taken !== numbers.length) throw new Error(`only ${taken} flows taken`);
  return keys;
}

type Ports = Record<'weft' | 'empty' | 'sink' | 'sinkEnd' | 'underlay' | 'underlayEnd', number>;

/** Programs that make traffic from `count` flows. */
function trafficProgram(count: number): { traffic: number; empty: number } {
  const file = readFileSync(join(OBJECTS, 'weft-bench.bpf.o'));
  const rodata = Uint8Array.from(elfSection(file, '.rodata'));
  new DataView(rodata.buffer).setUint32(elfSymbols(file, '.rodata').get('cfg_flows')!, count, true);
  const { programs } = loadObject('weft_bench', file, [], ['weft_traffic', 'weft_empty'], { rodata });
  return { traffic: programs.get('weft_traffic')!, empty: programs.get('weft_empty')! };
}

/** ns per frame in the port's program over one window. */
function window(traffic: number, port: Port): number {
  const before = programRuns(port.program);
  xdpTraffic(traffic, frame(1), port.ifindex, WINDOW);
  const after = programRuns(port.program);
  if (after.count - before.count !== WINDOW) throw new Error(`${after.count - before.count} of ${WINDOW} frames came`);
  return (after.ns - before.ns) / WINDOW;
}

function measure(encap: 'vxlan' | 'gre', ports: Ports): Record<string, number> {
  const out: Record<string, number> = {};
  const stateDir = `/nonexistent/bench-${encap}`;
  const dp = createEbpf({ instance: 'bench', encap, maxFlows: FLOWS + 8 * CROWD, stateDir }, { objects: OBJECTS });
  const one = trafficProgram(1);
  const many = trafficProgram(FLOWS);
  // What was sent ends at the wires' far ends, in an empty program of its own.
  const links = [
    createTcxLink(one.empty, ports.empty),
    createTcxLink(many.empty, ports.sinkEnd),
    createTcxLink(many.empty, ports.underlayEnd),
  ];
  try {
    for (const [name, ifindex] of [
      ['p1', ports.weft],
      ['p3', ports.sink],
    ] as const) {
      dp.attachPort({ ifindex, name, portId: name, mac: null, peerable: false, upcallRate: 1, upcallBurst: 1 });
    }
    const address = (last: number) => Uint8Array.from([...V4_MAPPED, 10, 255, 0, last]);
    dp.setTunnel({
      peer: 1,
      hostId: 'bench',
      local: address(1),
      remote: address(2),
      ifindexes: [ports.underlay],
      mtu: 1450,
    });
    const overheads: number[] = [];
    /** Time per hit of flow `numbers[0 … count]`, after all of them and `others` have been installed. */
    const hit = (traffic: number, numbers: number[], flow: Flow, others: readonly Flow[] = [], each = 1): number => {
      const installed = [
        install(dp, ports, numbers, flow),
        ...others.map((o, i) => install(dp, ports, range(each, 0x800000 + i * each), o)),
      ];
      const hitsBefore = hits(dp);
      const runs: number[] = [];
      for (let i = 0; i < WINDOWS; i++) {
        const overhead = window(traffic, { ifindex: ports.empty, program: one.empty });
        overheads.push(overhead);
        runs.push(window(traffic, { ifindex: ports.weft, program: dp.object.program.weft_port }) - overhead);
      }
      if (hits(dp) - hitsBefore !== WINDOW * WINDOWS) throw new Error('not every frame was a hit');
      for (const keys of installed) dp.deleteFlows(keys, keys.length / KEY_SIZE);
      return median(runs);
    };
    const last = MASK_CLASSES.length - 1;
    out.one_flow_class_1_hit_forward = hit(one.traffic, [1], { cls: 0, output: OUT_PORT });
    out.one_flow_class_8_hit_forward = hit(one.traffic, [1], { cls: last, output: OUT_PORT });
    out.one_flow_hit_encap = hit(one.traffic, [1], { cls: last, output: OUT_TUNNEL });
    out.one_flow_hit_rewrite_encap = hit(one.traffic, [1], { cls: last, output: OUT_TUNNEL, rewrite: true });
    // Every class tells these flows apart (MACs differ); with all classes in use, each of the others has one flow of its own.
    const numbers = range(FLOWS, 1);
    const allClasses = Array.from({ length: last }, (_, cls) => ({ cls, output: OUT_TUNNEL }));
    out.many_flows_class_1_hit = hit(many.traffic, numbers, { cls: 0, output: OUT_TUNNEL });
    out.many_flows_last_of_8_hit = hit(many.traffic, numbers, { cls: last, output: OUT_TUNNEL }, allClasses);
    // Each with so many flows that no filter helps.
    const each = Math.min(CROWD, FLOWS);
    out.many_flows_last_of_8_crowded_hit = hit(
      many.traffic,
      numbers,
      { cls: last, output: OUT_TUNNEL },
      allClasses,
      each,
    );
    out.measuring_overhead = median(overheads);
    const { drops } = dp.stats();
    if (drops.some((n) => n > 0)) throw new Error(`frames were dropped: ${drops}`);
    return out;
  } finally {
    for (const fd of [...links, one.traffic, one.empty, many.traffic, many.empty]) close(fd);
    dp.close({ destroy: true });
  }
}

function hits(dp: EbpfDatapath): number {
  const packets = new Float64Array(FLOWS + 8 * CROWD);
  dp.readCounters(packets, new Float64Array(FLOWS + 8 * CROWD));
  return packets.reduce((a, b) => a + b, 0);
}

createNetns(ns);
try {
  const out = runIn(ns, () => {
    using nl = new NetlinkSocket();
    // No frames but ours.
    sysctlSet(['net', 'ipv6', 'conf', 'default', 'disable_ipv6'], 1);
    const veth = (name: string): number => {
      linkAdd(nl, { kind: 'veth', name, peer: { name: `${name}v` } });
      for (const end of [name, `${name}v`]) linkSet(nl, end, { up: true });
      return linkIndex(nl, name);
    };
    const ports = { weft: veth('p1'), empty: veth('p2'), sink: veth('p3'), underlay: veth('u0') };
    const ends = { sinkEnd: linkIndex(nl, 'p3v'), underlayEnd: linkIndex(nl, 'u0v') };
    addressAdd(nl, ports.underlay, '10.255.0.1/24');
    neighbourSet(nl, ports.underlay, '10.255.0.2', '02:0e:00:00:00:00');
    const stats = enableProgramStats();
    try {
      return {
        flows: FLOWS,
        vxlan: measure('vxlan', { ...ports, ...ends }),
        gre: measure('gre', { ...ports, ...ends }),
      };
    } finally {
      closeSync(stats);
    }
  });
  console.log(JSON.stringify(out, null, 2));
} finally {
  deleteNetns(ns);
}
