/** Resident memory of an agent that has 100,000 flows, each of an own 5-tuple, all of them alive. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { sleep } from '../harness/exec.ts';
import { proveOnWire } from '../harness/proof.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { round, sampleOf } from '../harness/statistics.ts';
import { openSink, sendFlows } from '../harness/udp-flows.ts';

const PORT = 9000;

async function run(context: BenchContext): Promise<BenchResult[]> {
  const flows = context.quick ? 5_000 : 100_000;
  const lab = await context.labs.get('many-flows', 'vxlan');
  try {
    const path = lab.path('vm-a', 'vm-b');
    await proveOnWire(path);
    const before = await lab.residentMib('h1');
    const spec = {
      from: path.client,
      to: path.server,
      targetMac: path.server.mac,
      port: PORT,
      tuples: flows,
      rate: 5_000,
    };
    const sink = await openSink(path.server, PORT, flows, 2 * flows);
    // Once more, slower than the cap: whatever was lost the first time becomes a flow now.
    await sendFlows({ ...spec, count: flows });
    const { flows: first } = await lab.settled('h1');
    if (first < flows) await sendFlows({ ...spec, count: flows });
    const status = await lab.settled('h1');
    await sink.stop();
    require(status.flows >= flows, () => `${status.flows} flows are installed, not ${flows}`);
    await sleep(2_000); // What was only for setting up is given back, or it counts.
    const after = await lab.residentMib('h1');
    return [
      figure({ id: 'agent_rss_100k', unit: 'MiB', target: { atMost: 250 } }, sampleOf([round(after.total)]), {
        conditions: { flows: status.flows, statistic: 'VmRSS of the agent process' },
        also: {
          flows: status.flows,
          before: round(before.total),
          anonymous: round(after.anonymous),
          anonymous_before: round(before.anonymous),
          file: round(after.file),
          shared: round(after.shared),
          bytes_per_flow: Math.round(((after.total - before.total) * 2 ** 20) / status.flows),
        },
      }),
    ];
  } finally {
    await lab.down();
  }
}

export default {
  id: 'agent_rss_100k',
  what: 'memory of an agent with 100,000 flows',
  needsRoot: true,
  run,
} satisfies BenchCase;
