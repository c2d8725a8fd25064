/** ARP and NDP entries by rtnetlink (include/uapi/linux/neighbour.h). */
import { isErrno, WeftSysError } from '../errors.ts';
import { ipBytes, ipFamily, ipText, macBytes, macText } from '../ip-text.ts';
import type { NetlinkSocket } from '../netlink.ts';
import { Attributes, type NetlinkMessage, NetlinkWriter, NLM_F_CREATE, NLM_F_REPLACE } from '../netlink-message.ts';
import { AF_INET, AF_INET6 } from '../socket.ts';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;

const NDMSG_SIZE = 12; // struct ndmsg
const NDA_DST = 1;
const NDA_LLADDR = 2;

/** States of an entry (NUD_*), bits. */
export const NUD = {
  INCOMPLETE: 0x01,
  REACHABLE: 0x02,
  STALE: 0x04,
  DELAY: 0x08,
  PROBE: 0x10,
  FAILED: 0x20,
  NOARP: 0x40,
  PERMANENT: 0x80,
} as const;

/** A neighbour of an interface. */
export type Neighbour = {
  ifindex: number;
  address: string;
  /** '' while unresolved. */
  mac: string;
  /** {@link NUD} bits. */
  state: number;
  /** NTF_* bits. */
  flags: number;
};

function write(type: number, flags: number, ifindex: number, address: string, state: number): NetlinkWriter {
  const bytes = ipBytes(address);
  const w = new NetlinkWriter(type, flags);
  w.rawU8(ipFamily(bytes), 0).rawU16(0).rawU32(ifindex).rawU16(state).rawU8(0, 0);
  return w.attr(NDA_DST, bytes);
}

/** Sets an entry, permanent unless `state` says otherwise; overwrites the one that is there. */
export function neighbourSet(
  nl: NetlinkSocket,
  ifindex: number,
  address: string,
  mac: string,
  state: number = NUD.PERMANENT,
): void {
  const w = write(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, ifindex, address, state);
  nl.request(w.attr(NDA_LLADDR, macBytes(mac)), `set neighbour ${address} on ifindex ${ifindex}`);
}

/** Removes an entry. Returns false when there is none. */
export function neighbourDel(nl: NetlinkSocket, ifindex: number, address: string): boolean {
  try {
    nl.request(write(RTM_DELNEIGH, 0, ifindex, address, 0), `delete neighbour ${address} on ifindex ${ifindex}`);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

/** ARP and NDP entries of the socket's namespace, of one interface when `ifindex` is given. */
export function neighbourList(nl: NetlinkSocket, ifindex = 0): Neighbour[] {
  const w = new NetlinkWriter(RTM_GETNEIGH, 0).rawU8(0, 0).rawU16(0).rawU32(0).rawU16(0).rawU8(0, 0);
  return nl
    .dump(w, 'list neighbours')
    .map(parseNeighbour)
    .filter((n) => n !== undefined)
    .filter((n) => ifindex === 0 || n.ifindex === ifindex);
}

/** Reads RTM_NEWNEIGH and RTM_DELNEIGH; undefined for another type or family (bridge forwarding entries). */
export function parseNeighbour(message: NetlinkMessage): Neighbour | undefined {
  if (message.type !== RTM_NEWNEIGH && message.type !== RTM_DELNEIGH) return undefined;
  if (message.end - message.start < NDMSG_SIZE)
    throw new WeftSysError('WEFT_SYS_PROTOCOL', 'neighbour message cut short');
  const { view, start } = message;
  const family = view.getUint8(start);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const a = Attributes.of(message, NDMSG_SIZE);
  const dst = a.bytes(NDA_DST);
  if (!dst || dst.length !== (family === AF_INET ? 4 : 16)) return undefined;
  const mac = a.bytes(NDA_LLADDR);
  return {
    ifindex: view.getInt32(start + 4, true),
    address: ipText(dst),
    mac: mac ? macText(mac) : '',
    state: view.getUint16(start + 8, true),
    flags: view.getUint8(start + 10),
  };
}
