/** Network interfaces by rtnetlink (rtnetlink(7), include/uapi/linux/if_link.h). */
import { isErrno, WeftSysError } from '../errors.ts';
import { ipBytes, macBytes, macText } from '../ip-text.ts';
import type { NetlinkSocket } from '../netlink.ts';
import { Attributes, type NetlinkMessage, NetlinkWriter, NLM_F_CREATE, NLM_F_EXCL } from '../netlink-message.ts';
import { AF_INET6 } from '../socket.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

/** Interface flags of netdevice(7). */
export const IFF_UP = 0x1;
export const IFF_BROADCAST = 0x2;
export const IFF_LOOPBACK = 0x8;
export const IFF_RUNNING = 0x40;
export const IFF_NOARP = 0x80;
export const IFF_PROMISC = 0x100;
export const IFF_MULTICAST = 0x1000;
export const IFF_LOWER_UP = 0x10000;

const IFINFO_SIZE = 16; // struct ifinfomsg

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  TXQLEN: 13,
  OPERSTATE: 16,
  LINKINFO: 18,
  NET_NS_PID: 19,
  IFALIAS: 20,
  AF_SPEC: 26,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  NUM_TX_QUEUES: 31,
  NUM_RX_QUEUES: 32,
  LINK_NETNSID: 37,
  GSO_MAX_SEGS: 40,
  GSO_MAX_SIZE: 41,
  GRO_MAX_SIZE: 58,
  GSO_IPV4_MAX_SIZE: 63,
  GRO_IPV4_MAX_SIZE: 64,
} as const;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const VETH_INFO_PEER = 1;
const IFLA_VXLAN = {
  ID: 1,
  LOCAL: 4,
  LEARNING: 7,
  PORT: 15,
  LOCAL6: 17,
  UDP_ZERO_CSUM6_TX: 19,
  UDP_ZERO_CSUM6_RX: 20,
  COLLECT_METADATA: 25,
} as const;
const RTEXT_FILTER_SKIP_STATS = 1 << 3;

/** RFC 2863 operational states in the kernel's order (include/uapi/linux/if.h). */
export const OPERSTATES = ['unknown', 'notpresent', 'down', 'lowerlayerdown', 'testing', 'dormant', 'up'] as const;
export type OperState = (typeof OPERSTATES)[number];

/** Longest interface name in bytes (IFNAMSIZ less the NUL). */
export const IFNAME_MAX = 15;

/** An interface as the kernel lists it. */
export type Link = {
  ifindex: number;
  name: string;
  /** Link-layer address as text, '' when it has none. */
  mac: string;
  mtu: number;
  operState: OperState;
  /** IFF_* bits. */
  flags: number;
  /** Administratively up. */
  up: boolean;
  /** ARPHRD_* number: 1 Ethernet, 772 loopback. */
  hardwareType: number;
  /** Driver kind ('veth', 'vxlan', 'bridge' …), '' for hardware and loopback. */
  kind: string;
  /** The interface it sits on, or a veth's peer; 0 when none. An index of `linkNetnsid`'s namespace if that is set. */
  link: number;
  /** Id of the namespace that `link` is in; -1 when it is this one. */
  linkNetnsid: number;
  /** Bridge or bond it belongs to; 0 when none. */
  master: number;
  alias: string;
  gsoMaxSize: number | undefined;
  gsoIpv4MaxSize: number | undefined;
};

/** Where an interface is to live: a descriptor of a namespace (see openNetns), or that of a process. */
export type NetnsTarget = { fd: number } | { pid: number };

/** What can be set on an interface. */
export type LinkSettings = {
  name?: string;
  mac?: string;
  mtu?: number;
  up?: boolean;
  /** Moves the interface. What else is set here is set first, in the old namespace. */
  netns?: NetnsTarget;
  /** ifindex of the bridge or bond to join; 0 leaves. */
  master?: number;
  /** IPv6 link-local address: 'none' makes none, 'eui64' from the MAC. */
  addrGenMode?: 'none' | 'eui64';
  gsoMaxSize?: number;
  gsoMaxSegs?: number;
  gsoIpv4MaxSize?: number;
  groMaxSize?: number;
  groIpv4MaxSize?: number;
  txQueueLength?: number;
  alias?: string;
};

