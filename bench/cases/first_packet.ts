/** What the first packet of a flow waits for: upcall, simulation, installation, re-injection. Both hosts are idle. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { addedOf, PAUSE_US, probe, startEcho } from '../harness/first-packets.ts';
import { proveOnWire } from '../harness/proof.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { median, percentile, round, sampleOf } from '../harness/statistics.ts';

/** Below the ports that the kernel gives out by itself. */
const SOURCE_PORT = 20_000;
/** Packets that are not ours: neighbour discovery of the two VMs. */
const STRAY = 4;

async function run(context: BenchContext): Promise<BenchResult[]> {
  const flows = context.quick ? 50 : 1000;
  const lab = await context.labs.get('first-packet', 'vxlan');
  const path = lab.path('vm-a', 'vm-b');
  await proveOnWire(path);
  const echo = await startEcho(path.server);
  try {
    await probe(path, SOURCE_PORT - 50, 20); // The way back, neighbours, the agent's own caches and compiled code.
    const before = [await lab.settled('h1'), await lab.settled('h2')];
    const probes = await probe(path, SOURCE_PORT, flows);
    const after = [await lab.settled('h1'), await lab.settled('h2')];
    const upcalls = after.map((status, i) => status.upcalls - before[i].upcalls);
    require(upcalls[0] >= flows && upcalls[0] <= flows + STRAY, () =>
      `${flows} new flows caused ${upcalls[0]} upcalls at their host: no first packets were measured`);
    require(upcalls[1] <= STRAY, () => `the way back caused ${upcalls[1]} upcalls: two first packets were measured`);
    const { first_ns, second_ns } = probes;
    const added = addedOf(probes);
    return [
      figure({ id: 'first_packet', unit: 'µs', target: { atMost: 300 } }, sampleOf(added.map(round)), {
        conditions: {
          encap: 'vxlan',
          flows,
          pause_us: PAUSE_US,
          statistic: 'p50 of (first round trip − second round trip of the same flow)',
        },
        also: {
          p90: round(percentile(added, 0.9)),
          p99: round(percentile(added, 0.99)),
          first_p50: round(median(first_ns) / 1000),
          established_p50: round(median(second_ns) / 1000),
          upcalls: upcalls[0],
        },
      }),
    ];
  } finally {
    await echo.stop();
  }
}

export default {
  id: 'first_packet',
  what: 'latency that the first packet of a flow has on top of an established one, idle hosts',
  needsRoot: true,
  run,
} satisfies BenchCase;
