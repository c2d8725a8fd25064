/**
 * The simulator alone: time per packet through a bridge, through a router, and through chains of 20 and 1,000 rules besides; within
 * known connections.
 */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { packageBench } from '../harness/package-bench.ts';
import { type BenchResult, type Figure, figure } from '../harness/result.ts';
import { sampleOf } from '../harness/statistics.ts';

const NANOSECONDS: Readonly<Record<string, number>> = { ns: 1, µs: 1000 };

const FIGURES: readonly Figure[] = [
  { id: 'sim_l2', unit: 'ns' },
  { id: 'sim_l3', unit: 'ns' },
  { id: 'sim_chain20', unit: 'ns' },
  { id: 'trace_overhead', unit: '×' },
  { id: 'chain_1k', unit: 'µs', target: { atMost: 50 } },
  { id: 'sim_ct_hit', unit: 'ns' },
  { id: 'sim_snat_hit', unit: 'ns' },
];

interface SimulatorTimes {
  readonly results: readonly { readonly id: string; readonly value: number; readonly unit: string }[];
}

async function run(context: BenchContext): Promise<BenchResult[]> {
  const taken: SimulatorTimes[] = [];
  for (let i = 0; i < (context.quick ? 1 : 3); i++) taken.push(await packageBench('simulator', 'sim.ts', ['--json']));
  return FIGURES.map((row) => {
    const statistic =
      row.id === 'trace_overhead' ? 'median of the quotients of the runs' : 'median of the means of the runs';
    return figure(row, sampleOf(valuesOf(taken, row)), { conditions: { statistic } });
  });
}

/** A figure's value in each run, in its unit. */
function valuesOf(taken: readonly SimulatorTimes[], { id, unit }: Figure): number[] {
  const times = (name: string): number[] => {
    const values = taken.flatMap(({ results }) =>
      results.filter((result) => result.id === name && result.unit === 'ns'),
    );
    require(values.length === taken.length, () => `packages/simulator/bench/sim.ts did not print ${name}`);
    return values.map(({ value }) => value);
  };
  if (id !== 'trace_overhead') return times(id).map((value) => value / NANOSECONDS[unit]);
  const plain = times('sim_chain20');
  return times('sim_chain20_recorded').map((value, i) => value / plain[i]);
}

export default {
  id: 'sim',
  rows: FIGURES.map(({ id }) => id),
  what: 'simulator alone, time per packet',
  needsRoot: false,
  run,
} satisfies BenchCase;
