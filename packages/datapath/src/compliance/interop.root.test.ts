import { createEbpf, needsEbpf } from '../ebpf/testing.ts';
import { UserspaceDatapath } from '../userspace/index.ts';
import { type DriverFactory, describeInterop } from './index.ts';

const userspace: DriverFactory = {
  kind: 'userspace',
  create: (options) => new UserspaceDatapath(options),
  skip: () => (process.geteuid?.() === 0 ? false : 'needs root (CAP_NET_RAW, CAP_NET_ADMIN, CAP_SYS_ADMIN)'),
  adopts: false,
};
const ebpf: DriverFactory = { kind: 'ebpf', create: createEbpf, skip: needsEbpf, adopts: true };

describeInterop(userspace, userspace, 'gre', false);
describeInterop(userspace, userspace, 'vxlan', true);
describeInterop(userspace, ebpf, 'vxlan', false);
describeInterop(ebpf, userspace, 'gre', true);
