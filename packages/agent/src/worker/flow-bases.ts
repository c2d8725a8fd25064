/**
 * What counter slots had counted before their flows came: a slot's counters are never reset, so that nothing is lost. In a file on the
 * run directory's tmpfs, mapped: flows outlive the agent, and the next one shows the same numbers of them. It knows nothing of
 * the layout of flows; a table of another size begins from 0.
 */
import { closeSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { NativeBuffer } from '@weft/sys';

/** By slot. */
export interface FlowBases {
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
}

/** Bases that nothing outlives. */
export function newFlowBases(slots: number): FlowBases {
  return { packets: new Float64Array(slots), bytes: new Float64Array(slots) };
}

/** Maps the file, which is made if need be. @throws SysError if it cannot be mapped */
export function openFlowBases(file: string, slots: number): FlowBases & { close(): void } {
  const size = slots * 2 * Float64Array.BYTES_PER_ELEMENT;
  const fd = openSync(file, 'a+', 0o600);
  try {
    if (fstatSync(fd).size !== size) {
      ftruncateSync(fd, 0);
      ftruncateSync(fd, size);
    }
    const memory = NativeBuffer.mapFd(fd, size);
    return {
      packets: new Float64Array(memory.buffer, 0, slots),
      bytes: new Float64Array(memory.buffer, size / 2, slots),
      close: () => memory.close(),
    };
  } finally {
    closeSync(fd);
  }
}