/** One interface to create. */
export type LinkSpec = Omit<LinkSettings, 'netns'> & {
  name: string;
  /** Create it in this namespace instead of the socket's. */
  netns?: NetnsTarget;
  txQueues?: number;
  rxQueues?: number;
} & (
    | { kind: 'veth' /** The other end, in the same request. */; peer: VethPeer }
    | { kind: 'vxlan'; vxlan: VxlanSpec }
    | { kind: 'bridge' | 'dummy' | 'ifb' }
  );

/**
 * The other end of a veth pair. `up` only for a peer in the socket's namespace: the kernel refuses to bring the peer up
 * in the same request, and elsewhere a socket there must do it (linkSet).
 */
export type VethPeer = Omit<LinkSettings, 'name' | 'addrGenMode' | 'alias'> & {
  name: string;
  txQueues?: number;
  rxQueues?: number;
};

/** A VXLAN device. */
export type VxlanSpec = {
  /** Takes key and peer per packet (`external`, collect metadata). Then no `id`. */
  external?: boolean;
  id?: number;
  /** UDP port; default 4789. */
  port?: number;
  local?: string;
  /** Learn peers from traffic; default false. */
  learning?: boolean;
  /** Accept and send zero UDP checksums over IPv6 (RFC 6936). */
  zeroChecksum6?: boolean;
};

function checkName(name: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes < 1 || bytes > IFNAME_MAX || /[\s/\0]/.test(name) || name === '.' || name === '..') {
    throw new WeftSysError(
      'WEFT_SYS_ARGUMENT',
      `'${name}' is not an interface name (1–${IFNAME_MAX} bytes, no space, no '/')`,
    );
  }
  return name;
}

function writeHeader(w: NetlinkWriter, ifindex: number, flags = 0, change = 0): NetlinkWriter {
  return w.rawU8(0, 0).rawU16(0).rawU32(ifindex).rawU32(flags).rawU32(change);
}

function writeSettings(w: NetlinkWriter, s: LinkSettings & { txQueues?: number; rxQueues?: number }): void {
  if (s.name !== undefined) w.attrString(IFLA.IFNAME, checkName(s.name));
  if (s.mac !== undefined) w.attr(IFLA.ADDRESS, macBytes(s.mac));
  if (s.mtu !== undefined) w.attrU32(IFLA.MTU, s.mtu);
  if (s.master !== undefined) w.attrU32(IFLA.MASTER, s.master);
  if (s.netns !== undefined) {
    if ('fd' in s.netns) w.attrU32(IFLA.NET_NS_FD, s.netns.fd);
    else w.attrU32(IFLA.NET_NS_PID, s.netns.pid);
  }
  if (s.gsoMaxSize !== undefined) w.attrU32(IFLA.GSO_MAX_SIZE, s.gsoMaxSize);
  if (s.gsoMaxSegs !== undefined) w.attrU32(IFLA.GSO_MAX_SEGS, s.gsoMaxSegs);
  if (s.gsoIpv4MaxSize !== undefined) w.attrU32(IFLA.GSO_IPV4_MAX_SIZE, s.gsoIpv4MaxSize);
  if (s.groMaxSize !== undefined) w.attrU32(IFLA.GRO_MAX_SIZE, s.groMaxSize);
  if (s.groIpv4MaxSize !== undefined) w.attrU32(IFLA.GRO_IPV4_MAX_SIZE, s.groIpv4MaxSize);
  if (s.txQueueLength !== undefined) w.attrU32(IFLA.TXQLEN, s.txQueueLength);
  if (s.alias !== undefined) w.attrString(IFLA.IFALIAS, s.alias);
  if (s.txQueues !== undefined) w.attrU32(IFLA.NUM_TX_QUEUES, s.txQueues);
  if (s.rxQueues !== undefined) w.attrU32(IFLA.NUM_RX_QUEUES, s.rxQueues);
  if (s.addrGenMode !== undefined) {
    const mode = s.addrGenMode === 'none' ? 1 : 0;
    w.nest(IFLA.AF_SPEC, (spec) =>
      spec.nest(AF_INET6, (inet6) => {
        inet6.attrU8(IFLA_INET6_ADDR_GEN_MODE, mode);
      }),
    );
  }
}

