/** Routes by rtnetlink (include/uapi/linux/rtnetlink.h): list, add, delete, ask. */
import { isErrno, WeftSysError } from '../errors.ts';
import { ipBytes, ipFamily, ipText, parsePrefix } from '../ip-text.ts';
import type { NetlinkSocket } from '../netlink.ts';
import {
  Attributes,
  type NetlinkMessage,
  NetlinkWriter,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from '../netlink-message.ts';
import { AF_INET, AF_INET6 } from '../socket.ts';
import { linkGet } from './link.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

const RTMSG_SIZE = 12; // struct rtmsg
const RTNEXTHOP_SIZE = 8; // struct rtnexthop
const RTA = {
  DST: 1,
  SRC: 2,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  MARK: 16,
  VIA: 18,
  IP_PROTO: 27,
  SPORT: 28,
  DPORT: 29,
} as const;
const RTAX_MTU = 2;
const RTM_F_CLONED = 0x200;
const MAX_NEXTHOPS = 1024;

/** Routing tables by number. */
export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;

/** Who put a route there. */
export const RTPROT_KERNEL = 2;
export const RTPROT_BOOT = 3;
export const RTPROT_STATIC = 4;

const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;
const RT_SCOPE_NOWHERE = 255;

/** Next hop flags. */
export const RTNH_F_DEAD = 1;
export const RTNH_F_ONLINK = 4;
export const RTNH_F_LINKDOWN = 16;

const TYPES = [
  'unspec',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
  'nat',
  'xresolve',
] as const;
export type RouteType = (typeof TYPES)[number];

/** One way to a destination. */
export type NextHop = {
  /** Address of the router; undefined: the destination is on the link. May be of the other family (RFC 5549). */
  gateway?: string | undefined;
  /** Interface; 0 or undefined: found by the gateway. */
  oif?: number | undefined;
  /** Share of flows among the next hops, 1–256; default 1. */
  weight?: number | undefined;
  /** RTNH_F_* bits. RTNH_F_ONLINK: the gateway needs no matching address. */
  flags?: number | undefined;
};

/** A route as the kernel lists it. */
export type Route = {
  family: 4 | 6;
  /** Destination with prefix length; `0.0.0.0/0` and `::/0` are the defaults. */
  dst: string;
  type: RouteType;
  table: number;
  /** RTPROT_* number. */
  protocol: number;
  scope: number;
  /** Lower wins. */
  metric: number;
  prefSrc: string | undefined;
  /** The route's own MTU in bytes, if it has one. */
  mtu: number | undefined;
  /** One for a plain route, several for multipath, none for blackhole and the like. */
  nextHops: NextHop[];
  /** Made from the routing cache (an exception: path MTU, redirect), not configured. */
  cached: boolean;
};

/** A route to add or delete. */
export type RouteSpec = {
  /** `10.0.0.0/24`, `fd00::/64`, `0.0.0.0/0`, `::/0`. Host bits must be zero. */
  dst: string;
  type?: RouteType;
  /** Default: the main table. */
  table?: number;
  /** RTPROT_* number; default RTPROT_STATIC. */
  protocol?: number;
  metric?: number;
  prefSrc?: string;
  mtu?: number;
  gateway?: string;
  oif?: number;
  /** Treat the gateway as on the link of `oif`, whatever the addresses say. */
  onlink?: boolean;
  /** Several ways; then no `gateway` and no `oif`. */
  nextHops?: readonly NextHop[];
};

function writeGateway(w: NetlinkWriter, family: number, gateway: string): void {
  const bytes = ipBytes(gateway);
  const gatewayFamily = ipFamily(bytes);
  if (gatewayFamily === family) {
    w.attr(RTA.GATEWAY, bytes);
    return;
  }
  const via = new Uint8Array(2 + bytes.length); // struct rtvia
  new DataView(via.buffer).setUint16(0, gatewayFamily, true);
  via.set(bytes, 2);
  w.attr(RTA.VIA, via);
}

function write(type: number, flags: number, r: RouteSpec): NetlinkWriter {
  const { address, prefixLength } = parsePrefix(r.dst);
  const family = ipFamily(address);
  const routeType = r.type ?? 'unicast';
  const table = r.table ?? RT_TABLE_MAIN;
  const deleting = type === RTM_DELROUTE;
  let scope = RT_SCOPE_UNIVERSE;
  if (deleting) scope = family === AF_INET ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
  else if (routeType === 'local') scope = RT_SCOPE_HOST;
  else if (family === AF_INET && routeType === 'unicast' && !r.gateway && !r.nextHops) scope = RT_SCOPE_LINK;
  const w = new NetlinkWriter(type, flags);
  w.rawU8(
    family,
    prefixLength,
    0,
    0,
    table < 256 ? table : 0,
    deleting ? (r.protocol ?? 0) : (r.protocol ?? RTPROT_STATIC),
  );
  w.rawU8(scope, deleting && r.type === undefined ? 0 : TYPES.indexOf(routeType));
  w.rawU32(r.onlink ? RTNH_F_ONLINK : 0);
  w.attr(RTA.DST, address).attrU32(RTA.TABLE, table);
  if (r.metric !== undefined) w.attrU32(RTA.PRIORITY, r.metric);
  if (r.prefSrc !== undefined) w.attr(RTA.PREFSRC, ipBytes(r.prefSrc));
  if (r.mtu !== undefined) {
    const { mtu } = r;
    w.nest(RTA.METRICS, (m) => {
      m.attrU32(RTAX_MTU, mtu);
    });
  }
  if (r.gateway !== undefined) writeGateway(w, family, r.gateway);
  if (r.oif !== undefined) w.attrU32(RTA.OIF, r.oif);
  const hops = r.nextHops;
  if (hops) {
    if (hops.length === 0 || hops.length > MAX_NEXTHOPS) {
      throw new WeftSysError('WEFT_SYS_ARGUMENT', `a route has 1–${MAX_NEXTHOPS} next hops, not ${hops.length}`);
    }
    w.nest(RTA.MULTIPATH, (m) => {
      for (const hop of hops) {
        const at = m.length;
        const weight = hop.weight ?? 1;
        if (weight < 1 || weight > 256)
          throw new WeftSysError('WEFT_SYS_ARGUMENT', `next hop weight ${weight} is not 1–256`);
        m.rawU16(0)
          .rawU8(hop.flags ?? 0, weight - 1)
          .rawU32(hop.oif ?? 0);
        if (hop.gateway !== undefined) writeGateway(m, family, hop.gateway);
        m.patchU16(at, m.length - at);
      }
    });
  }
  return w;
}

/** Adds a route. `replace` overwrites one of the same destination, table and metric; `append` adds beside it. Throws SysError (EEXIST, ENETUNREACH). */
export function routeAdd(nl: NetlinkSocket, route: RouteSpec, mode: 'create' | 'replace' | 'append' = 'create'): void {
  const flags = NLM_F_CREATE | { create: NLM_F_EXCL, replace: NLM_F_REPLACE, append: NLM_F_APPEND }[mode];
  nl.request(write(RTM_NEWROUTE, flags, route), `add route ${route.dst}`);
}

/** Deletes the first route that matches what is given. Returns false when none does. */
export function routeDel(nl: NetlinkSocket, route: RouteSpec): boolean {
  try {
    nl.request(write(RTM_DELROUTE, 0, route), `delete route ${route.dst}`);
    return true;
  } catch (error) {
    if (isErrno(error, 'ESRCH', 'ENOENT')) return false;
    throw error;
  }
}

/** Routes of a family (both when undefined), of one table when given; cache entries are left out. */
export function routeList(nl: NetlinkSocket, options: { family?: 4 | 6; table?: number } = {}): Route[] {
  const families = options.family === 4 ? [AF_INET] : options.family === 6 ? [AF_INET6] : [AF_INET, AF_INET6];
  const routes: Route[] = [];
  for (const family of families) {
    const w = new NetlinkWriter(RTM_GETROUTE, 0).rawU8(family, 0, 0, 0, 0, 0, 0, 0).rawU32(0);
    if (options.table !== undefined) w.attrU32(RTA.TABLE, options.table);
    let messages: NetlinkMessage[];
    try {
      messages = nl.dump(w, 'list routes');
    } catch (error) {
      if (options.table !== undefined && isErrno(error, 'ENOENT')) continue; // the table does not exist
      throw error;
    }
    for (const message of messages) {
      const route = parseRoute(message);
      if (route && !route.cached && (options.table === undefined || route.table === options.table)) routes.push(route);
    }
  }
  return routes;
}

/** What the kernel would do with a packet. */
export type RouteAnswer = {
  type: RouteType;
  /** Interface it leaves by. */
  oif: number;
  /** Router; undefined when the destination is on the link. */
  gateway: string | undefined;
  /** Source address the kernel would use. */
  prefSrc: string | undefined;
  /** Largest IP packet in bytes: of the route or learned for the path, else the interface's. */
  mtu: number;
};

/**
 * Asks the kernel for the route to `dst`. Undefined when there is none (unreachable, blackhole, prohibit too).
 * With ports and protocol the answer of a multipath route is that of the flow, if fib_multipath_hash_policy hashes them.
 */
export function routeGet(
  nl: NetlinkSocket,
  dst: string,
  options: { src?: string; oif?: number; mark?: number; protocol?: number; srcPort?: number; dstPort?: number } = {},
): RouteAnswer | undefined {
  const address = ipBytes(dst);
  const bits = address.length * 8;
  const w = new NetlinkWriter(RTM_GETROUTE, 0);
  w.rawU8(ipFamily(address), bits, options.src ? bits : 0, 0, 0, 0, 0, 0).rawU32(0);
  w.attr(RTA.DST, address);
  if (options.src) w.attr(RTA.SRC, ipBytes(options.src));
  if (options.oif) w.attrU32(RTA.OIF, options.oif);
  if (options.mark) w.attrU32(RTA.MARK, options.mark);
  if (options.protocol !== undefined) w.attrU8(RTA.IP_PROTO, options.protocol);
  if (options.srcPort !== undefined) w.attrU16be(RTA.SPORT, options.srcPort);
  if (options.dstPort !== undefined) w.attrU16be(RTA.DPORT, options.dstPort);
  let messages: NetlinkMessage[];
  try {
    messages = nl.request(w, `route to ${dst}`);
  } catch (error) {
    if (isErrno(error, 'ENETUNREACH', 'EHOSTUNREACH', 'EINVAL', 'EACCES', 'EAGAIN')) return undefined;
    throw error;
  }
  const route = messages.length > 0 ? parseRoute(messages[0]!) : undefined;
  const hop = route?.nextHops[0];
  if (!route || !hop?.oif || !['unicast', 'local', 'broadcast', 'multicast', 'anycast'].includes(route.type))
    return undefined;
  const mtu = route.mtu ?? linkGet(nl, hop.oif)?.mtu;
  if (mtu === undefined) return undefined; // the interface went meanwhile
  return { type: route.type, oif: hop.oif, gateway: hop.gateway, prefSrc: route.prefSrc, mtu };
}

function parseGateway(a: Attributes): string | undefined {
  const gateway = a.bytes(RTA.GATEWAY);
  if (gateway && (gateway.length === 4 || gateway.length === 16)) return ipText(gateway);
  const via = a.bytes(RTA.VIA);
  return via && (via.length === 6 || via.length === 18) ? ipText(via.subarray(2)) : undefined;
}

function parseNextHops(bytes: Uint8Array): NextHop[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const hops: NextHop[] = [];
  let at = 0;
  while (at + RTNEXTHOP_SIZE <= bytes.length && hops.length < MAX_NEXTHOPS) {
    const length = view.getUint16(at, true);
    if (length < RTNEXTHOP_SIZE || at + length > bytes.length) break;
    hops.push({
      gateway: parseGateway(new Attributes(bytes, at + RTNEXTHOP_SIZE, at + length)),
      oif: view.getInt32(at + 4, true),
      weight: view.getUint8(at + 3) + 1,
      flags: view.getUint8(at + 2),
    });
    at += (length + 3) & ~3;
  }
  return hops;
}

/** Reads RTM_NEWROUTE and RTM_DELROUTE; undefined for another type or family. */
export function parseRoute(message: NetlinkMessage): Route | undefined {
  if (message.type !== RTM_NEWROUTE && message.type !== RTM_DELROUTE) return undefined;
  if (message.end - message.start < RTMSG_SIZE) throw new WeftSysError('WEFT_SYS_PROTOCOL', 'route message cut short');
  const { view, start } = message;
  const family = view.getUint8(start);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const a = Attributes.of(message, RTMSG_SIZE);
  const size = family === AF_INET ? 4 : 16;
  const dst = a.bytes(RTA.DST);
  const prefSrc = a.bytes(RTA.PREFSRC);
  const flags = view.getUint32(start + 8, true);
  const multipath = a.bytes(RTA.MULTIPATH);
  const oif = a.u32(RTA.OIF);
  const gateway = parseGateway(a);
  const single: NextHop[] = oif || gateway ? [{ gateway, oif, weight: 1, flags: flags & 0xff }] : [];
  return {
    family: family === AF_INET ? 4 : 6,
    dst: `${ipText(dst && dst.length === size ? dst : new Uint8Array(size))}/${view.getUint8(start + 1)}`,
    type: TYPES[view.getUint8(start + 7)] ?? 'unspec',
    table: a.u32(RTA.TABLE) ?? view.getUint8(start + 4),
    protocol: view.getUint8(start + 5),
    scope: view.getUint8(start + 6),
    metric: a.u32(RTA.PRIORITY) ?? 0,
    prefSrc: prefSrc && prefSrc.length === size ? ipText(prefSrc) : undefined,
    mtu: a.nested(RTA.METRICS)?.u32(RTAX_MTU),
    nextHops: multipath ? parseNextHops(multipath) : single,
    cached: (flags & RTM_F_CLONED) !== 0,
  };
}
