import { describeDatapath } from '../compliance/index.ts';
import { UserspaceDatapath } from './index.ts';

describeDatapath({
  kind: 'userspace',
  create: (options) => new UserspaceDatapath(options),
  skip: () => (process.geteuid?.() === 0 ? false : 'needs root (CAP_NET_RAW, CAP_NET_ADMIN, CAP_SYS_ADMIN)'),
  adopts: false,
});
