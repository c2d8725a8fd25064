/**
 * ARP and neighbour discovery on a bridge: a question whose answer is known goes nowhere, one for a linked router goes to
 * that router alone, and announcements teach. Everything else is an ordinary frame.
 */
import {
  dropReason,
  F_ARP_OP,
  F_ETH_DST,
  F_ETHER_TYPE,
  F_IP_DST,
  F_IP_FRAG,
  F_IP_PROTO,
  F_IP_SRC,
  F_TP_DST,
  F_TP_SRC,
  K_ARP_OP,
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_TP_SRC,
  readU16,
  TAG_FLOOD,
  tag,
} from '@weft/flow';
import {
  ARP_SHA,
  arpReply,
  ICMPV6_NEIGHBOR_ADVERT,
  ICMPV6_NEIGHBOR_SOLICIT,
  IP6_ALL_NODES,
  IPPROTO_ICMPV6,
  ipEquals,
  ipIsUnspecified,
  macIsBroadcast,
  multicastMac,
  ND_OPTION_TARGET_LLA,
  ND_OVERRIDE,
  ND_SOLICITED,
  ND_TARGET,
  ndLinkAddress,
  ndNeighborAdvert,
} from '@weft/packet';
import { GENERATED_ARP_REPLY, GENERATED_ND_ADVERT, PORT_ROUTER, type SimPort } from '../contract.ts';
import type { SimBridge } from '../view/devices.ts';
import { neighbourTag } from '../view/neighbours.ts';
import { announce, learnNeighbour } from './learn-neighbour.ts';
import { checkedNd } from './nd.ts';
import { STEP_SUPPRESS } from './steps.ts';
import type { Walk } from './walk.ts';

const LOCAL_DELIVERED = dropReason('local_delivered');
const MALFORMED = dropReason('malformed');

/** To be flooded like any other. */
export const NOT_HANDLED = 0;
/** Answered or dropped. */
const HANDLED = -1;

/** An untagged frame to a group address. @returns a port: it goes there alone; else HANDLED or NOT_HANDLED. */
export function group(w: Walk, b: SimBridge, port: SimPort): number {
  w.read(F_ETHER_TYPE);
  const type = readU16(w.key, K_ETHER_TYPE);
  if (type === 0x0806) return arp(w, b, port);
  return type === 0x86dd ? nd(w, b, port) : NOT_HANDLED;
}

function arp(w: Walk, b: SimBridge, port: SimPort): number {
  const { key } = w;
  w.read(F_ARP_OP | F_ETH_DST);
  const op = key[K_ARP_OP];
  if ((op !== 1 && op !== 2) || !macIsBroadcast(key, K_ETH_DST)) return NOT_HANDLED;
  w.read(F_IP_SRC | F_IP_DST);
  if (ipEquals(key, K_IP_SRC, key, K_IP_DST)) {
    if (!w.headers() || w.have < w.layout.l3 + 28) return malformed(w, b);
    announced(w, b, w.key, K_IP_SRC, w.frame, w.layout.l3 + ARP_SHA);
    return NOT_HANDLED;
  }
  if (op !== 1) return NOT_HANDLED;
  const known = lookup(w, b, port, key, K_IP_DST);
  if (known !== KNOWN_MAC) return known;
  if (!w.headers() || w.have < w.layout.l3 + 28) return malformed(w, b);
  const l3 = w.layout.l3;
  const frame = arpReply({
    senderMac: answer,
    senderIp: key.slice(K_IP_DST, K_IP_DST + 16),
    targetMac: w.frame.slice(l3 + ARP_SHA, l3 + ARP_SHA + 6),
    targetIp: key.slice(K_IP_SRC, K_IP_SRC + 16),
    ethDst: key.slice(K_ETH_SRC, K_ETH_SRC + 6),
  });
  w.generate(frame, port, GENERATED_ARP_REPLY);
  w.drop(LOCAL_DELIVERED, b.handle);
  return HANDLED;
}

