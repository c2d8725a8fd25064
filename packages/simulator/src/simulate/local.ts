/** Packets for the router itself: echo is answered, other things are refused as a host would. */
import {
  dropReason,
  F_IP_FRAG,
  F_IP_PROTO,
  F_TP_SRC,
  FRAG_NONE,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_IP_FRAG,
  K_IP_PROTO,
  K_TP_SRC,
  readU16,
} from '@weft/flow';
import {
  checksumUpdate,
  ETHERTYPE_IPV4,
  ICMP_CHECKSUM,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  ipv4SetTtl,
  ipv6SetHopLimit,
  macCopy,
  setU16,
  u16,
} from '@weft/packet';
import { GENERATED_ECHO_REPLY, type SimPort } from '../contract.ts';
import type { SimRouter } from '../view/devices.ts';
import { PORT_UNREACHABLE, sendError } from './icmp.ts';
import { resetTcp } from './reject.ts';
import { frameAs } from './rewrite-packet.ts';
import type { Walk } from './walk.ts';

const LOCAL_DELIVERED = dropReason('local_delivered');
const CUT = dropReason('super_packet_cut');

const TTL = 64;

/** The packet is for router `r`, which it reached by `port`. */
export function deliver(w: Walk, r: SimRouter, port: SimPort): void {
  const { key } = w;
  w.read(F_IP_PROTO | F_IP_FRAG);
  // Fragments are not put together: there is no service here that needs it.
  if (key[K_IP_FRAG] === FRAG_NONE) {
    const proto = key[K_IP_PROTO];
    if (proto === IPPROTO_ICMP || proto === IPPROTO_ICMPV6) {
      w.read(F_TP_SRC);
      const type = readU16(key, K_TP_SRC);
      const v4 = readU16(key, K_ETHER_TYPE) === ETHERTYPE_IPV4;
      if (v4 === (proto === IPPROTO_ICMP) && type === (v4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST)) {
        if (!echo(w, port, v4)) {
          w.drop(CUT, r.handle);
          return;
        }
      }
    } else if (proto === IPPROTO_UDP) {
      sendError(w, PORT_UNREACHABLE);
    } else if (proto === IPPROTO_TCP) {
      // Nothing listens on a router: a connection is refused, not left to time out.
      resetTcp(w, port, port.mac, w.routerKey, undefined);
    }
  }
  w.drop(LOCAL_DELIVERED, r.handle);
}

/** Sends the request, as it came to the router, back as a reply; false if not all of it is here. */
function echo(w: Walk, port: SimPort, v4: boolean): boolean {
  if (!w.headers()) return false;
  const { l3, l4, l3Length } = w.layout;
  if (w.have < l3 + l3Length || l4 === 0) return false;
  const ip = 14;
  const frame = new Uint8Array(ip + l3Length);
  macCopy(w.routerKey, K_ETH_SRC, frame, 0);
  macCopy(port.mac, 0, frame, 6);
  setU16(frame, 12, v4 ? ETHERTYPE_IPV4 : 0x86dd);
  frame.set(frameAs(w, w.routerKey).subarray(l3, l3 + l3Length), ip);
  // Swapping the addresses changes no checksum.
  const size = v4 ? 4 : 16;
  const src = ip + (v4 ? 12 : 8);
  const addresses = frame.slice(src, src + 2 * size);
  frame.set(addresses.subarray(size), src);
  frame.set(addresses.subarray(0, size), src + size);
  if (v4) ipv4SetTtl(frame, ip, TTL);
  else ipv6SetHopLimit(frame, ip, TTL);
  const icmp = ip + l4 - l3;
  const before = u16(frame, icmp);
  frame[icmp] = v4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
  setU16(frame, icmp + ICMP_CHECKSUM, checksumUpdate(u16(frame, icmp + ICMP_CHECKSUM), before, u16(frame, icmp)));
  w.generate(frame, port, GENERATED_ECHO_REPLY);
  return true;
}
