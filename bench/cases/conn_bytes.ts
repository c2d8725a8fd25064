/**
 * Memory of a tracked connection at one of its two hosts, which has its record and the flow of one direction: the tables of the packet
 * worker, counted by `packages/agent/bench/connections.ts`, what the driver keeps, and the kernel's flow tables, by what they grow in a lab while connections come
 * about. What the agents' processes grow by meanwhile has to agree with it.
 */
import { KEY_SIZE } from '@weft/flow';
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { sleep } from '../harness/exec.ts';
import { mapsOf, slabBytes } from '../harness/kernel-memory.ts';
import type { BenchLab } from '../harness/labs.ts';
import { TUPLE_PORT } from '../harness/paced-tuples.ts';
import { packageBench } from '../harness/package-bench.ts';
import { proveOnWire } from '../harness/proof.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { round } from '../harness/statistics.ts';
import { sendFlows } from '../harness/udp-flows.ts';

const RATE = 4_000;
const HOSTS = ['h1', 'h2'] as const;
const MAP_TYPE_HASH = 1;
const MAP_TYPE_ARRAY = 2;
const COUNTER_SIZE = 16;

interface WorkerMemory {
  readonly bytes: number;
  readonly parts: Readonly<Record<string, number>>;
}

async function run(context: BenchContext): Promise<BenchResult[]> {
  const connections = context.quick ? 10_000 : 200_000;
  const worker = await packageBench<{ opening: WorkerMemory; both: WorkerMemory }>('agent', 'connections.ts', [
    `${context.quick ? 20_000 : 200_000}`,
  ]);
  const driver = await packageBench<{ bytes_per_flow: number }>('datapath', 'flow-keys.ts', [`${connections}`]);
  const lab = await context.labs.get('many-conns', 'vxlan');
  try {
    const before = await look(lab);
    await connect(lab, connections);
    await sleep(2_000); // What was only for setting up is given back, or it counts.
    const after = await look(lab);
    // Of both hosts: each has one flow of each connection.
    const elements = (after.slab - before.slab) / (HOSTS.length * connections);
    const { fixed } = before;
    const kernel = elements + fixed;
    const flow = driver.bytes_per_flow + kernel;
    const bytes = worker.opening.bytes + flow;
    const resident = (after.resident - before.resident) / (HOSTS.length * connections);
    return [
      figure(
        { id: 'conn_bytes', unit: 'B', target: { atMost: 1_024 } },
        { median: Math.round(bytes), values: [round(bytes)] },
        {
          conditions: {
            encap: 'vxlan',
            connections,
            parts: worker.opening.parts,
            parts_both: worker.both.parts,
            statistic:
              'worker tables at full capacity + kernel tables, per connection and host: its record and one flow',
          },
          also: {
            worker: worker.opening.bytes,
            driver: Math.round(driver.bytes_per_flow),
            kernel: Math.round(kernel),
            kernel_elements: Math.round(elements),
            kernel_fixed: Math.round(fixed),
            both_flows_here: Math.round(worker.both.bytes + 2 * flow),
            rss_grew: Math.round(resident),
          },
        },
      ),
    ];
  } finally {
    await lab.down();
  }
}

interface Look {
  /** Of both agents, bytes: what is theirs, and what the table of connections has on a tmpfs. */
  readonly resident: number;
  readonly slab: number;
  /** Bytes of kernel tables per possible flow, taken before there is any. */
  readonly fixed: number;
}

async function look(lab: BenchLab): Promise<Look> {
  let resident = 0;
  for (const host of HOSTS) resident += (await lab.residentMib(host)).total * 2 ** 20;
  const maps = await mapsOf(lab.lab.state.processes.agents.h1.pid);
  const flows = maps.find(({ type, keySize }) => type === MAP_TYPE_HASH && keySize === KEY_SIZE);
  require(flows !== undefined, () => 'the agent of h1 has no table of flows');
  // A counter of each flow and CPU, and the first key of each flow.
  const arrays = maps.filter(
    ({ type, valueSize, maxEntries }) =>
      type === MAP_TYPE_ARRAY && [COUNTER_SIZE, KEY_SIZE].includes(valueSize) && maxEntries >= flows.maxEntries,
  );
  require(arrays.length === 2, () => `${arrays.length} arrays of the agent of h1 have a place for each flow`);
  const fixed = [flows, ...arrays].reduce((sum, { bytes }) => sum + bytes, 0) / flows.maxEntries;
  return { resident, slab: await slabBytes(), fixed };
}

/** A packet each way of so many tuples: what is lost the first time comes about the second time. */
async function connect(lab: BenchLab, connections: number): Promise<void> {
  const path = lab.path('vm-a', 'vm-b');
  await proveOnWire(path);
  const { client, server } = path;
  const spec = { port: TUPLE_PORT, tuples: connections, count: connections, rate: RATE };
  const ways = [
    { from: client, to: server, host: 'h1', answers: false },
    { from: server, to: client, host: 'h2', answers: true },
  ];
  for (const { from, to, host, answers } of ways) {
    for (let n = 0; n < 3 && (await lab.settled(host)).flows < connections; n++) {
      await sendFlows({ ...spec, from, to, targetMac: to.mac, answers });
    }
  }
  for (const host of HOSTS) {
    const status = await lab.settled(host);
    require(status.flows >= connections && status.connections >= connections, () =>
      `${host} has ${status.flows} flows and ${status.connections} connections, not ${connections}`);
  }
}

export default {
  id: 'conn_bytes',
  what: 'memory of a tracked connection at one of its hosts, all tables and kernel maps',
  needsRoot: true,
  run,
} satisfies BenchCase;
