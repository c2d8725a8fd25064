/** Which route a packet takes: longest destination prefix, source prefix, state of the way out, weight, equal shares. */
import {
  addressTag,
  F_IP_DST,
  F_IP_FRAG,
  F_IP_PROTO,
  F_IP_SRC,
  F_TP_DST,
  F_TP_SRC,
  FRAG_NONE,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_TP_DST,
  K_TP_SRC,
  ROUTE_TAG_LENGTHS,
  readU16,
  routeTagLength,
  TAG_ACTIVE,
  TAG_ROUTE,
  tag,
} from '@weft/flow';
import { prefixMatches } from '@weft/packet';
import type { SimRouter } from '../view/devices.ts';
import { ROUTE_NORMAL, type RouteTable } from '../view/route-table.ts';
import { ACTIVE_LOST, ACTIVE_UNKNOWN, ACTIVE_YES } from '../view/topology.ts';
import { STEP_ROUTE } from './steps.ts';
import type { Walk } from './walk.ts';

/** Whether ports of hosts that are not heard any more count, because nothing else is left. */
let lastResort = false;

/** Index of the route in the router's table, or -1: there is none (or the packet was postponed). */
export function chooseRoute(w: Walk, r: SimRouter, v6: boolean): number {
  lastResort = false;
  passedOver = false;
  const chosen = search(w, r, v6);
  if (chosen >= 0 || w.isPostponed || !passedOver) return chosen;
  lastResort = true;
  return search(w, r, v6);
}
/** A route was not taken because its port's host is not heard any more. */
let passedOver = false;

function search(w: Walk, r: SimRouter, v6: boolean): number {
  const { routes } = r;
  const lengths = v6 ? routes.lengths6 : routes.lengths4;
  w.read(F_IP_DST);
  for (let i = 0; i < lengths.length; i++) {
    if (!routes.group(w.key, K_IP_DST, lengths[i])) continue;
    const chosen = best(w, r);
    if (w.isPostponed) return -1;
    if (chosen < 0) continue;
    tagLookup(w, r, routeTagLength(lengths[i]));
    return chosen;
  }
  tagLookup(w, r, v6 ? 0 : 96);
  if (w.rec !== null) w.rec.step(STEP_ROUTE, r.handle, 0, 0, w.key);
  return -1;
}

/** Routes shorter than the one found cannot change the decision: they leave no tag. */
function tagLookup(w: Walk, r: SimRouter, shortest: number): void {
  for (let i = 0; i < ROUTE_TAG_LENGTHS.length; i++) {
    const length = ROUTE_TAG_LENGTHS[i];
    if (length >= shortest) w.tag(addressTag(TAG_ROUTE, r.handle, w.key, K_IP_DST, length));
  }
}

/** The best of the group found last, or -1: none of it counts. */
function best(w: Walk, r: SimRouter): number {
  const t = r.routes;
  let chosen = -1;
  let weight = Infinity;
  let equals = 0;
  for (let i = t.first; i < t.last; i++) {
    if (t.weights[i] > weight || !counts(w, t, i)) continue;
    if (t.weights[i] < weight) {
      weight = t.weights[i];
      chosen = i;
      equals = 1;
    } else {
      equals++;
    }
  }
  if (equals > 1) chosen = share(w, t, weight);
  if (w.rec !== null && chosen >= 0) w.rec.step(STEP_ROUTE, r.handle, t.handles[chosen], equals, w.key);
  return chosen;
}

function counts(w: Walk, t: RouteTable, i: number): boolean {
  const bits = t.sourceBits[i];
  if (bits !== 0) {
    w.read(F_IP_SRC);
    if (!prefixMatches(t.sources, i * 16, w.key, K_IP_SRC, bits)) return false;
  }
  return t.types[i] !== ROUTE_NORMAL || usable(w, t.ports[i]);
}

/** Only a port that is up, and linked or active somewhere, leads on. */
function usable(w: Walk, handle: number): boolean {
  const port = w.port(handle);
  if (port === undefined || !port.adminUp) return false;
  if (port.hostId === '') return port.peer !== 0;
  w.tag(tag(TAG_ACTIVE, handle));
  const active = handle < w.view.active.length ? w.view.active[handle] : ACTIVE_UNKNOWN;
  if (active === ACTIVE_UNKNOWN) w.need(`t/active/${port.id}`, handle);
  if (active !== ACTIVE_LOST) return active === ACTIVE_YES;
  passedOver = true;
  return lastResort;
}

/**
 * One of several equal routes, by rendezvous: each route's score depends on the flow and on the route alone, so that a
 * route that comes or goes moves only the flows that it gains or had. Fragments of one packet stay together.
 */
function share(w: Walk, t: RouteTable, weight: number): number {
  const flow = flowHash(w);
  let chosen = -1;
  let top = -1;
  for (let i = t.first; i < t.last; i++) {
    if (t.weights[i] !== weight || !counts(w, t, i)) continue;
    const score = mix(flow ^ t.hashes[i]) >>> 0;
    if (score > top) {
      top = score;
      chosen = i;
    }
  }
  return chosen;
}

/** Hash of addresses, protocol and ports, the same for both directions of a conversation. */
function flowHash(w: Walk): number {
  const { key } = w;
  w.read(F_IP_SRC | F_IP_DST | F_IP_PROTO | F_IP_FRAG);
  const proto = key[K_IP_PROTO];
  let src = 0;
  let dst = 0;
  if (key[K_IP_FRAG] === FRAG_NONE && (proto === 6 || proto === 17 || proto === 132 || proto === 136)) {
    w.read(F_TP_SRC | F_TP_DST);
    src = readU16(key, K_TP_SRC);
    dst = readU16(key, K_TP_DST);
  }
  return mix((end(key, K_IP_SRC, src) + end(key, K_IP_DST, dst)) ^ proto);
}

function end(key: Uint8Array, offset: number, port: number): number {
  let h = mix(port + 1);
  for (let o = offset; o < offset + 16; o += 4) {
    h = mix(h ^ ((key[o] << 24) | (key[o + 1] << 16) | (key[o + 2] << 8) | key[o + 3]));
  }
  return h;
}

function mix(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}
