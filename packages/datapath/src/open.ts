/** Opens a datapath by its kind, in the network namespace of the calling thread. */
import type { Datapath, DatapathOptions } from './contract.ts';
import { EbpfDatapath } from './ebpf/index.ts';
import { UserspaceDatapath } from './userspace/index.ts';

/** @throws DatapathError, SysError: see the drivers. */
export function openDatapath(kind: 'ebpf' | 'userspace', options: DatapathOptions): Datapath {
  return kind === 'ebpf' ? new EbpfDatapath(options) : new UserspaceDatapath(options);
}
