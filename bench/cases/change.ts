/** How long a change takes to bite, with the store in one process: see `rule-changes.ts`. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { measureRuleChanges } from '../harness/rule-changes.ts';
import { median, percentile, round } from '../harness/statistics.ts';

async function run(context: BenchContext): Promise<BenchResult[]> {
  const { verdict, live, beforeAnswer, conditions } = await measureRuleChanges(context, 'embedded');
  const statistic =
    'from the answer of the API to the new verdict at the slowest host; 0 where it was there before the answer';
  const also = {
    max: round(Math.max(...verdict)),
    before_answer: beforeAnswer,
    reported_live_p50: round(median(live)),
    reported_live_p99: round(percentile(live, 0.99)),
  };
  const row = (id: string, value: number, atMost: number) =>
    figure(
      { id, unit: 'ms', target: { atMost } },
      { median: round(value), values: verdict.map(round) },
      { conditions: { ...conditions, statistic }, also },
    );
  return [row('change_p50', median(verdict), 100), row('change_p99', percentile(verdict, 0.99), 300)];
}

export default {
  id: 'change',
  rows: ['change_p50', 'change_p99'],
  what: 'from the answer of the API to the changed verdict on the wire of three hosts',
  needsRoot: true,
  run,
} satisfies BenchCase;
