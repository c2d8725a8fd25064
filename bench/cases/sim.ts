/** The simulator alone: ns per packet through a bridge, through a router, and through a chain of 20 rules besides. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { packageBench } from '../harness/package-bench.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { sampleOf } from '../harness/statistics.ts';

const ROWS = ['sim_l2', 'sim_l3', 'sim_chain20'];

interface SimulatorTimes {
  readonly results: readonly { readonly id: string; readonly value: number; readonly unit: string }[];
}

async function run(context: BenchContext): Promise<BenchResult[]> {
  const taken: SimulatorTimes[] = [];
  for (let i = 0; i < (context.quick ? 1 : 3); i++) taken.push(await packageBench('simulator', 'sim.ts', ['--json']));
  return ROWS.map((id) => {
    const values = taken.flatMap(({ results }) => results.filter((result) => result.id === id && result.unit === 'ns'));
    require(values.length === taken.length, () => `packages/simulator/bench/sim.ts did not print ${id}`);
    return figure({ id, unit: 'ns' }, sampleOf(values.map(({ value }) => value)), {
      conditions: { statistic: 'median of the means of the runs' },
    });
  });
}

export default {
  id: 'sim',
  rows: ROWS,
  what: 'simulator alone, ns per packet',
  needsRoot: false,
  run,
} satisfies BenchCase;
