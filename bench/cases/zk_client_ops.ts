/** The ZooKeeper client: pipelined gets per second and CPU time for each, beside npm's node-zookeeper-client. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { packageBench } from '../harness/package-bench.ts';
import { type BenchResult, judge } from '../harness/result.ts';
import { pairedRatio, round, sampleOf } from '../harness/statistics.ts';

const ID = 'zk_client_ops';

interface Ops {
  readonly inFlight: number;
  readonly bytes: number;
  readonly ops: number;
  readonly contestants: readonly {
    readonly name: string;
    readonly perSecond: readonly number[];
    readonly cpuUs: readonly number[];
  }[];
}

async function run(context: BenchContext): Promise<BenchResult[]> {
  const args = context.quick ? ['--json', '--quick'] : ['--json'];
  const { inFlight, bytes, ops, contestants } = await packageBench<Ops>('zookeeper', 'client-ops.ts', args);
  require(contestants.length === 2, () => 'packages/zookeeper/bench/client-ops.ts did not print both clients');
  const [own, peer] = contestants;
  const [mine, theirs] = [sampleOf(own.perSecond), sampleOf(peer.perSecond)];
  const ratio = round(mine.median / theirs.median);
  return [
    {
      id: ID,
      value: mine.median,
      unit: '1/s',
      peer: peer.name,
      peer_value: theirs.median,
      ratio,
      runs: mine.values.length,
      samples: { [own.name]: mine.values, [peer.name]: theirs.values },
      conditions: { server: 'one, Apache ZooKeeper of Debian', in_flight: inFlight, bytes, gets_per_run: ops },
      also: {
        ratio_paired: round(pairedRatio(mine.values, theirs.values)),
        cpu_us: sampleOf(own.cpuUs).median,
        peer_cpu_us: sampleOf(peer.cpuUs).median,
      },
      target: judge({ ratio: 1.5 }, '1/s', mine.median, ratio),
    },
  ];
}

export default {
  id: ID,
  what: 'gets per second of one pipelined ZooKeeper client, and its CPU time for each',
  needsRoot: false,
  run,
} satisfies BenchCase;
