/** How long a change takes until three agents have applied it, with the store on three ZooKeeper servers: see `rule-changes.ts`. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { measureRuleChanges } from '../harness/rule-changes.ts';
import { median, percentile, round } from '../harness/statistics.ts';

async function run(context: BenchContext): Promise<BenchResult[]> {
  const { verdict, live, beforeAnswer, conditions } = await measureRuleChanges(context, 'zookeeper');
  const statistic =
    'from the answer of the API until it says that all hosts have applied the change, the question for that included';
  const also = {
    max: round(Math.max(...live)),
    verdict_p50: round(median(verdict)),
    verdict_p99: round(percentile(verdict, 0.99)),
    verdict_before_answer: beforeAnswer,
  };
  const row = (id: string, value: number, atMost: number) =>
    figure(
      { id, unit: 'ms', target: { atMost } },
      { median: round(value), values: live.map(round) },
      { conditions: { ...conditions, servers: 3, tls: true, statistic }, also },
    );
  return [row('zk_change_p50', median(live), 50), row('zk_change_p99', percentile(live, 0.99), 300)];
}

export default {
  id: 'zk_change',
  rows: ['zk_change_p50', 'zk_change_p99'],
  what: 'from the answer of the API until three hosts have applied a change, over three ZooKeeper servers',
  needsRoot: true,
  run,
} satisfies BenchCase;
