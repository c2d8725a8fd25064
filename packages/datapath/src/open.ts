/** Opens a datapath by its kind, in the network namespace of the calling thread. */
import type { Datapath, DatapathOptions } from './contract.ts';
import { EbpfDatapath } from './ebpf/index.ts';
import { UserspaceDatapath } from './userspace/index.ts';

/** What takes long goes on in the background. @throws DatapathError, SysError: see the drivers. */
export async function openDatapath(kind: 'ebpf' | 'userspace', options: DatapathOptions): Promise<Datapath> {
  return kind === 'ebpf' ? EbpfDatapath.open(options) : new UserspaceDatapath(options);
}
