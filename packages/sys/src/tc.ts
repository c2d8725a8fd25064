/** BPF programs at an interface's clsact hook by rtnetlink (include/uapi/linux/pkt_sched.h, pkt_cls.h). */
import { isErrno, WeftSysError } from './errors.ts';
import type { NetlinkSocket } from './netlink.ts';
import {
  Attributes,
  type NetlinkMessage,
  NetlinkWriter,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from './netlink-message.ts';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;

const TCMSG_SIZE = 20; // struct tcmsg
const TC_H_CLSACT = 0xfffffff1;
const CLSACT_HANDLE = 0xffff0000;
const PARENT = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_BPF = { FD: 6, NAME: 7, FLAGS: 8, ID: 11 } as const;
const TCA_BPF_FLAG_ACT_DIRECT = 1;
/** htons(ETH_P_ALL) as the kernel keeps it in the lower half of tcm_info. */
const PROTOCOL_ALL = 0x0300;

/** Which way the frames go, seen from the host: ingress is what the interface receives. */
export type TcHook = keyof typeof PARENT;

/** Our place among the filters of a hook: fixed, so that a restarted process finds and replaces its own. */
export const WEFT_TC_PRIO = 0x5745;
export const WEFT_TC_HANDLE = 1;

/** A BPF filter at a clsact hook. */
export type TcFilter = {
  prio: number;
  handle: number;
  /** Name given when it was attached. */
  name: string;
  /** Id of the program (BPF_PROG_GET_FD_BY_ID). */
  programId: number;
};

function header(
  type: number,
  flags: number,
  ifindex: number,
  handle: number,
  parent: number,
  info: number,
): NetlinkWriter {
  return new NetlinkWriter(type, flags)
    .rawU8(0, 0)
    .rawU16(0)
    .rawU32(ifindex)
    .rawU32(handle)
    .rawU32(parent)
    .rawU32(info);
}

/** Adds the clsact qdisc to an interface. Returns false when it was there. Throws SysError (EEXIST: an `ingress` qdisc is in its place). */
export function clsactAdd(nl: NetlinkSocket, ifindex: number): boolean {
  const w = header(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0);
  try {
    nl.request(w.attrString(TCA_KIND, 'clsact'), `add clsact to ifindex ${ifindex}`);
    return true;
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    // An `ingress` qdisc holds the same handle, but has no egress hook: tell it from a clsact that is there already.
    const same = header(RTM_NEWQDISC, 0, ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0).attrString(TCA_KIND, 'clsact');
    nl.request(same, `use clsact of ifindex ${ifindex}`);
    return false;
  }
}

/** Removes the clsact qdisc with every filter on it, others' too. Returns false when there is none. */
export function clsactDel(nl: NetlinkSocket, ifindex: number): boolean {
  const w = header(RTM_DELQDISC, 0, ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0).attrString(TCA_KIND, 'clsact');
  try {
    nl.request(w, `delete clsact of ifindex ${ifindex}`);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EINVAL', 'ENODEV')) return false;
    throw error;
  }
}

/** Where among the filters, and what it is called in `tc filter show`. */
export type TcFilterOptions = { prio?: number; handle?: number; name?: string };

const info = (prio: number) => ((prio & 0xffff) << 16) | PROTOCOL_ALL;

/**
 * Attaches a program (direct action: its return code is the verdict) at clsact, which is added if need be, in place of
 * one that has the same prio and handle: packets see the old one or the new, never none. The filter holds the program
 * and survives this process. Throws SysError (ENODEV, EINVAL when it is no SCHED_CLS program).
 */
export function tcAttach(
  nl: NetlinkSocket,
  ifindex: number,
  hook: TcHook,
  programFd: number,
  options: TcFilterOptions = {},
): void {
  clsactAdd(nl, ifindex);
  const prio = options.prio ?? WEFT_TC_PRIO;
  const w = header(
    RTM_NEWTFILTER,
    NLM_F_CREATE | NLM_F_REPLACE,
    ifindex,
    options.handle ?? WEFT_TC_HANDLE,
    PARENT[hook],
    info(prio),
  );
  w.attrString(TCA_KIND, 'bpf').nest(TCA_OPTIONS, (o) => {
    o.attrU32(TCA_BPF.FD, programFd).attrString(TCA_BPF.NAME, options.name ?? 'weft');
    o.attrU32(TCA_BPF.FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  });
  nl.request(w, `attach a program to ${hook} of ifindex ${ifindex}`);
}

/** Removes the filter with this prio and handle; clsact stays. Returns false when there is none. */
export function tcDetach(nl: NetlinkSocket, ifindex: number, hook: TcHook, options: TcFilterOptions = {}): boolean {
  const prio = options.prio ?? WEFT_TC_PRIO;
  const w = header(RTM_DELTFILTER, 0, ifindex, options.handle ?? WEFT_TC_HANDLE, PARENT[hook], info(prio));
  try {
    nl.request(w.attrString(TCA_KIND, 'bpf'), `detach from ${hook} of ifindex ${ifindex}`);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EINVAL', 'ENODEV')) return false;
    throw error;
  }
}

/** BPF filters at a hook, in the order they run; empty without clsact. */
export function tcList(nl: NetlinkSocket, ifindex: number, hook: TcHook): TcFilter[] {
  let messages: NetlinkMessage[];
  try {
    messages = nl.dump(header(RTM_GETTFILTER, 0, ifindex, 0, PARENT[hook], 0), `list ${hook} of ifindex ${ifindex}`);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EINVAL', 'ENODEV')) return [];
    throw error;
  }
  const filters: TcFilter[] = [];
  for (const message of messages) {
    if (message.type !== RTM_NEWTFILTER) continue;
    if (message.end - message.start < TCMSG_SIZE)
      throw new WeftSysError('WEFT_SYS_PROTOCOL', 'filter message cut short');
    const a = Attributes.of(message, TCMSG_SIZE);
    const handle = message.view.getUint32(message.start + 8, true);
    const bpf = a.nested(TCA_OPTIONS);
    if (a.string(TCA_KIND) !== 'bpf' || handle === 0 || !bpf) continue;
    filters.push({
      prio: message.view.getUint32(message.start + 16, true) >>> 16,
      handle,
      name: bpf.string(TCA_BPF.NAME) ?? '',
      programId: bpf.u32(TCA_BPF.ID) ?? 0,
    });
  }
  return filters;
}
