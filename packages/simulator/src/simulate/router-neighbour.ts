/** ARP and neighbour discovery of router ports: answering for their own addresses, learning who else is on the link. */
import { dropReason, F_ARP_OP, F_IP_DST, F_IP_SRC, K_ARP_OP, K_ETH_SRC, K_IP_DST, K_IP_SRC } from '@weft/flow';
import {
  ARP_SHA,
  arpReply,
  arpRequest,
  ICMPV6_NEIGHBOR_SOLICIT,
  IP6_ALL_NODES,
  ipEquals,
  ipIsUnspecified,
  ipIsV4,
  multicastMac,
  ND_FLAGS,
  ND_OPTION_SOURCE_LLA,
  ND_OPTION_TARGET_LLA,
  ND_OVERRIDE,
  ND_ROUTER,
  ND_SOLICITED,
  ND_TARGET,
  ndLinkAddress,
  ndNeighborAdvert,
  ndNeighborSolicit,
} from '@weft/packet';
import { GENERATED_ARP_REPLY, GENERATED_ND_ADVERT, type SimPort } from '../contract.ts';
import { ownAddress, ownSubnet } from '../view/port.ts';
import { announce, learnOnPort } from './learn-neighbour.ts';
import { checkedNd } from './nd.ts';
import type { Walk } from './walk.ts';

const NOT_FOR_ROUTER = dropReason('not_for_router');
const LOCAL_DELIVERED = dropReason('local_delivered');
const MALFORMED = dropReason('malformed');

/** An ARP packet for the port (RFC 826). Whoever asks or answers must be in one of the port's subnets. */
export function routerArp(w: Walk, port: SimPort): void {
  const { key } = w;
  w.read(F_ARP_OP | F_IP_SRC | F_IP_DST);
  const op = key[K_ARP_OP];
  const toOwn = ownAddress(port, key, K_IP_DST) >= 0;
  const gratuitous = ipEquals(key, K_IP_SRC, key, K_IP_DST);
  if ((op !== 1 && op !== 2) || (!toOwn && !gratuitous)) {
    w.drop(NOT_FOR_ROUTER, port.handle);
    return;
  }
  if (!w.headers() || w.have < w.layout.l3 + 28) {
    w.drop(MALFORMED, port.handle);
    return;
  }
  const sha = w.layout.l3 + ARP_SHA;
  if (gratuitous) {
    announce(w, port, key, K_IP_SRC, w.frame, sha);
  } else if (op === 2) {
    learnOnPort(w, port, key, K_IP_SRC, w.frame, sha);
  } else {
    // A probe (RFC 5227 §2.1.1) comes from 0.0.0.0: it is answered, and teaches nothing.
    const probe = ipIsUnspecified(key, K_IP_SRC);
    if (!probe && ownSubnet(port, key, K_IP_SRC) < 0) {
      w.drop(NOT_FOR_ROUTER, port.handle);
      return;
    }
    if (!probe) learnOnPort(w, port, key, K_IP_SRC, w.frame, sha);
    const reply = arpReply({
      senderMac: port.mac,
      senderIp: key.slice(K_IP_DST, K_IP_DST + 16),
      targetMac: w.frame.slice(sha, sha + 6),
      targetIp: key.slice(K_IP_SRC, K_IP_SRC + 16),
      ethDst: key.slice(K_ETH_SRC, K_ETH_SRC + 6),
    });
    w.generate(reply, port, GENERATED_ARP_REPLY);
  }
  w.drop(LOCAL_DELIVERED, port.handle);
}

/** A neighbour solicitation or advertisement that reached the port (RFC 4861 §7.2). */
export function routerNd(w: Walk, port: SimPort): void {
  const l4 = checkedNd(w);
  if (l4 === 0) {
    w.drop(MALFORMED, port.handle);
    return;
  }
  const { frame, key } = w;
  const target = l4 + ND_TARGET;
  const end = w.layout.l3 + w.layout.l3Length;
  if (frame[l4] !== ICMPV6_NEIGHBOR_SOLICIT) {
    advertised(w, port, l4, end);
    w.drop(LOCAL_DELIVERED, port.handle);
    return;
  }
  if (ownAddress(port, frame, target) < 0) {
    w.drop(NOT_FOR_ROUTER, port.handle);
    return;
  }
  const probe = ipIsUnspecified(key, K_IP_SRC);
  const mac = ndLinkAddress(frame, l4, end, ND_OPTION_SOURCE_LLA);
  if (!probe && mac >= 0) learnOnPort(w, port, key, K_IP_SRC, frame, mac);
  const reply = ndNeighborAdvert({
    mac: port.mac,
    target: frame.slice(target, target + 16),
    dst: probe ? IP6_ALL_NODES : key.slice(K_IP_SRC, K_IP_SRC + 16),
    ethDst: probe ? multicastMac(IP6_ALL_NODES) : key.slice(K_ETH_SRC, K_ETH_SRC + 6),
    flags: ND_ROUTER | ND_OVERRIDE | (probe ? 0 : ND_SOLICITED),
  });
  w.generate(reply, port, GENERATED_ND_ADVERT);
  w.drop(LOCAL_DELIVERED, port.handle);
}

function advertised(w: Walk, port: SimPort, l4: number, end: number): void {
  const { frame } = w;
  const solicited = (frame[l4 + ND_FLAGS] & ND_SOLICITED) !== 0;
  const mac = ndLinkAddress(frame, l4, end, ND_OPTION_TARGET_LLA);
  if (!solicited) {
    if (mac >= 0) announce(w, port, frame, l4 + ND_TARGET, frame, mac);
    return;
  }
  // The option may be left out of a solicited answer: then the frame's source is meant.
  if (mac >= 0) learnOnPort(w, port, frame, l4 + ND_TARGET, frame, mac);
  else learnOnPort(w, port, frame, l4 + ND_TARGET, w.key, K_ETH_SRC);
}

/** Question for `ip` from a router port; null if it has no address of the family to ask from. */
export function neighbourRequest(port: SimPort, ip: Uint8Array): Uint8Array | null {
  const v4 = ipIsV4(ip, 0);
  let from = ownSubnet(port, ip, 0);
  for (let i = 0; from < 0 && i < port.prefixes.length; i++) if (ipIsV4(port.addresses, i * 16) === v4) from = i;
  if (from < 0) return null;
  const source = port.addresses.slice(from * 16, from * 16 + 16);
  return v4
    ? arpRequest({ senderMac: port.mac, senderIp: source, targetIp: ip })
    : ndNeighborSolicit({ mac: port.mac, src: source, target: ip });
}
