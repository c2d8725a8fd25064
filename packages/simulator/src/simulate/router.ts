/** A virtual router: what is for itself, and what goes on. */
import {
  dropReason,
  F_ETH_DST,
  F_ETHER_TYPE,
  F_IP_DST,
  F_IP_PROTO,
  F_IP_SRC,
  F_IP_TTL,
  F_TP_SRC,
  F_VLAN,
  isV4Mapped,
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_IP_DST,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TTL,
  K_TP_SRC,
  K_VLAN,
  KEY_SIZE,
  readU16,
  writeU16,
} from '@weft/flow';
import { ICMPV6_NEIGHBOR_ADVERT, ICMPV6_NEIGHBOR_SOLICIT, ipIsUnspecified, macCopy, macEquals } from '@weft/packet';
import type { SimPort } from '../contract.ts';
import type { SimRouter } from '../view/devices.ts';
import { isLinkLocal6 } from '../view/neighbours.ts';
import { ownAddress, ownSubnet } from '../view/port.ts';
import { ROUTE_BLACKHOLE, ROUTE_LOCAL, ROUTE_REJECT } from '../view/route-table.ts';
import { HOST_UNREACHABLE, isSubnetBroadcast, NET_UNREACHABLE, PROHIBITED, sendError, TIME_EXCEEDED } from './icmp.ts';
import { deliver } from './local.ts';
import { nextHopMac } from './next-hop.ts';
import { leave, passes } from './port.ts';
import { chooseRoute } from './route.ts';
import { routerArp, routerNd } from './router-neighbour.ts';
import { NEIGHBOUR_FAILED, NEIGHBOUR_KNOWN, STEP_ROUTER } from './steps.ts';
import type { Walk } from './walk.ts';

const UNKNOWN_DEVICE = dropReason('unknown_device');
const ADMIN_DOWN = dropReason('admin_down');
const VLAN_UNSUPPORTED = dropReason('vlan_unsupported');
const WRONG_MAC = dropReason('wrong_mac');
const NOT_FOR_ROUTER = dropReason('not_for_router');
const MALFORMED = dropReason('malformed');
const NO_ROUTE = dropReason('no_route');
const BLACKHOLE = dropReason('blackhole');
const REJECTED = dropReason('rejected');
const TTL_EXPIRED = dropReason('ttl_expired');
const NO_NEIGHBOUR = dropReason('no_neighbour');

const hopMac = new Uint8Array(6);

/** Notes the packet as it comes to a router by `port`: what an error would be about, and where it would go. */
export function atRouter(w: Walk, port: SimPort): void {
  w.routerPort = port;
  for (let i = 0; i < KEY_SIZE; i++) w.routerKey[i] = w.key[i];
}

/** The router at hand says that the packet is not allowed. */
export function prohibited(w: Walk): void {
  sendError(w, PROHIBITED);
}

/** The packet has entered by `port` and passed its filter. */
export function router(w: Walk, port: SimPort): void {
  const handle = port.device;
  if (!w.enter(handle)) return;
  w.out.routers++;
  const r = w.router(handle);
  if (r === undefined) {
    if (!w.isPostponed) w.drop(UNKNOWN_DEVICE, handle);
    return;
  }
  if (w.rec !== null) w.rec.step(STEP_ROUTER, handle, 0, 0, w.key);
  w.read(F_VLAN | F_ETH_DST | F_ETHER_TYPE);
  const { key } = w;
  if (!r.adminUp) {
    prohibited(w);
    w.drop(ADMIN_DOWN, handle);
    return;
  }
  if (w.vlanId() !== 0) {
    w.drop(VLAN_UNSUPPORTED, handle);
    return;
  }
  // A priority tag says nothing that survives a router.
  writeU16(key, K_VLAN, 0);
  const type = readU16(key, K_ETHER_TYPE);
  const toGroup = (key[K_ETH_DST] & 1) !== 0;
  if (!toGroup && !macEquals(key, K_ETH_DST, port.mac, 0)) w.drop(WRONG_MAC, handle);
  else if (type === 0x0806) routerArp(w, port);
  else if (type === 0x86dd) routeIpv6(w, r, port, toGroup);
  else if (type === 0x0800 && !toGroup) routeIpv4(w, r, port);
  else w.drop(NOT_FOR_ROUTER, handle);
}

function routeIpv4(w: Walk, r: SimRouter, port: SimPort): void {
  const { key } = w;
  if (!inbound(w, r, port)) return;
  w.read(F_IP_DST);
  const first = key[K_IP_DST + 12];
  // Groups, broadcast, "this network" and loopback are not routed (RFC 1812 §5.3.7).
  if (first >= 224 || first === 0 || first === 127) w.drop(NOT_FOR_ROUTER, r.handle);
  else if (ownAddress(port, key, K_IP_DST) >= 0) deliver(w, r, port);
  else forward(w, r, port, false);
}

