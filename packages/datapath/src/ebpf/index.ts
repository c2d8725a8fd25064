export { EbpfDatapath, type EbpfOptions } from './ebpf.ts';
export { OBJECT_DIRECTORY, pinDirectory } from './object.ts';