function writeVxlan(w: NetlinkWriter, v: VxlanSpec): void {
  w.attrU16be(IFLA_VXLAN.PORT, v.port ?? 4789);
  w.attrU8(IFLA_VXLAN.LEARNING, v.learning ? 1 : 0);
  if (v.external) w.attrU8(IFLA_VXLAN.COLLECT_METADATA, 1);
  if (v.id !== undefined) w.attrU32(IFLA_VXLAN.ID, v.id);
  if (v.local !== undefined) {
    const local = ipBytes(v.local);
    w.attr(local.length === 4 ? IFLA_VXLAN.LOCAL : IFLA_VXLAN.LOCAL6, local);
  }
  if (v.zeroChecksum6) w.attrU8(IFLA_VXLAN.UDP_ZERO_CSUM6_TX, 1).attrU8(IFLA_VXLAN.UDP_ZERO_CSUM6_RX, 1);
}

/** Creates an interface, both ends of a veth pair at once. Throws SysError (EEXIST, EOPNOTSUPP, EINVAL). */
export function linkAdd(nl: NetlinkSocket, spec: LinkSpec): void {
  // The kernel ignores alias and address-generation mode while it makes a link: they follow, before the link goes up.
  const { up, addrGenMode, alias, ...settings } = spec;
  const later = addrGenMode !== undefined || alias !== undefined;
  if (later && spec.netns) {
    throw new WeftSysError(
      'WEFT_SYS_ARGUMENT',
      'addrGenMode and alias of a link in another namespace: set them there by linkSet',
    );
  }
  if (spec.kind === 'veth' && spec.peer.up && spec.peer.netns) {
    throw new WeftSysError('WEFT_SYS_ARGUMENT', 'a veth peer in another namespace: bring it up there by linkSet');
  }
  const w = new NetlinkWriter(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  writeHeader(w, 0, up && !later ? IFF_UP : 0, up && !later ? IFF_UP : 0);
  writeSettings(w, settings);
  w.nest(IFLA.LINKINFO, (info) => {
    info.attrString(IFLA_INFO_KIND, spec.kind);
    if (spec.kind === 'veth') {
      const { peer } = spec;
      info.nest(IFLA_INFO_DATA, (data) =>
        data.nest(VETH_INFO_PEER, (p) => {
          writeHeader(p, 0);
          writeSettings(p, peer);
        }),
      );
    } else if (spec.kind === 'vxlan') {
      info.nest(IFLA_INFO_DATA, (data) => writeVxlan(data, spec.vxlan));
    }
  });
  nl.request(w, `create ${spec.kind} ${spec.name}`);
  try {
    if (spec.kind === 'veth' && spec.peer.up) linkSet(nl, spec.peer.name, { up: true });
    if (later) {
      linkSet(nl, spec.name, {
        ...(addrGenMode === undefined ? {} : { addrGenMode }),
        ...(alias === undefined ? {} : { alias }),
        ...(up === undefined ? {} : { up }),
      });
    }
  } catch (error) {
    linkDel(nl, spec.name);
    throw error;
  }
}

/** Changes an interface by name or index. Throws SysError (ENODEV, EBUSY when renamed while up, EINVAL). */
export function linkSet(nl: NetlinkSocket, link: string | number, settings: LinkSettings): void {
  const ifindex = typeof link === 'number' ? link : linkIndex(nl, link);
  const { up, netns, ...rest } = settings;
  const w = new NetlinkWriter(RTM_NEWLINK, 0);
  writeHeader(w, ifindex, up ? IFF_UP : 0, up === undefined ? 0 : IFF_UP);
  writeSettings(w, rest);
  if (Object.keys(rest).length > 0 || up !== undefined) nl.request(w, `set link ${link}`);
  if (netns) {
    const move = writeHeader(new NetlinkWriter(RTM_NEWLINK, 0), ifindex);
    writeSettings(move, { netns });
    nl.request(move, `move link ${link}`);
  }
}

/** Deletes an interface by name or index; a veth takes its peer along. Returns false when there is none. */
export function linkDel(nl: NetlinkSocket, link: string | number): boolean {
  const w = writeHeader(new NetlinkWriter(RTM_DELLINK, 0), typeof link === 'number' ? link : 0);
  if (typeof link === 'string') w.attrString(IFLA.IFNAME, checkName(link));
  try {
    nl.request(w, `delete link ${link}`);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENODEV')) return false;
    throw error;
  }
}

/** The interface with this name or index, or undefined. */
export function linkGet(nl: NetlinkSocket, link: string | number): Link | undefined {
  const w = writeHeader(new NetlinkWriter(RTM_GETLINK, 0), typeof link === 'number' ? link : 0);
  w.attrU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (typeof link === 'string') w.attrString(IFLA.IFNAME, checkName(link));
  try {
    const [message] = nl.request(w, `get link ${link}`);
    return message && parseLink(message);
  } catch (error) {
    if (isErrno(error, 'ENODEV')) return undefined;
    throw error;
  }
}

/** Index of the named interface in the socket's namespace. Throws SysError (ENODEV). */
export function linkIndex(nl: NetlinkSocket, name: string): number {
  const w = writeHeader(new NetlinkWriter(RTM_GETLINK, 0), 0);
  w.attrU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS).attrString(IFLA.IFNAME, checkName(name));
  const [message] = nl.request(w, `get link ${name}`);
  if (!message) throw new WeftSysError('WEFT_SYS_PROTOCOL', `the kernel answered nothing about link ${name}`);
  return message.view.getInt32(message.start + 4, true);
}

