/** A fork: one copy of the frame for every port of the bridge but the one it came by. */
import { dropReason, F_IP_TTL, TAG_FLOOD, tag } from '@weft/flow';
import { isFiltered, PORT_ROUTER, type SimPort } from '../contract.ts';
import type { SimBridge } from '../view/devices.ts';
import { leave, passes } from './port.ts';
import { STEP_FLOOD } from './steps.ts';
import type { Walk } from './walk.ts';

const NO_EGRESS_PORT = dropReason('no_egress_port');

/** Floods a frame that came by `from`. Its tag stands for all members: whatever changes at one of them invalidates it. */
export function flood(w: Walk, b: SimBridge, from: SimPort): void {
  w.tag(tag(TAG_FLOOD, b.handle));
  if (w.rec !== null) w.rec.step(STEP_FLOOD, b.handle, from.handle, 0, w.key);
  if (!passes(w, b.outFilter, w.inPort, 0, b.handle, false)) return;
  const { view, out } = w;
  const { members } = b;
  const vlan = w.vlanId();
  const reason = out.reason;
  const where = out.where;
  const outer = w.flood;
  w.flood = b.handle;
  const passed = w.passedCount;
  const { frame } = w;
  w.save();
  for (let i = 0; i < members.length && !w.isOver; i++) {
    const handle = members[i];
    if (handle === from.handle) continue;
    const port = view.ports[handle];
    if (port === undefined) {
      missing(w, handle);
      continue;
    }
    if (!port.adminUp || (port.vlan !== 0 && port.vlan !== vlan)) continue;
    // A frame for all is no concern of a router, but for the announcements that `suppress.ts` has handed on.
    if (port.peer !== 0 && view.ports[port.peer]?.kind === PORT_ROUTER) continue;
    if (port.hostId !== '' && port.vlan === 0) {
      leave(w, port);
      // A filter may have translated.
      if (isFiltered(port)) w.restore(frame);
    } else branch(w, b, port, frame);
    w.passedCount = passed;
  }
  w.flood = outer;
  if (w.isOver) return;
  // That single copies were filtered is no reason why the frame was dropped, unless none is left.
  if (out.outputCount > 0 || out.reason === 0) {
    out.reason = reason;
    out.where = where;
  }
  if (out.outputCount === 0 && out.reason === 0) w.drop(NO_EGRESS_PORT, b.handle);
}

/** A member that was forgotten or not delivered yet; an absent one receives nothing. */
function missing(w: Walk, handle: number): void {
  const interest = `o/Port/${w.view.handles.id(handle)}`;
  if (!w.view.raw.has(interest)) w.need(interest, handle);
}

/** Leaves by a port on a copy of the packet: the tag may be popped, other devices may follow. */
function branch(w: Walk, b: SimBridge, port: SimPort, frame: Uint8Array): void {
  if (!w.branch(b.handle)) return;
  const { ttlDec, inPort, depth, flood: flooding, routerPort, track } = w;
  leave(w, port);
  // A router on a branch asked for more TTL than the flow's action will: then the flow has to name the TTL.
  if (w.ttlDec !== ttlDec) w.read(F_IP_TTL);
  w.ttlDec = ttlDec;
  w.inPort = inPort;
  w.depth = depth;
  w.flood = flooding;
  w.routerPort = routerPort;
  w.track = track;
  w.restore(frame);
}
