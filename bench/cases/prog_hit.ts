/** The eBPF program alone, by BPF_PROG_TEST_RUN: ns for a packet that hits, encapsulation included. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { takeTurns } from '../harness/interleave.ts';
import { packageFigures } from '../harness/package-bench.ts';
import { type BenchResult, figure, type Target } from '../harness/result.ts';
import { sampleOf } from '../harness/statistics.ts';

const ROWS: Readonly<Record<string, Target | undefined>> = {
  prog_hit: { atMost: 150 },
  prog_hit_1: undefined,
  prog_hit_8: undefined,
};

async function run(context: BenchContext): Promise<BenchResult[]> {
  const rounds = context.quick ? 1 : 3;
  const measure = () => packageFigures('datapath', 'prog.ts', context.quick ? ['--quick'] : []);
  const taken = (await takeTurns([{ name: 'prog', measure }], rounds)).get('prog')!;
  return Object.entries(ROWS).map(([id, target]) => {
    const values = taken.map((figures) => figures.find((candidate) => candidate.id === id));
    require(values.every((value) => value !== undefined), () => `packages/datapath/bench/prog.ts did not print ${id}`);
    const [first] = values;
    return figure({ id, unit: first!.unit, target }, sampleOf(values.map((value) => value!.value)), {
      conditions: { ...first!.rest },
    });
  });
}

export default {
  id: 'prog_hit',
  rows: Object.keys(ROWS),
  what: 'eBPF program, ns per hit: one flow; 100,000 flows in the first class; in the last of 8',
  needsRoot: true,
  run,
} satisfies BenchCase;
