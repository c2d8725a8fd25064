/**
 * Cuts an interface off from the host's own IP stack: without it a tenant's frames reach the host's sockets, and the host's
 * router solicitations and ARP replies reach the tenant. Packet sockets see frames before tc does, so a program that drops
 * everything at clsact ingress hides them from the host alone.
 */
import {
  close,
  errno,
  isErrno,
  linkSet,
  NativeBuffer,
  type NetlinkSocket,
  SYS,
  SysError,
  syscall,
  sysctlSet,
  tcAttach,
  tcDetach,
} from '@weft/sys';

const BPF_PROG_LOAD = 5;
const BPF_PROG_TYPE_SCHED_CLS = 3;
const TC_ACT_SHOT = 2;
const ATTR_SIZE = 64;

/** Name of the filter in `tc filter show`. */
export const DROP_FILTER = 'weft-drop';

/** Loads `return TC_ACT_SHOT`. Throws SysError (EPERM without CAP_BPF or CAP_SYS_ADMIN). */
export function loadDropProgram(): number {
  const memory = NativeBuffer.alloc(256);
  try {
    const { view, address } = memory;
    const instructions = 128;
    const license = 192;
    view.setUint8(instructions, 0xb7); // mov64 r0, imm
    view.setInt32(instructions + 4, TC_ACT_SHOT, true);
    view.setUint8(instructions + 8, 0x95); // exit
    memory.bytes.set(Buffer.from('Apache-2.0\0'), license);
    view.setUint32(0, BPF_PROG_TYPE_SCHED_CLS, true);
    view.setUint32(4, 2, true);
    setPointer(view, 8, address + instructions);
    setPointer(view, 16, address + license);
    const fd = syscall(SYS.bpf, BPF_PROG_LOAD, address, ATTR_SIZE);
    if (fd < 0) throw new SysError('bpf', errno(), 'BPF_PROG_LOAD');
    return fd;
  } finally {
    memory.close();
  }
}

function setPointer(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/**
 * Isolates the interface. Repeatable.
 * @returns true if the host is kept out by a drop program; false if this machine lets us have none and only IPv6, ARP and
 * forwarding are switched off.
 */
export function isolate(nl: NetlinkSocket, ifindex: number, name: string): boolean {
  quiet(['net', 'ipv6', 'conf', name, 'disable_ipv6'], 1);
  quiet(['net', 'ipv4', 'conf', name, 'forwarding'], 0);
  quiet(['net', 'ipv4', 'conf', name, 'arp_ignore'], 8);
  quiet(['net', 'ipv4', 'conf', name, 'drop_unicast_in_l2_multicast'], 1);
  try {
    linkSet(nl, ifindex, { addrGenMode: 'none' });
  } catch (error) {
    if (!isErrno(error, 'EOPNOTSUPP', 'EAFNOSUPPORT')) throw error;
  }
  let program: number;
  try {
    program = loadDropProgram();
  } catch (error) {
    if (isErrno(error, 'EPERM', 'ENOSYS', 'EINVAL')) return false;
    throw error;
  }
  try {
    tcAttach(nl, ifindex, 'ingress', program, { name: DROP_FILTER });
    return true;
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'ENOENT', 'EINVAL')) return false;
    throw error;
  } finally {
    close(program);
  }
}

/** Takes the drop program off; what else {@link isolate} did stays. An interface that is gone is no error. */
export function removeDropProgram(nl: NetlinkSocket, ifindex: number): void {
  tcDetach(nl, ifindex, 'ingress');
}

/** A kernel without IPv6 has no such parameter, which is as good. */
function quiet(key: readonly string[], value: number): void {
  try {
    sysctlSet(key, value);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}
