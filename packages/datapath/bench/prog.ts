/**
 * What a packet costs in the port program, by BPF_PROG_TEST_RUN: parse, lookup, rewrite, encapsulation, redirect decided.
 * Needs root. Prints JSON: ns per packet.
 *
 *   node packages/datapath/bench/prog.ts [flows, default 100000]
 */
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
import { createNetns, deleteNetns, linkAdd, linkIndex, NetlinkSocket, runIn, testRun } from '@weft/sys';
import type { EbpfDatapath } from '../src/ebpf/index.ts';
import { createEbpf } from '../src/ebpf/testing.ts';

const FLOWS = Number(process.argv[2] ?? 100_000);
const REPEAT = 200_000;
const SAMPLES = 2000;
const ns = `webpf-bench-${process.pid}`;
const layout = newFrameLayout();
const V4_MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** UDP over IPv4 with a number in addresses and port. */
function frame(n: number): Uint8Array {
  const f = new Uint8Array(142);
  f.set([2, 0, 0, 0, 0, 2, 2, 0, 0, n >>> 16, n >>> 8, n, 8, 0, 0x45, 0, 0, 128, 0, 0, 0x40, 0, 64, 17]);
  f.set([10, n >>> 16, n >>> 8, n, 10, 1, 0, 2, n >>> 8, n, 0, 53, 0, 108], 26);
  return f;
}

function key(f: Uint8Array, port: number): Uint8Array {
  const out = new Uint8Array(KEY_SIZE);
  extractKey(f, f.length, port, 0, out, 0, layout);
  return out;
}

/** Installs one flow per frame in class `cls`; with `rewrite` an address and the TTL change. */
function install(
  dp: EbpfDatapath,
  port: number,
  frames: Uint8Array[],
  cls: number,
  output: number,
  rewrite: boolean,
): Uint8Array {
  const keys = new Uint8Array(frames.length * KEY_SIZE);
  const values = new Uint8Array(frames.length * FLOW_VALUE_SIZE);
  frames.forEach((f, i) => {
    const original = key(f, port);
    const final = original.slice();
    if (rewrite) final[35] ^= 0x55;
    maskKey(original, 0, cls, keys, i * KEY_SIZE);
    compileAction(
      original,
      final,
      values,
      {
        output,
        outPort: output === OUT_TUNNEL ? 1 : port,
        tunnelKey: 7,
        ttlDec: rewrite ? 1 : 0,
        flowId: i + 1,
        ownerPort: port,
        ownerClass: cls,
        counterSlot: i,
      },
      i * FLOW_VALUE_SIZE,
    );
    values.set(original, i * FLOW_VALUE_SIZE + FLOW_FIRST_KEY);
  });
  const taken = dp.putFlows({ keys, values, count: frames.length });
  if (taken !== frames.length) throw new Error(`only ${taken} flows taken`);
  return keys;
}

const median = (runs: number[]): number => runs.sort((a, b) => a - b)[runs.length >> 1];

/** One frame many times in one call: code and flow stay in the cache. Only for actions that leave the frame as it is. */
function hot(dp: EbpfDatapath, port: number, f: Uint8Array): number {
  const run = () => testRun(dp.object.program.weft_port, f, { ifindex: port, repeat: REPEAT }).durationNs;
  return median(Array.from({ length: 5 }, run));
}

/** A call per frame, as an encapsulated frame cannot be run again. Includes what a call costs by itself, and a colder cache. */
function single(dp: EbpfDatapath, port: number, pick: () => Uint8Array): number {
  const run = () => testRun(dp.object.program.weft_port, pick(), { ifindex: port }).durationNs;
  return median(Array.from({ length: SAMPLES }, run));
}

function measure(encap: 'vxlan' | 'gre', port: number): Record<string, number> {
  const out: Record<string, number> = {};
  const dp = createEbpf({ instance: 'bench', encap, maxFlows: FLOWS + 16, stateDir: `/nonexistent/bench-${encap}` });
  try {
    dp.attachPort({
      ifindex: port,
      name: 'p1',
      portId: 'bench',
      mac: null,
      peerable: false,
      upcallRate: 1,
      upcallBurst: 1,
    });
    const address = (last: number) => Uint8Array.from([...V4_MAPPED, 10, 255, 0, last]);
    dp.setTunnel({
      peer: 1,
      hostId: 'bench',
      local: address(1),
      remote: address(2),
      ifindexes: [port],
      mtu: 1450,
    });
    const one = [frame(1)];
    const with_ = (frames: Uint8Array[], cls: number, output: number, rewrite: boolean, run: () => number): number => {
      const keys = install(dp, port, frames, cls, output, rewrite);
      const ns = run();
      dp.deleteFlows(keys, frames.length);
      return ns;
    };
    const last = MASK_CLASSES.length - 1;
    for (const [name, cls] of [
      ['class_1', 0],
      ['class_8', last],
    ] as const) {
      out[`one_flow_${name}_hit_forward`] = with_(one, cls, OUT_PORT, false, () => hot(dp, port, one[0]));
    }
    const plain = with_(one, last, OUT_PORT, false, () => single(dp, port, () => one[0]));
    const tunnel = with_(one, last, OUT_TUNNEL, false, () => single(dp, port, () => one[0]));
    const full = with_(one, last, OUT_TUNNEL, true, () => single(dp, port, () => one[0]));
    out.call_overhead = plain - out.one_flow_class_8_hit_forward;
    out.one_flow_hit_encap = tunnel - out.call_overhead;
    out.one_flow_hit_rewrite_encap = full - out.call_overhead;
    const many = Array.from({ length: FLOWS }, (_, i) => frame(i + 1));
    const random = () => many[Math.floor(Math.random() * FLOWS)];
    // Class 1 is told apart by MACs, which `frame` varies as well.
    for (const [name, cls] of [
      ['class_1', 0],
      ['last_of_8', last],
    ] as const) {
      const ns = with_(many, cls, OUT_TUNNEL, false, () => {
        // The other classes are probed too: one flow each of another address.
        const others =
          name === 'class_1'
            ? []
            : Array.from({ length: last }, (_, c) => install(dp, port, [frame(FLOWS + 1 + c)], c, OUT_TUNNEL, false));
        const result = single(dp, port, random);
        for (const keys of others) dp.deleteFlows(keys, 1);
        return result;
      });
      out[`many_flows_${name}_hit`] = ns - out.call_overhead;
    }
    return out;
  } finally {
    dp.close({ destroy: true });
  }
}

createNetns(ns);
try {
  const out = runIn(ns, () => {
    const nl = new NetlinkSocket();
    linkAdd(nl, { kind: 'veth', name: 'p1', peer: { name: 'v1' } });
    const port = linkIndex(nl, 'p1');
    nl.close();
    return { flows: FLOWS, vxlan: measure('vxlan', port), gre: measure('gre', port) };
  });
  console.log(JSON.stringify(out, null, 2));
} finally {
  deleteNetns(ns);
}
