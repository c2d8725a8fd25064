import { createEbpf, needsEbpf } from '../ebpf/testing.ts';
import { UserspaceDatapath } from '../userspace/index.ts';
import { type DriverFactory, describeDifferential } from './index.ts';

const userspace: DriverFactory = {
  kind: 'userspace',
  create: (options) => new UserspaceDatapath(options),
  skip: () => false,
  adopts: false,
};
const ebpf: DriverFactory = { kind: 'ebpf', create: createEbpf, skip: needsEbpf, adopts: true };

const runs = Number(process.env.WEFT_DIFFERENTIAL_RUNS ?? 150);
const seed = process.env.WEFT_DIFFERENTIAL_SEED;
for (const [encap, ipv6] of [
  ['vxlan', false],
  ['gre', true],
] as const) {
  describeDifferential(userspace, ebpf, { encap, ipv6, runs, ...(seed === undefined ? {} : { seed: Number(seed) }) });
}
