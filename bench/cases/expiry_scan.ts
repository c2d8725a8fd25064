/** The table of connections alone: CPU time of a pass that looks at each of 500,000 live connections, none of which ends. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { packageBench } from '../harness/package-bench.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { median, round, sampleOf } from '../harness/statistics.ts';

const ALSO = ['lookup_ns', 'insert_ns', 'encode_ns', 'decode_ns', 'mac_us', 'bytes'] as const;

type TableTimes = Readonly<Record<'expiry_scan_ms' | (typeof ALSO)[number], number>>;

async function run(context: BenchContext): Promise<BenchResult[]> {
  const taken: TableTimes[] = [];
  for (let i = 0; i < (context.quick ? 1 : 3); i++)
    taken.push(await packageBench<TableTimes>('flowstate', 'flowstate.ts', ['--json']));
  return [
    figure(
      { id: 'expiry_scan', unit: 'ms', target: { atMost: 1_000 } },
      sampleOf(taken.map((one) => round(one.expiry_scan_ms))),
      {
        conditions: { connections: 500_000, statistic: 'median of the runs, each the least CPU time of three passes' },
        also: Object.fromEntries(ALSO.map((name) => [name, round(median(taken.map((one) => one[name])))])),
      },
    ),
  ];
}

export default {
  id: 'expiry_scan',
  what: 'CPU time of one pass over 500,000 live connections for those that have expired',
  needsRoot: false,
  run,
} satisfies BenchCase;
