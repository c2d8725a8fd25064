/** Ports: the way into a device and the way out of it, with admin state and filters. */
import { dropReason, F_VLAN, K_VLAN, VLAN_PRESENT, writeU16 } from '@weft/flow';
import { PORT_ROUTER, type SimPort } from '../contract.ts';
import { ACTION_ACCEPT, ACTION_LIMIT, ACTION_REJECT } from '../view/chain.ts';
import { bridge } from './bridge.ts';
import { ACTION_POSTPONED, ACTION_UNTRANSLATED, runFilter } from './chain.ts';
import { reject } from './reject.ts';
import { atRouter, prohibited, router } from './router.ts';
import { STEP_EGRESS, STEP_INGRESS } from './steps.ts';
import type { Walk } from './walk.ts';

const NO_PORT = dropReason('no_port');
const ADMIN_DOWN = dropReason('admin_down');
const FILTERED = dropReason('filtered');
const CHAIN_LIMIT = dropReason('chain_limit');
const UNPLUGGED = dropReason('unplugged');
const REJECTED = dropReason('rejected');
const VLAN_UNSUPPORTED = dropReason('vlan_unsupported');

/** A packet enters the device of `handle` by it. */
export function ingress(w: Walk, handle: number): void {
  const port = w.port(handle);
  if (port === undefined) {
    if (!w.isPostponed) w.drop(NO_PORT, handle);
    return;
  }
  if (w.rec !== null) w.rec.step(STEP_INGRESS, handle, 0, 0, w.key);
  if (!port.adminUp) {
    w.drop(ADMIN_DOWN, handle);
    return;
  }
  w.inPort = handle;
  w.pass(handle);
  w.beginDevice(port.device);
  if (port.kind === PORT_ROUTER) atRouter(w, port);
  if (!passes(w, port.securityIn, handle, 0, handle, false)) return;
  if (!passes(w, port.inFilter, handle, 0, handle, port.kind === PORT_ROUTER)) return;
  if (port.kind === PORT_ROUTER) router(w, port);
  else if (pushVlan(w, port)) bridge(w, port);
}

/** A frame from the untagged side of a VLAN-aware bridge is tagged as it enters. */
function pushVlan(w: Walk, port: SimPort): boolean {
  if (port.vlan === 0) return true;
  w.read(F_VLAN);
  if (!w.untagged()) {
    w.drop(VLAN_UNSUPPORTED, port.handle);
    return false;
  }
  writeU16(w.key, K_VLAN, port.vlan | VLAN_PRESENT);
  return true;
}

/** The packet leaves the present device by `handle`: out of the virtual network, or into the device at the other end. */
export function egress(w: Walk, handle: number): void {
  const port = w.port(handle);
  if (port !== undefined) leave(w, port);
  else if (!w.isPostponed) w.drop(NO_PORT, handle);
}

/** `egress` of a port at hand. In a flood it needs no tag of its own: the flood's covers its members. */
export function leave(w: Walk, port: SimPort): void {
  const { handle } = port;
  if (w.rec !== null) w.rec.step(STEP_EGRESS, handle, 0, 0, w.key);
  if (!port.adminUp) {
    if (port.kind === PORT_ROUTER) prohibited(w);
    w.drop(ADMIN_DOWN, handle);
    return;
  }
  w.pass(handle);
  // Filters see the frame as it is inside the device.
  if (!passes(w, port.outFilter, w.inPort, handle, handle, port.kind === PORT_ROUTER)) return;
  if (!passes(w, port.securityOut, w.inPort, handle, handle, false)) return;
  if (port.vlan !== 0) {
    if (w.vlanId() !== port.vlan) {
      w.drop(VLAN_UNSUPPORTED, handle);
      return;
    }
    writeU16(w.key, K_VLAN, 0);
  }
  w.track.leave(w);
  if (port.hostId !== '') {
    w.output(port);
    return;
  }
  if (port.peer === 0) {
    w.drop(UNPLUGGED, handle);
    return;
  }
  const peer = w.port(port.peer);
  if (peer === undefined || peer.peer !== handle) {
    if (!w.isPostponed) w.drop(UNPLUGGED, handle);
    return;
  }
  ingress(w, port.peer);
}

/** Whether the packet passes a filter; else it has been dropped (rejected: with an answer if there may be one) or postponed. */
export function passes(
  w: Walk,
  chain: number,
  inPort: number,
  outPort: number,
  where: number,
  routing: boolean,
): boolean {
  if (chain === 0) return true;
  const verdict = runFilter(w, chain, inPort, outPort);
  if (verdict === ACTION_ACCEPT) return true;
  if (verdict === ACTION_POSTPONED) return false;
  if (verdict === ACTION_UNTRANSLATED) {
    if (!w.isOver) w.drop(w.natReason, where);
  } else if (verdict === ACTION_REJECT) {
    reject(w, routing);
    w.drop(REJECTED, where);
  } else {
    w.drop(verdict === ACTION_LIMIT ? CHAIN_LIMIT : FILTERED, where);
  }
  return false;
}
