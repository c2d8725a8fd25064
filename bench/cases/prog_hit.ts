/** The eBPF program alone, by the kernel's statistics under traffic: ns for a packet that hits, encapsulation included. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { packageBench } from '../harness/package-bench.ts';
import { type BenchResult, figure, type Target } from '../harness/result.ts';
import { median, sampleOf } from '../harness/statistics.ts';

/** Of `packages/datapath/bench/prog.ts`, by encapsulation: ns by what was measured. */
interface ProgramTimes {
  readonly flows: number;
  readonly vxlan: Readonly<Record<string, number>>;
  readonly gre: Readonly<Record<string, number>>;
}

interface Row {
  readonly id: string;
  readonly name: string;
  readonly target?: Target;
  /** Also told, of the same packet. */
  readonly also: readonly string[];
}

const ROWS: readonly Row[] = [
  {
    id: 'prog_hit',
    name: 'one_flow_hit_encap',
    target: { atMost: 150 },
    also: [
      'one_flow_hit_rewrite_encap',
      'one_flow_class_1_hit_forward',
      'one_flow_class_8_hit_forward',
      'measuring_overhead',
    ],
  },
  { id: 'prog_hit_1', name: 'many_flows_class_1_hit', also: [] },
  { id: 'prog_hit_8', name: 'many_flows_last_of_8_hit', also: ['many_flows_last_of_8_crowded_hit'] },
];

async function run(context: BenchContext): Promise<BenchResult[]> {
  const [rounds, flows] = context.quick ? [1, 10_000] : [3, 100_000];
  const taken: ProgramTimes[] = [];
  for (let i = 0; i < rounds; i++) taken.push(await packageBench<ProgramTimes>('datapath', 'prog.ts', [`${flows}`]));
  return ROWS.map(({ id, name, target, also }) => {
    const times = (encap: 'vxlan' | 'gre', what: string) => taken.map((round) => round[encap][what]);
    const values = times('vxlan', name);
    require(values.every((value) => Number.isFinite(value) && value > 0), () => `prog.ts did not measure ${name}`);
    return figure({ id, unit: 'ns', target }, sampleOf(values), {
      conditions: { encap: 'vxlan', flows: id === 'prog_hit' ? 1 : flows, measured: name },
      also: {
        gre: median(times('gre', name)),
        ...Object.fromEntries(also.map((what) => [what, median(times('vxlan', what))])),
      },
    });
  });
}

export default {
  id: 'prog_hit',
  rows: ROWS.map(({ id }) => id),
  what: 'eBPF program, ns per hit: one flow; 100,000 flows in the first class; in the last of 8',
  needsRoot: true,
  run,
} satisfies BenchCase;
