/** A virtual switch: learning, forwarding by MAC, flooding. ARP and ND that concern known addresses go to `suppress.ts`. */
import { dropReason, F_ETH_DST, F_ETH_SRC, F_VLAN, K_ETH_DST, K_ETH_SRC } from '@weft/flow';
import { PORT_ROUTER, type SimPort } from '../contract.ts';
import type { SimBridge } from '../view/devices.ts';
import { macTag } from '../view/macs.ts';
import { flood } from './flood.ts';
import { egress, passes } from './port.ts';
import { STEP_BRIDGE, STEP_LEARN, STEP_MAC } from './steps.ts';
import { group, NOT_HANDLED } from './suppress.ts';
import { ERROR_DROP_MS, type Walk } from './walk.ts';

const UNKNOWN_DEVICE = dropReason('unknown_device');
const ADMIN_DOWN = dropReason('admin_down');
const MCAST_SOURCE = dropReason('mcast_source');
const HAIRPIN = dropReason('hairpin');

/** The frame has entered by `port` and passed its filter. */
export function bridge(w: Walk, port: SimPort): void {
  const handle = port.device;
  if (!w.enter(handle)) return;
  const b = w.bridge(handle);
  if (b === undefined) {
    if (!w.isPostponed) w.drop(UNKNOWN_DEVICE, handle);
    return;
  }
  if (!b.adminUp) {
    w.drop(ADMIN_DOWN, handle);
    return;
  }
  w.read(F_ETH_SRC | F_VLAN);
  const vlan = w.vlanId();
  if (w.rec !== null) w.rec.step(STEP_BRIDGE, handle, vlan, 0, w.key);
  if (w.key[K_ETH_SRC] & 1) {
    w.drop(MCAST_SOURCE, handle);
    return;
  }
  // A frame that the bridge's filter drops has still shown where its sender is.
  learn(w, b, port, vlan);
  if (!passes(w, b.inFilter, port.handle, 0, handle, false)) return;
  w.read(F_ETH_DST);
  if (w.key[K_ETH_DST] & 1) {
    const to = w.untagged() ? group(w, b, port) : NOT_HANDLED;
    if (to === NOT_HANDLED) flood(w, b, port);
    else if (to > 0) unicast(w, b, to);
    return;
  }
  forward(w, b, port, vlan);
}

function forward(w: Walk, b: SimBridge, port: SimPort, vlan: number): void {
  w.tag(macTag(b.handle, vlan, w.key, K_ETH_DST));
  const to = w.view.macs.find(b.handle, vlan, w.key, K_ETH_DST);
  if (w.rec !== null) w.rec.step(STEP_MAC, b.handle, to, 0, w.key);
  if (to === port.handle) {
    w.drop(HAIRPIN, port.handle);
    w.out.shortLived = ERROR_DROP_MS;
    return;
  }
  if (to === 0 || !isMember(w, b, to)) flood(w, b, port);
  else unicast(w, b, to);
}

/** An entry for a port that has gone, or has moved to another bridge, is none. */
function isMember(w: Walk, b: SimBridge, handle: number): boolean {
  const port = w.port(handle);
  return port !== undefined && port.device === b.handle;
}

function unicast(w: Walk, b: SimBridge, to: number): void {
  if (passes(w, b.outFilter, w.inPort, to, b.handle, false)) egress(w, to);
}

/** Reports the sender's place if the table says something else. What a router sends needs no learning. */
function learn(w: Walk, b: SimBridge, port: SimPort, vlan: number): void {
  const { view, out, key } = w;
  w.tag(macTag(b.handle, vlan, key, K_ETH_SRC));
  if (view.macs.find(b.handle, vlan, key, K_ETH_SRC) === port.handle) return;
  if (view.macs.isLinked(b.handle, vlan, key, K_ETH_SRC)) return;
  if (port.peer !== 0 && view.ports[port.peer]?.kind === PORT_ROUTER) return;
  if (w.rec !== null) w.rec.step(STEP_LEARN, b.handle, port.handle, 0, key);
  if (out.learnedMacCount === out.learnedMacs.length) return;
  const fact = out.learnedMacs[out.learnedMacCount++];
  fact.bridge = b.handle;
  fact.vlan = vlan;
  fact.port = port.handle;
  for (let i = 0; i < 6; i++) fact.mac[i] = key[K_ETH_SRC + i];
}
