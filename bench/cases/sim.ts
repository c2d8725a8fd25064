/** The simulator alone: ns per packet through a bridge, through a router, and through a chain of 20 rules besides. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { takeTurns } from '../harness/interleave.ts';
import { packageFigures } from '../harness/package-bench.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { sampleOf } from '../harness/statistics.ts';

const ROWS = ['sim_l2', 'sim_l3', 'sim_chain20'];

async function run(context: BenchContext): Promise<BenchResult[]> {
  const rounds = context.quick ? 1 : 3;
  const measure = () => packageFigures('simulator', 'sim.ts', ['--json', ...(context.quick ? ['--quick'] : [])]);
  const taken = (await takeTurns([{ name: 'sim', measure }], rounds)).get('sim')!;
  return ROWS.map((id) => {
    const values = taken.map((figures) => figures.find((candidate) => candidate.id === id));
    require(values.every((value) => value !== undefined), () => `packages/simulator/bench/sim.ts did not print ${id}`);
    const [first] = values;
    return figure({ id, unit: first!.unit }, sampleOf(values.map((value) => value!.value)), {
      conditions: { ...first!.rest },
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
