/** The REST API: requests per second of one process over the embedded store, driven by another process over 32 connections. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { packageBench } from '../harness/package-bench.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { sampleOf } from '../harness/statistics.ts';

const TARGETS = { api_create: 1_000, api_read: 5_000 } as const;
/** A client this busy measures itself. */
const CLIENT_LIMIT = 0.8;

interface Requests {
  readonly connections: number;
  readonly results: readonly {
    readonly id: string;
    readonly runs: readonly number[];
    readonly p50: number;
    readonly p99: number;
    readonly clientCpu: number;
  }[];
}

async function run(context: BenchContext): Promise<BenchResult[]> {
  const args = context.quick ? ['--json', '--quick'] : ['--json'];
  const { connections, results } = await packageBench<Requests>('api', 'requests.ts', args);
  return Object.entries(TARGETS).map(([id, atLeast]) => {
    const measured = results.find((result) => result.id === id);
    require(measured !== undefined, () => `packages/api/bench/requests.ts did not print ${id}`);
    const { runs, p50, p99, clientCpu } = measured!;
    require(clientCpu < CLIENT_LIMIT, () => `the load generator used ${clientCpu} of a CPU: it was the bottleneck`);
    return figure({ id, unit: '1/s', target: { atLeast } }, sampleOf(runs), {
      conditions: { connections, door: 'TCP, token', statistic: 'requests answered rightly per second' },
      also: { p50_ms: p50, p99_ms: p99, client_cpu: clientCpu },
    });
  });
}

export default {
  id: 'api',
  rows: Object.keys(TARGETS),
  what: 'requests per second of one API process: ports created, ports read',
  needsRoot: false,
  run,
} satisfies BenchCase;