function routeIpv6(w: Walk, r: SimRouter, port: SimPort, toGroup: boolean): void {
  const { key } = w;
  w.read(F_IP_DST | F_IP_SRC);
  // Mapped addresses are not for the wire; here they would pass for IPv4.
  if (isV4Mapped(key, K_IP_SRC) || isV4Mapped(key, K_IP_DST)) {
    w.drop(MALFORMED, r.handle);
    return;
  }
  const own = ownAddress(port, key, K_IP_DST) >= 0;
  const group = key[K_IP_DST] === 0xff;
  // Neighbour discovery passes no filter of the router; only here does every packet's type matter.
  if ((own || group) && isNeighbourMessage(w)) {
    routerNd(w, port);
    return;
  }
  if (toGroup || group) {
    w.drop(NOT_FOR_ROUTER, r.handle);
    return;
  }
  if (!inbound(w, r, port)) return;
  // Its filters may have translated the destination.
  if (ownAddress(port, key, K_IP_DST) >= 0) deliver(w, r, port);
  // Link-local packets stay on their link (RFC 4291 §2.5.6), those from nobody go nowhere.
  else if (isLinkLocal6(key, K_IP_DST) || isLinkLocal6(key, K_IP_SRC) || ipIsUnspecified(key, K_IP_SRC)) {
    w.drop(NOT_FOR_ROUTER, r.handle);
  } else forward(w, r, port, true);
}

function isNeighbourMessage(w: Walk): boolean {
  w.read(F_IP_PROTO);
  if (w.key[K_IP_PROTO] !== 58) return false;
  w.read(F_TP_SRC);
  const type = readU16(w.key, K_TP_SRC);
  return type === ICMPV6_NEIGHBOR_SOLICIT || type === ICMPV6_NEIGHBOR_ADVERT;
}

function inbound(w: Walk, r: SimRouter, port: SimPort): boolean {
  return (
    passes(w, r.redirectChain, port.handle, 0, r.handle, true) && passes(w, r.inFilter, port.handle, 0, r.handle, true)
  );
}

function forward(w: Walk, r: SimRouter, port: SimPort, v6: boolean): void {
  const { routes } = r;
  const route = chooseRoute(w, r, v6);
  if (route < 0) {
    if (w.isPostponed) return;
    sendError(w, NET_UNREACHABLE);
    w.drop(NO_ROUTE, r.handle);
    return;
  }
  switch (routes.types[route]) {
    case ROUTE_BLACKHOLE:
      w.drop(BLACKHOLE, r.handle);
      return;
    case ROUTE_REJECT:
      prohibited(w);
      w.drop(REJECTED, r.handle);
      return;
    case ROUTE_LOCAL:
      deliver(w, r, port);
      return;
    default:
      forwardBy(w, r, port, route);
  }
}

function forwardBy(w: Walk, r: SimRouter, port: SimPort, route: number): void {
  const { key } = w;
  const { routes } = r;
  const out = w.view.ports[routes.ports[route]]!;
  if (ownAddress(out, key, K_IP_DST) >= 0) {
    deliver(w, r, port);
    return;
  }
  const gateway = routes.hasGateway[route] === 1;
  if (!gateway && isBroadcastOf(out, key)) {
    w.drop(NOT_FOR_ROUTER, r.handle);
    return;
  }
  if (key[K_IP_TTL] <= 1) {
    w.read(F_IP_TTL);
    sendError(w, TIME_EXCEEDED);
    w.drop(TTL_EXPIRED, r.handle);
    return;
  }
  // That the TTL suffices is not noted as read: the flow's action repeats the test for each packet.
  key[K_IP_TTL]--;
  w.ttlDec++;
  if (!passes(w, r.forwardChain, port.handle, out.handle, r.handle, true)) return;
  if (!passes(w, r.outFilter, port.handle, out.handle, r.handle, true)) return;
  const found = gateway
    ? nextHopMac(w, r, out, routes.gateways, route * 16, hopMac)
    : nextHopMac(w, r, out, key, K_IP_DST, hopMac);
  if (found !== NEIGHBOUR_KNOWN) {
    if (found !== NEIGHBOUR_FAILED) return;
    sendError(w, gateway ? NET_UNREACHABLE : HOST_UNREACHABLE);
    w.drop(NO_NEIGHBOUR, r.handle);
    return;
  }
  macCopy(out.mac, 0, key, K_ETH_SRC);
  macCopy(hopMac, 0, key, K_ETH_DST);
  leave(w, out);
}

/** Directed broadcasts are not carried out (RFC 2644). */
function isBroadcastOf(port: SimPort, key: Uint8Array): boolean {
  const subnet = ownSubnet(port, key, K_IP_DST);
  return subnet >= 0 && isSubnetBroadcast(key, K_IP_DST, port.prefixes[subnet]);
}
