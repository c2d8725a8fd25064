/** IP addresses of interfaces by rtnetlink (include/uapi/linux/if_addr.h). */
import { isErrno, WeftSysError } from '../errors.ts';
import { ipFamily, ipText, parsePrefix } from '../ip-text.ts';
import type { NetlinkSocket } from '../netlink.ts';
import {
  Attributes,
  type NetlinkMessage,
  NetlinkWriter,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from '../netlink-message.ts';
import { AF_INET, AF_INET6 } from '../socket.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

const IFADDR_SIZE = 8; // struct ifaddrmsg
const IFA = { ADDRESS: 1, LOCAL: 2, LABEL: 3, BROADCAST: 4, FLAGS: 8 } as const;

/** Address flags. NODAD: usable at once, without duplicate address detection (IPv6). */
export const IFA_F_NODAD = 0x02;
export const IFA_F_TENTATIVE = 0x40;
export const IFA_F_PERMANENT = 0x80;
export const IFA_F_NOPREFIXROUTE = 0x200;

/** An address of an interface. */
export type InterfaceAddress = {
  ifindex: number;
  family: 4 | 6;
  /** Text without prefix length. */
  address: string;
  prefixLength: number;
  /** The far end's address of a point-to-point address, else the same as `address`. */
  peer: string;
  /** RT_SCOPE_*: 0 universe, 253 link, 254 host. */
  scope: number;
  /** IFA_F_* bits. */
  flags: number;
};

function write(type: number, flags: number, ifindex: number, prefix: string, addressFlags: number): NetlinkWriter {
  const { address, prefixLength } = parsePrefix(prefix);
  const w = new NetlinkWriter(type, flags);
  w.rawU8(ipFamily(address), prefixLength, 0, 0).rawU32(ifindex);
  w.attr(IFA.LOCAL, address).attr(IFA.ADDRESS, address);
  if (addressFlags) w.attrU32(IFA.FLAGS, addressFlags);
  return w;
}

/**
 * Adds `10.0.0.1/24` or `fd00::1/64`. IPv6 addresses skip duplicate address detection unless `dad`.
 * Throws SysError (EEXIST unless `replace`, ENODEV).
 */
export function addressAdd(
  nl: NetlinkSocket,
  ifindex: number,
  prefix: string,
  options: { replace?: boolean; dad?: boolean; noPrefixRoute?: boolean } = {},
): void {
  const isV6 = prefix.includes(':');
  const flags = (isV6 && !options.dad ? IFA_F_NODAD : 0) | (options.noPrefixRoute ? IFA_F_NOPREFIXROUTE : 0);
  const mode = NLM_F_CREATE | (options.replace ? NLM_F_REPLACE : NLM_F_EXCL);
  nl.request(write(RTM_NEWADDR, mode, ifindex, prefix, flags), `add address ${prefix} to ifindex ${ifindex}`);
}

/** Removes an address. Returns false when the interface does not have it. */
export function addressDel(nl: NetlinkSocket, ifindex: number, prefix: string): boolean {
  try {
    nl.request(write(RTM_DELADDR, 0, ifindex, prefix, 0), `delete address ${prefix} from ifindex ${ifindex}`);
    return true;
  } catch (error) {
    if (isErrno(error, 'EADDRNOTAVAIL', 'ENODEV')) return false;
    throw error;
  }
}

/** Addresses of the socket's namespace, of one interface when `ifindex` is given. */
export function addressList(nl: NetlinkSocket, ifindex = 0): InterfaceAddress[] {
  const w = new NetlinkWriter(RTM_GETADDR, 0).rawU8(0, 0, 0, 0).rawU32(0);
  return nl
    .dump(w, 'list addresses')
    .map(parseAddress)
    .filter((a) => a !== undefined)
    .filter((a) => ifindex === 0 || a.ifindex === ifindex);
}

/** Reads RTM_NEWADDR and RTM_DELADDR; undefined for another type or family. */
export function parseAddress(message: NetlinkMessage): InterfaceAddress | undefined {
  if (message.type !== RTM_NEWADDR && message.type !== RTM_DELADDR) return undefined;
  if (message.end - message.start < IFADDR_SIZE)
    throw new WeftSysError('WEFT_SYS_PROTOCOL', 'address message cut short');
  const { view, start } = message;
  const family = view.getUint8(start);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const a = Attributes.of(message, IFADDR_SIZE);
  const peer = a.bytes(IFA.ADDRESS);
  const local = a.bytes(IFA.LOCAL) ?? peer;
  const size = family === AF_INET ? 4 : 16;
  if (!local || local.length !== size) return undefined;
  return {
    ifindex: view.getUint32(start + 4, true),
    family: family === AF_INET ? 4 : 6,
    address: ipText(local),
    prefixLength: view.getUint8(start + 1),
    peer: peer && peer.length === size ? ipText(peer) : ipText(local),
    scope: view.getUint8(start + 3),
    flags: a.u32(IFA.FLAGS) ?? view.getUint8(start + 2),
  };
}
