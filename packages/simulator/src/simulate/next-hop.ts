/** MAC of the next hop behind a router port. */
import { macCopy } from '@weft/packet';
import { PORT_ROUTER, type SimPort } from '../contract.ts';
import type { SimRouter } from '../view/devices.ts';
import { isLinkLocal6, neighbourTag } from '../view/neighbours.ts';
import { NEIGHBOUR_FAILED, NEIGHBOUR_KNOWN, NEIGHBOUR_UNRESOLVED, STEP_NEIGHBOUR } from './steps.ts';
import type { Walk } from './walk.ts';

/**
 * Writes the MAC of the neighbour at `ip[at]` to `out`.
 * @returns NEIGHBOUR_KNOWN; NEIGHBOUR_FAILED: it does not answer; NEIGHBOUR_UNRESOLVED: the packet was postponed
 */
export function nextHopMac(w: Walk, r: SimRouter, port: SimPort, ip: Uint8Array, at: number, out: Uint8Array): number {
  const found = resolve(w, r, port, ip, at, out);
  if (w.rec !== null) w.rec.step(STEP_NEIGHBOUR, port.handle, found, 0, w.key);
  return found;
}

function resolve(w: Walk, r: SimRouter, port: SimPort, ip: Uint8Array, at: number, out: Uint8Array): number {
  const { neighbours } = w.view;
  if (port.peer !== 0) {
    const peer = w.port(port.peer);
    if (peer === undefined) return w.isPostponed ? NEIGHBOUR_UNRESOLVED : NEIGHBOUR_FAILED;
    if (peer.kind === PORT_ROUTER) {
      macCopy(peer.mac, 0, out, 0);
      return NEIGHBOUR_KNOWN;
    }
    if (peer.vlan === 0 && onBridge(w, peer, ip, at, out)) return NEIGHBOUR_KNOWN;
    if (w.isPostponed) return NEIGHBOUR_UNRESOLVED;
  }
  const owner = isLinkLocal6(ip, at) ? port.handle : r.handle;
  w.tag(neighbourTag(owner, ip, at));
  const entry = neighbours.find(owner, ip, at);
  if (entry >= 0 && neighbours.hasMac(entry)) {
    neighbours.copyMac(entry, out, 0);
    return NEIGHBOUR_KNOWN;
  }
  if (entry >= 0 && neighbours.failed(entry)) return NEIGHBOUR_FAILED;
  want(w, port, ip, at);
  return NEIGHBOUR_UNRESOLVED;
}

/** The bridge at the other end knows its other routers, and what operators told it. */
function onBridge(w: Walk, bridgePort: SimPort, ip: Uint8Array, at: number, out: Uint8Array): boolean {
  const { neighbours } = w.view;
  const b = w.bridge(bridgePort.device);
  if (b === undefined) return false;
  w.tag(neighbourTag(b.handle, ip, at));
  const entry = neighbours.find(b.handle, ip, at);
  if (entry < 0) return false;
  const linked = neighbours.linkedPort(entry);
  if (linked !== 0 && linked !== bridgePort.handle) {
    const peer = w.port(linked)?.peer ?? 0;
    const router = peer === 0 ? undefined : w.port(peer);
    if (router === undefined) return false;
    macCopy(router.mac, 0, out, 0);
    return true;
  }
  if (linked !== 0 || !neighbours.hasMac(entry)) return false;
  neighbours.copyMac(entry, out, 0);
  return true;
}

function want(w: Walk, port: SimPort, ip: Uint8Array, at: number): void {
  w.postpone(port.handle);
  const { out } = w;
  if (out.wantedNeighbourCount === out.wantedNeighbours.length) return;
  const wish = out.wantedNeighbours[out.wantedNeighbourCount++];
  wish.port = port.handle;
  for (let i = 0; i < 16; i++) wish.ip[i] = ip[at + i];
}
