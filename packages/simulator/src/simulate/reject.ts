/**
 * A filter rejects: the packet is dropped and its sender told. TCP is answered with a reset from the address that was called,
 * so that the connection fails at once; everything else with "communication administratively prohibited" (ICMP 3/13,
 * RFC 1812 §5.2.7.1; ICMPv6 1/1, RFC 4443 §3.1). A router says so from its own address, as a host would hear it from any
 * firewall on the way. A bridge has no address: it answers in the name of the destination, address and MAC, as the sender
 * knows nobody else here; and no error of its own could be routed to it.
 *
 * Nothing is said about what must not be answered (see `answerable`), about fragments of TCP, whose segment nobody has seen
 * whole, and about resets.
 */
import { FRAG_NONE, K_ETH_DST, K_ETH_SRC, K_ETHER_TYPE, K_IP_DST, K_IP_FRAG, K_IP_PROTO, readU16 } from '@weft/flow';
import { IPPROTO_TCP, icmpError, tcpRst } from '@weft/packet';
import { GENERATED_ICMP_ERROR, GENERATED_TCP_RESET, type SimPort } from '../contract.ts';
import { answerable, answerableAtRouter, PROHIBITED, quote, sendError } from './icmp.ts';
import { frameAs } from './rewrite-packet.ts';
import type { Walk } from './walk.ts';

/** Answers a rejected packet, if it may be answered. @param routing the filter is a router's, or that of its port */
export function reject(w: Walk, routing: boolean): void {
  if (routing) atRouter(w);
  else atBridge(w);
}

function atRouter(w: Walk): void {
  const port = w.routerPort;
  if (port === null || !answerableAtRouter(w, port)) return;
  const key = w.routerKey;
  if (key[K_IP_PROTO] === IPPROTO_TCP) resetTcp(w, port, port.mac, key, undefined);
  else sendError(w, PROHIBITED);
}

function atBridge(w: Walk): void {
  // What the bridge itself sends is nobody's to be told about.
  const port = w.inPort === 0 ? undefined : w.view.ports[w.inPort];
  // The sender knows nothing of translations by this bridge.
  const key = w.track.keyBefore(w);
  if (port === undefined || !answerable(w, key)) return;
  const vlan = port.vlan !== 0 ? port.vlan : w.untagged() ? undefined : w.vlanId();
  const ethSrc = key.slice(K_ETH_DST, K_ETH_DST + 6);
  if (key[K_IP_PROTO] === IPPROTO_TCP) {
    resetTcp(w, port, ethSrc, key, vlan);
    return;
  }
  if (!w.headers()) return;
  const v4 = readU16(key, K_ETHER_TYPE) === 0x0800;
  const numbers = v4 ? PROHIBITED.v4 : PROHIBITED.v6;
  const frame = icmpError({
    ethSrc,
    ethDst: key.slice(K_ETH_SRC, K_ETH_SRC + 6),
    vlan,
    src: key.slice(K_IP_DST, K_IP_DST + 16),
    type: numbers >> 8,
    code: numbers & 0xff,
    packet: quote(w, key, v4),
    ip: 0,
  });
  w.generate(frame, port, GENERATED_ICMP_ERROR);
}

/** Resets the connection of a segment (RFC 9293 §3.10.7.1), back by the port by which it came. */
export function resetTcp(w: Walk, port: SimPort, ethSrc: Uint8Array, key: Uint8Array, vlan: number | undefined): void {
  if (key[K_IP_FRAG] !== FRAG_NONE || !w.headers() || w.have < w.layout.l3 + w.layout.l3Length) return;
  try {
    const ethDst = key.slice(K_ETH_SRC, K_ETH_SRC + 6);
    const frame = tcpRst(frameAs(w, key).subarray(0, w.have), { ethSrc, ethDst, vlan });
    if (frame !== null) w.generate(frame, port, GENERATED_TCP_RESET);
  } catch {
    // A segment with faulty headers deserves no answer.
  }
}
