/**
 * The underlay as this host's kernel routes it: by which interfaces a peer is reached now, and what fits through.
 *
 * The datapath sends tunnel packets out of a given interface (it does not ask the FIB per packet), so following the FIB is
 * the agent's job: links and routes are watched by netlink, path MTUs come from the ICMP errors that quote our tunnels.
 */
import { type Cidr, cidrContains, cidrParse, ipParse } from '@weft/packet';
import {
  IFF_LOWER_UP,
  IFF_UP,
  type Link,
  linkList,
  NetlinkSocket,
  type Route,
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTNH_F_DEAD,
  RTNH_F_LINKDOWN,
  RtMonitor,
  routeList,
} from '@weft/sys';

/** One way to a peer. */
export interface UnderlayHop {
  readonly ifindex: number;
  /** Address of the next router, '': the peer is on the link. */
  readonly gateway: string;
}

/** How a peer is reached. */
export interface UnderlayPath {
  /** Up to 4 ways of equal cost, ascending by interface; empty: unreachable. */
  readonly hops: readonly UnderlayHop[];
  /** L3 bytes that fit into an underlay packet, the least of all hops. */
  readonly mtu: number;
}

/** What the worker asks of the underlay. */
export interface UnderlayView {
  readonly links: Iterable<Link>;
  link(ifindex: number): Link | undefined;
  linkByName(name: string): Link | undefined;
  /** Path to an underlay address (text). */
  path(remote: string): UnderlayPath;
  /** Takes in what changed. @returns true if links or routes are different now. */
  drain(): boolean;
  close(): void;
}

const MAX_HOPS = 4;
const UNREACHABLE: UnderlayPath = { hops: [], mtu: 0 };

interface CompiledRoute {
  readonly cidr: Cidr;
  readonly route: Route;
}

/** Snapshot of links and routes, refreshed from netlink events; ask `drain` often. */
export class Underlay implements UnderlayView {
  private readonly netlink = new NetlinkSocket();
  private readonly monitor = new RtMonitor(['link', 'route']);
  private linksByIndex = new Map<number, Link>();
  private routes: CompiledRoute[] = [];

  constructor() {
    this.reload();
  }

  /** Descriptor that becomes readable when something changed. */
  get fd(): number {
    return this.monitor.fd;
  }

  get links(): Iterable<Link> {
    return this.linksByIndex.values();
  }

  link(ifindex: number): Link | undefined {
    return this.linksByIndex.get(ifindex);
  }

  linkByName(name: string): Link | undefined {
    for (const link of this.linksByIndex.values()) if (link.name === name) return link;
    return undefined;
  }

  /** Takes in what changed. @returns true if links or routes are different now. */
  drain(): boolean {
    let events = 0;
    const result = this.monitor.drain(() => {
      events++;
    });
    if (events === 0 && !result.overrun) return false;
    // Events of one change come apart (link, then its routes): listing again is simpler than replaying, and always right.
    this.reload();
    return true;
  }

  private reload(): void {
    this.linksByIndex = new Map(linkList(this.netlink).map((link) => [link.ifindex, link]));
    this.routes = [];
    for (const route of routeList(this.netlink)) {
      if (route.table !== RT_TABLE_MAIN && route.table !== RT_TABLE_LOCAL) continue;
      if (route.type !== 'unicast') continue;
      this.routes.push({ cidr: cidrParse(route.dst, 'clear'), route });
    }
    // Longest prefix first, then lowest metric: the first that matches and works is the kernel's choice.
    this.routes.sort((a, b) => b.cidr.bits - a.cidr.bits || a.route.metric - b.route.metric);
  }

  /** Path to an underlay address (text). */
  path(remote: string): UnderlayPath {
    const address = ipParse(remote);
    let chosen: CompiledRoute | undefined;
    const found = new Map<number, UnderlayHop>();
    let mtu = 65535;
    for (const candidate of this.routes) {
      if (chosen && (candidate.cidr.bits !== chosen.cidr.bits || candidate.route.metric !== chosen.route.metric)) break;
      if (!cidrContains(candidate.cidr, address)) continue;
      const hops = candidate.route.nextHops.filter((hop) => this.usable(hop.oif, hop.flags ?? 0));
      if (hops.length === 0) continue;
      chosen = candidate;
      for (const hop of hops) {
        if (found.size === MAX_HOPS) break;
        if (!found.has(hop.oif!)) found.set(hop.oif!, { ifindex: hop.oif!, gateway: hop.gateway ?? '' });
        mtu = Math.min(mtu, candidate.route.mtu ?? 65535, this.linksByIndex.get(hop.oif!)!.mtu);
      }
      // IPv4 multipath is one route with several hops; IPv6 may list each hop as a route of its own: look on at equals.
      if (candidate.route.family === 4) break;
    }
    if (!chosen) return UNREACHABLE;
    return { hops: [...found.values()].sort((a, b) => a.ifindex - b.ifindex), mtu };
  }

  private usable(oif: number | undefined, flags: number): boolean {
    if (oif === undefined || flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) return false;
    const link = this.linksByIndex.get(oif);
    return link !== undefined && (link.flags & (IFF_UP | IFF_LOWER_UP)) === (IFF_UP | IFF_LOWER_UP);
  }

  close(): void {
    this.monitor.close();
    this.netlink.close();
  }
}
