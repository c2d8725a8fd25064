/** Which BPF programs stand at an interface's tcx hooks, whoever put them there: BPF_PROG_QUERY (include/uapi/linux/bpf.h). */
import { BPF_TCX_EGRESS, BPF_TCX_INGRESS } from './bpf.ts';
import { isErrno, SysError } from './errors.ts';
import { close } from './fd.ts';
import { cString, errno, SYS, syscall } from './libc.ts';
import { NativeBuffer } from './memory.ts';
import type { TcHook } from './tc.ts';

const BPF_PROG_GET_FD_BY_ID = 13;
const BPF_OBJ_GET_INFO_BY_FD = 15;
const BPF_PROG_QUERY = 16;
const ATTR_SIZE = 64;
const MAX_PROGRAMS = 64;
const PROG_INFO_SIZE = 232;
const PROG_INFO_NAME = 64;
const PROG_NAME_LEN = 16;

/** A program at a hook. `name` has at most 15 bytes; '' when the kernel does not tell. */
export type AttachedProgram = { readonly id: number; readonly name: string };

function bpf(memory: NativeBuffer, command: number, size: number, what: string): number {
  const result = syscall(SYS.bpf, command, memory.address, size);
  if (result === -1) throw new SysError('bpf', errno(), what);
  return result;
}

function setPointer(view: DataView, at: number, address: number): void {
  view.setUint32(at, address % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(address / 0x1_0000_0000), true);
}

/**
 * Programs at a tcx hook of an interface of the calling thread's namespace, in the order in which packets meet them.
 * Undefined on kernels without tcx (before 6.6). Throws SysError (EPERM, ENODEV).
 */
export function tcxPrograms(ifindex: number, hook: TcHook): AttachedProgram[] | undefined {
  using memory = NativeBuffer.alloc(ATTR_SIZE + MAX_PROGRAMS * 4);
  const { view } = memory;
  view.setUint32(0, ifindex, true);
  view.setUint32(4, hook === 'ingress' ? BPF_TCX_INGRESS : BPF_TCX_EGRESS, true);
  setPointer(view, 16, memory.address + ATTR_SIZE);
  view.setUint32(24, MAX_PROGRAMS, true);
  try {
    bpf(memory, BPF_PROG_QUERY, ATTR_SIZE, `programs at ${hook} of ifindex ${ifindex}`);
  } catch (error) {
    // The interface has no tcx hook in use, or the kernel has none at all.
    if (isErrno(error, 'ENOENT')) return [];
    if (isErrno(error, 'EINVAL')) return undefined;
    throw error;
  }
  const count = Math.min(view.getUint32(24, true), MAX_PROGRAMS);
  const ids = Array.from({ length: count }, (_, i) => view.getUint32(ATTR_SIZE + i * 4, true));
  return ids.map((id) => ({ id, name: programName(id) }));
}

/** Name of a loaded program by its id, '' when it is gone meanwhile. Throws SysError (EPERM without CAP_SYS_ADMIN). */
export function programName(id: number): string {
  using memory = NativeBuffer.alloc(ATTR_SIZE + PROG_INFO_SIZE);
  const { view } = memory;
  view.setUint32(0, id, true);
  let fd: number;
  try {
    fd = bpf(memory, BPF_PROG_GET_FD_BY_ID, ATTR_SIZE, `program ${id}`);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
  try {
    view.setUint32(0, fd, true);
    view.setUint32(4, PROG_INFO_SIZE, true);
    setPointer(view, 8, memory.address + ATTR_SIZE);
    bpf(memory, BPF_OBJ_GET_INFO_BY_FD, 16, `program ${id}`);
    const at = ATTR_SIZE + PROG_INFO_NAME;
    return cString(memory.bytes, at, at + PROG_NAME_LEN);
  } finally {
    close(fd);
  }
}
