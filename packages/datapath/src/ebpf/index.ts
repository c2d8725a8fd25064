export { groName } from './devices.ts';
export { EbpfDatapath, type EbpfOptions } from './ebpf.ts';
export { OBJECT_DIRECTORY, probeKernel } from './object.ts';
