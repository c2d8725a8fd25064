/**
 * The worker's own cost of a connection, without a kernel and other hosts: UDP through a router and a filter with memory.
 * Prints one JSON line: {"us_opening","us_answer": CPU time of the first packet each way; "opening": memory of the worker per connection
 * of which only the flow of the opening direction is here, "both": of one with both flows; each {"bytes", "parts": by the object that
 * holds them}}.
 *
 * Memory is that of all typed arrays that the engine holds, found by walking its objects, and what the JavaScript heap has grown by; tables
 * have exactly the capacity that is used. What a small engine holds as well (buffers of frames, …) is subtracted. The datapath's memory is
 * its own, also where the engine keeps first keys in it.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { udpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, MAC_B, RIGHT_MAC, routed } from '@weft/simulator/testing';
import { Harness, LOCAL_HOST } from '../src/testing/harness.ts';
import { MemoryState } from '../src/testing/memory-datapath.ts';

const CONNECTIONS = Number(process.argv[2] ?? 100_000);
const SMALL = 2_000;
const BATCH = 128;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

interface Memory {
  readonly heap: number;
  readonly parts: Map<string, number>;
}

interface Run {
  /** µs of CPU time per packet. */
  readonly opening: number;
  readonly answer: number;
  readonly memory: Memory;
}

/** Frames of one direction: source and destination port are set from the number of the connection. */
function template(opening: boolean): Uint8Array {
  const frame = opening
    ? { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10' }
    : { ethSrc: MAC_B, ethDst: RIGHT_MAC, src: '10.0.2.10', dst: '10.0.1.10' };
  return udpFrame({ ...frame, srcPort: 1, dstPort: 1, payload: new Uint8Array(4) });
}

function setPorts(frame: Uint8Array, n: number, opening: boolean): Uint8Array {
  const source = 10_000 + (n % 50_000);
  const target = 9_000 + Math.floor(n / 50_000);
  const [first, second] = opening ? [source, target] : [target, source];
  const own = frame.slice();
  own[34] = first >> 8;
  own[35] = first;
  own[36] = second >> 8;
  own[37] = second;
  return own;
}

function run(connections: number, answers: boolean): Run {
  const flows = connections * (answers ? 2 : 1);
  const net = routed();
  const { world } = net;
  const accept = { type: 'accept' };
  const tracked = { type: 'accept', matchReturnFlow: true };
  const to = [
    tracked,
    { type: 'accept', nwProto: 17, tpDst: { start: 9_000, end: 9_063 } },
    { type: 'drop', dlType: 0x0800 },
  ];
  const ports = [
    [net.a, 'vm0', {}],
    [net.b, 'vm1', { inboundFilterId: world.chain([tracked, accept]), outboundFilterId: world.chain(to) }],
  ] as const;
  for (const [port, interfaceName, filters] of ports) {
    world.patch('Port', port, { hostId: LOCAL_HOST, interfaceName, ...filters });
  }
  world.entry(`arp/${net.router}`, '10.0.1.10', MAC_A);
  const state = new MemoryState(flows + 64);
  const host = new Harness(world, state, {
    publish: false,
    limits: { maxFlowsPerPort: 4_194_304, maxConnections: connections + 64, maxConnectionsPerPort: 4_194_304 },
  });
  host.settle();
  // The first packets fetch the topology that the others use.
  const frames = [true, false].map(template);
  host.datapath.inject(10, setPorts(frames[0], 0, true));
  host.settle();
  if (answers) host.datapath.inject(11, setPorts(frames[1], 0, false));
  host.settle();
  collect();
  const heap = process.memoryUsage().heapUsed;
  const send = (opening: boolean): number => {
    let spent = 0;
    for (let done = 1; done < connections; done += BATCH) {
      const end = Math.min(connections, done + BATCH);
      for (let n = done; n < end; n++) {
        host.datapath.inject(opening ? 10 : 11, setPorts(frames[opening ? 0 : 1], n, opening));
      }
      const start = process.cpuUsage();
      host.turn();
      const used = process.cpuUsage(start);
      spent += used.user + used.system;
      host.datapath.executed.length = 0;
      host.datapath.order.length = 0;
    }
    return spent / connections;
  };
  const opening = send(true);
  const answer = answers ? send(false) : 0;
  const status = host.engine.status();
  if (status.connections !== connections || status.flows !== flows) {
    throw new Error(`${connections} connections made ${status.connections}, and ${status.flows} flows`);
  }
  collect();
  const parts = arraysOf(host.engine, [host.datapath, state, world, state.firstKeys, state.firstKeys.buffer]);
  return { opening, answer, memory: { heap: process.memoryUsage().heapUsed - heap, parts } };
}

/** Bytes of the typed arrays that are reached from an object, by the class of the object that holds them. */
function arraysOf(root: object, without: readonly object[]): Map<string, number> {
  const bytes = new Map<string, number>();
  const seen = new Set<object>(without);
  const queue: [object, string][] = [[root, '']];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const [object, holder] = next;
    if (seen.has(object)) continue;
    seen.add(object);
    if (ArrayBuffer.isView(object)) {
      const { buffer } = object;
      if (!seen.has(buffer)) bytes.set(holder, (bytes.get(holder) ?? 0) + buffer.byteLength);
      seen.add(buffer);
      continue;
    }
    const { name } = object.constructor ?? Object;
    const own = name === 'Object' || name === 'Array' || name === 'Map' || name === 'Set' ? holder : name;
    // What is kept in maps and lists by the thousand is on the heap, and counted there.
    const values =
      object instanceof Map || Array.isArray(object) ? [] : Object.values(Object.getOwnPropertyDescriptors(object));
    for (const { value } of values) if (typeof value === 'object' && value !== null) queue.push([value, own]);
  }
  return bytes;
}

/** Bytes per connection: what a large number of them takes more than a small one. */
function bytesOf(large: Memory, small: Memory): { bytes: number; parts: Record<string, number> } {
  const more = CONNECTIONS - SMALL;
  const parts: Record<string, number> = {};
  let bytes = (large.heap - small.heap) / more;
  parts.heap = Math.round(bytes);
  for (const [name, size] of [...large.parts].sort((a, b) => b[1] - a[1])) {
    const each = (size - (small.parts.get(name) ?? 0)) / more;
    bytes += each;
    if (each >= 1) parts[name] = Math.round(each);
  }
  return { bytes: Math.round(bytes), parts };
}

run(SMALL, true); // Compiled code.
const [both, opening] = [true, false].map((answers) => {
  const small = run(SMALL, answers);
  const large = run(CONNECTIONS, answers);
  return { large, memory: bytesOf(large.memory, small.memory) };
});
console.log(
  JSON.stringify({
    us_opening: +both.large.opening.toFixed(2),
    us_answer: +both.large.answer.toFixed(2),
    opening: opening.memory,
    both: both.memory,
  }),
);