function nd(w: Walk, b: SimBridge, port: SimPort): number {
  const { key } = w;
  if (key[K_ETH_DST] !== 0x33 || key[K_ETH_DST + 1] !== 0x33) return NOT_HANDLED;
  w.read(F_IP_PROTO);
  if (key[K_IP_PROTO] !== IPPROTO_ICMPV6) return NOT_HANDLED;
  w.read(F_IP_FRAG | F_TP_SRC | F_TP_DST);
  const icmp = readU16(key, K_TP_SRC);
  if (key[K_IP_FRAG] !== 0 || (icmp !== ICMPV6_NEIGHBOR_SOLICIT && icmp !== ICMPV6_NEIGHBOR_ADVERT)) return NOT_HANDLED;
  const l4 = checkedNd(w);
  // What no receiver would believe is carried, but not acted upon.
  if (l4 === 0) return NOT_HANDLED;
  const { frame } = w;
  if (icmp === ICMPV6_NEIGHBOR_ADVERT) {
    const mac = ndLinkAddress(frame, l4, w.layout.l3 + w.layout.l3Length, ND_OPTION_TARGET_LLA);
    if (mac >= 0) announced(w, b, frame, l4 + ND_TARGET, frame, mac);
    return NOT_HANDLED;
  }
  const known = lookup(w, b, port, frame, l4 + ND_TARGET);
  if (known !== KNOWN_MAC) return known;
  const probe = ipIsUnspecified(key, K_IP_SRC);
  const reply = ndNeighborAdvert({
    mac: answer,
    target: frame.slice(l4 + ND_TARGET, l4 + ND_TARGET + 16),
    dst: probe ? IP6_ALL_NODES : key.slice(K_IP_SRC, K_IP_SRC + 16),
    ethDst: probe ? multicastMac(IP6_ALL_NODES) : key.slice(K_ETH_SRC, K_ETH_SRC + 6),
    // Answered on behalf of another: its own word may override ours (RFC 4861 §7.2.8), but for a duplicate.
    flags: probe ? ND_OVERRIDE : ND_SOLICITED,
  });
  w.generate(reply, port, GENERATED_ND_ADVERT);
  w.drop(LOCAL_DELIVERED, b.handle);
  return HANDLED;
}

function malformed(w: Walk, b: SimBridge): number {
  w.drop(MALFORMED, b.handle);
  return HANDLED;
}

/** The MAC is in `answer`. */
const KNOWN_MAC = -2;
const answer = new Uint8Array(6);

/** Who has the address? A port (of a linked router), KNOWN_MAC, or NOT_HANDLED. */
function lookup(w: Walk, b: SimBridge, port: SimPort, bytes: Uint8Array, offset: number): number {
  const { neighbours } = w.view;
  w.tag(neighbourTag(b.handle, bytes, offset));
  const at = neighbours.find(b.handle, bytes, offset);
  if (at < 0) return NOT_HANDLED;
  const linked = neighbours.linkedPort(at);
  if (linked !== 0) {
    // The router that owns the address asks whether anyone else has it.
    if (linked === port.handle) return NOT_HANDLED;
    if (w.rec !== null) w.rec.step(STEP_SUPPRESS, b.handle, linked, 0, w.key);
    return linked;
  }
  // Its owner probing for a duplicate must not be told that there is one.
  if (!neighbours.hasMac(at) || neighbours.macIs(at, w.key, K_ETH_SRC)) return NOT_HANDLED;
  if (w.rec !== null) w.rec.step(STEP_SUPPRESS, b.handle, 0, 0, w.key);
  neighbours.copyMac(at, answer, 0);
  return KNOWN_MAC;
}

/** An unasked-for "I have this address": the bridge notes it, and so do linked routers that have it as a neighbour. */
function announced(w: Walk, b: SimBridge, ip: Uint8Array, ipAt: number, mac: Uint8Array, macAt: number): void {
  learnNeighbour(w, b.handle, b.handle, 0, ip, ipAt, mac, macAt);
  if (!b.hasRouters) return;
  w.tag(tag(TAG_FLOOD, b.handle));
  for (let i = 0; i < b.members.length; i++) {
    const port = w.view.ports[b.members[i]];
    if (port === undefined || port.peer === 0 || port.vlan !== 0 || port.handle === w.inPort || !port.adminUp) continue;
    const peer = w.view.ports[port.peer];
    if (peer?.kind === PORT_ROUTER && peer.peer === port.handle) announce(w, peer, ip, ipAt, mac, macAt);
  }
}
