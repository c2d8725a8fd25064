export { EbpfDatapath, type EbpfOptions } from './ebpf.ts';
export { OBJECT_DIRECTORY } from './object.ts';