/** Every interface of the socket's namespace. */
export function linkList(nl: NetlinkSocket): Link[] {
  const w = writeHeader(new NetlinkWriter(RTM_GETLINK, 0), 0).attrU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return nl
    .dump(w, 'list links')
    .map(parseLink)
    .filter((l) => l !== undefined);
}

/** Reads RTM_NEWLINK and RTM_DELLINK; undefined for another type. */
export function parseLink(message: NetlinkMessage): Link | undefined {
  if (message.type !== RTM_NEWLINK && message.type !== RTM_DELLINK) return undefined;
  if (message.end - message.start < IFINFO_SIZE) throw new WeftSysError('WEFT_SYS_PROTOCOL', 'link message cut short');
  const { view, start } = message;
  const a = Attributes.of(message, IFINFO_SIZE);
  const flags = view.getUint32(start + 8, true);
  const mac = a.bytes(IFLA.ADDRESS);
  return {
    ifindex: view.getInt32(start + 4, true),
    name: a.string(IFLA.IFNAME) ?? '',
    mac: mac ? macText(mac) : '',
    mtu: a.u32(IFLA.MTU) ?? 0,
    operState: OPERSTATES[a.u8(IFLA.OPERSTATE) ?? 0] ?? 'unknown',
    flags,
    up: (flags & IFF_UP) !== 0,
    hardwareType: view.getUint16(start + 2, true),
    kind: a.nested(IFLA.LINKINFO)?.string(IFLA_INFO_KIND) ?? '',
    link: a.u32(IFLA.LINK) ?? 0,
    linkNetnsid: a.s32(IFLA.LINK_NETNSID) ?? -1,
    master: a.u32(IFLA.MASTER) ?? 0,
    alias: a.string(IFLA.IFALIAS) ?? '',
    gsoMaxSize: a.u32(IFLA.GSO_MAX_SIZE),
    gsoIpv4MaxSize: a.u32(IFLA.GSO_IPV4_MAX_SIZE),
  };
}
