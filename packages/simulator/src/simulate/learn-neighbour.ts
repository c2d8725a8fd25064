/**
 * What a packet shows of the neighbours of a router or bridge. A bridge's facts are reported only if the view says otherwise, a
 * router's always: they are also the sign of life that keeps an entry from expiring.
 */
import type { SimPort } from '../contract.ts';
import { isLinkLocal6 } from '../view/neighbours.ts';
import { ownAddress, ownSubnet } from '../view/port.ts';
import { STEP_LEARN_NEIGHBOUR } from './steps.ts';
import type { Walk } from './walk.ts';

/**
 * The address at `ip[ipAt]` has the MAC at `mac[macAt]`.
 * @param owner handle under which the neighbour is looked up; @param device router or bridge; @param port router port or 0
 */
export function learnNeighbour(
  w: Walk,
  owner: number,
  device: number,
  port: number,
  ip: Uint8Array,
  ipAt: number,
  mac: Uint8Array,
  macAt: number,
): void {
  const { neighbours } = w.view;
  if (mac[macAt] & 1 || isZero(mac, macAt, 6) || isZero(ip, ipAt, 16) || isV4Zero(ip, ipAt)) return;
  const at = neighbours.find(owner, ip, ipAt);
  if (at >= 0) {
    if (neighbours.linkedPort(at) !== 0) return;
    if (port === 0 && neighbours.hasMac(at) && neighbours.macIs(at, mac, macAt)) return;
  }
  if (w.rec !== null) w.rec.step(STEP_LEARN_NEIGHBOUR, port === 0 ? device : port, 0, 0, w.key);
  const { out } = w;
  if (out.learnedNeighbourCount === out.learnedNeighbours.length) return;
  const fact = out.learnedNeighbours[out.learnedNeighbourCount++];
  fact.device = device;
  fact.port = port;
  fact.from = w.origin;
  for (let i = 0; i < 16; i++) fact.ip[i] = ip[ipAt + i];
  for (let i = 0; i < 6; i++) fact.mac[i] = mac[macAt + i];
}

/** A router port hears of a neighbour: believed if the address is in one of its subnets and not its own. */
export function learnOnPort(
  w: Walk,
  port: SimPort,
  ip: Uint8Array,
  ipAt: number,
  mac: Uint8Array,
  macAt: number,
): void {
  if (ownSubnet(port, ip, ipAt) < 0 || ownAddress(port, ip, ipAt) >= 0) return;
  learnNeighbour(w, isLinkLocal6(ip, ipAt) ? port.handle : port.device, port.device, port.handle, ip, ipAt, mac, macAt);
}

/** A neighbour announces itself to all: a router takes it in only if it knows the neighbour (RFC 4861 §7.2.5; the same for ARP). */
export function announce(w: Walk, port: SimPort, ip: Uint8Array, ipAt: number, mac: Uint8Array, macAt: number): void {
  if (!port.adminUp) return;
  const owner = isLinkLocal6(ip, ipAt) ? port.handle : port.device;
  if (w.view.neighbours.find(owner, ip, ipAt) >= 0) learnOnPort(w, port, ip, ipAt, mac, macAt);
}

function isZero(bytes: Uint8Array, offset: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (bytes[offset + i] !== 0) return false;
  return true;
}

/** 0.0.0.0 in the 16-byte form. */
function isV4Zero(ip: Uint8Array, offset: number): boolean {
  return isZero(ip, offset, 10) && isZero(ip, offset + 12, 4);
}
