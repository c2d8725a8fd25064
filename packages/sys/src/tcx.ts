/** Attaching where clsact is not to be had (no CONFIG_NET_SCH_INGRESS, or an `ingress` qdisc in its place): tcx, Linux ≥ 6.6. */
import { isErrno, SysError } from './errors.ts';
import { errno, SYS, syscall } from './libc.ts';
import { NativeBuffer } from './memory.ts';
import type { NetlinkSocket } from './netlink.ts';
import { type Netns, runIn } from './netns.ts';
import { type TcFilterOptions, type TcHook, tcAttach } from './tc.ts';

const BPF_LINK_CREATE = 28;
const ATTACH_TYPE = { ingress: 46, egress: 47 } as const;
const ATTR_SIZE = 64;

/**
 * Attaches a program to a tcx hook of an interface in the calling thread's namespace.
 * @returns descriptor of the link: the program stays as long as it is open, or pinned. Close-on-exec.
 * Throws SysError (EINVAL on kernels without tcx, ENODEV).
 */
export function tcxAttach(ifindex: number, hook: TcHook, programFd: number): number {
  using attr = NativeBuffer.alloc(ATTR_SIZE);
  attr.view.setUint32(0, programFd, true);
  attr.view.setUint32(4, ifindex, true);
  attr.view.setUint32(8, ATTACH_TYPE[hook], true);
  const fd = syscall(SYS.bpf, BPF_LINK_CREATE, attr.address, ATTR_SIZE);
  if (fd === -1) throw new SysError('bpf', errno(), `BPF_LINK_CREATE, tcx ${hook} of ifindex ${ifindex}`);
  return fd;
}

/** How a program came to be attached. With tcx the caller keeps (or pins) `linkFd`, else the program is gone with it. */
export type Attachment = { kind: 'clsact' } | { kind: 'tcx'; linkFd: number };

/**
 * Attaches at clsact, or by tcx where the kernel refuses clsact.
 * @param netns the namespace of `nl`, when it is not the calling thread's: tcx goes by the thread, netlink by the socket
 */
export function attachProgram(
  nl: NetlinkSocket,
  ifindex: number,
  hook: TcHook,
  programFd: number,
  options: TcFilterOptions & { netns?: Netns } = {},
): Attachment {
  try {
    tcAttach(nl, ifindex, hook, programFd, options);
    return { kind: 'clsact' };
  } catch (error) {
    // What tells of the interface or the program would be no different by tcx.
    if (!isErrno(error, 'EEXIST', 'ENOENT', 'EOPNOTSUPP', 'EINVAL')) throw error;
    const attach = () => tcxAttach(ifindex, hook, programFd);
    try {
      return { kind: 'tcx', linkFd: options.netns === undefined ? attach() : runIn(options.netns, attach) };
    } catch {
      throw error;
    }
  }
}
