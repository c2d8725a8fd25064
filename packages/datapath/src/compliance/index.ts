/**
 * The contract of a datapath driver as tests: `describeDatapath(factory)` declares them all with node:test. A driver is
 * done when they pass. Needs root; each group lives in namespaces of its own (`wdp-…`), removed afterwards.
 */
import { arrivalTests } from './arrivals.ts';
import { flowTests } from './flows.ts';
import { fragmentTests } from './fragments.ts';
import { lifecycleTests } from './lifecycle.ts';
import { outputTests } from './outputs.ts';
import { rewriteTests } from './rewrites.ts';
import type { DriverFactory } from './testbed.ts';
import { tunnelTests } from './tunnels.ts';
import { upcallTests } from './upcalls.ts';

export { createEbpf, needsEbpf } from '../ebpf/testing.ts';
export { Bench } from './bench.ts';
export { type DifferentialOptions, describeDifferential } from './differential.ts';
export { describeInterop } from './interop.ts';
export { group, guard } from './suite.ts';
export * from './testbed.ts';
export { TwoHosts } from './two-hosts.ts';

export function describeDatapath(factory: DriverFactory): void {
  flowTests(factory);
  outputTests(factory);
  rewriteTests(factory);
  upcallTests(factory);
  fragmentTests(factory);
  tunnelTests(factory);
  arrivalTests(factory);
  lifecycleTests(factory);
}
