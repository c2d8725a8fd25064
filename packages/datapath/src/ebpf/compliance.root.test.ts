import { describeDatapath } from '../compliance/index.ts';
import { createEbpf, needsEbpf } from './testing.ts';

describeDatapath({ kind: 'ebpf', create: (options) => createEbpf(options), skip: needsEbpf, adopts: true });
