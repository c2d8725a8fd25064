export { groName } from './devices.ts';
export { EbpfDatapath } from './ebpf.ts';
export type { EbpfOptions } from './load.ts';
export { OBJECT_DIRECTORY, probeKernel } from './object.ts';
