export * from './contract.ts';
export { EbpfDatapath, type EbpfOptions, groName, probeKernel } from './ebpf/index.ts';
export * from './errors.ts';
export { openDatapath } from './open.ts';
export { UserspaceDatapath } from './userspace/index.ts';
