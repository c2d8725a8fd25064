import { type IpOptions, ipFrame } from './build.ts';
import type { Layers } from './dissect.ts';
import { ETHERTYPE_TEB } from './ethernet.ts';
import { GRE_KEY_PRESENT, greCheck, greEmit, greFlags, greKey, greProtocol, greSize } from './gre.ts';
import { IPPROTO_GRE, IPPROTO_UDP } from './ip-protocol.ts';
import { UDP_SIZE, udpDstPort, udpEmit, udpSetChecksum } from './udp.ts';
import { VXLAN_PORT, VXLAN_SIZE, vxlanCheck, vxlanEmit, vxlanVni } from './vxlan.ts';

/* Ethernet frames inside IP: GRE with a key, and VXLAN. */

/** An Ethernet frame in GRE with a key. The outer addresses may be of either family. @throws PacketError */
export function greFrame(o: IpOptions & { key: number }, inner: Uint8Array): Uint8Array {
  const gre = { protocol: ETHERTYPE_TEB, key: o.key, sequence: null };
  const head = greSize(gre);
  return ipFrame(o, IPPROTO_GRE, head + inner.length, (buf, l4) => {
    greEmit(gre, buf, l4);
    buf.set(inner, l4 + head);
  });
}

/** What {@link vxlanFrame} takes. */
export interface VxlanOptions extends IpOptions {
  vni: number;
  /** outer source port: the entropy of the inner flow */
  srcPort: number;
  /** default 4789 */
  dstPort?: number | undefined;
  /** default false: 0, as RFC 7348 §5 recommends (over IPv6: RFC 6936) */
  checksum?: boolean | undefined;
}

/** An Ethernet frame in VXLAN. @throws PacketError */
export function vxlanFrame(o: VxlanOptions, inner: Uint8Array): Uint8Array {
  const payloadLength = VXLAN_SIZE + inner.length;
  let udp = 0;
  const frame = ipFrame(o, IPPROTO_UDP, UDP_SIZE + payloadLength, (buf, l4) => {
    udp = l4;
    udpEmit({ srcPort: o.srcPort, dstPort: o.dstPort ?? VXLAN_PORT, payloadLength }, buf, l4);
    vxlanEmit({ vni: o.vni }, buf, l4 + UDP_SIZE);
    buf.set(inner, l4 + UDP_SIZE + VXLAN_SIZE);
  });
  if (!o.checksum) udpSetChecksum(frame, udp, 0);
  return frame;
}

/**
 * Offset of the Ethernet frame inside a dissected GRE or VXLAN packet, or -1 when it is no such tunnel, a fragment, or
 * its tunnel header is faulty.
 * @param port UDP port taken for VXLAN
 */
export function tunnelInner(buf: Uint8Array, layers: Layers, port: number = VXLAN_PORT): number {
  const { l4, l3End } = layers;
  if (layers.fault !== 0 || l4 < 0 || layers.fragment !== 0) return -1;
  if (layers.protocol === IPPROTO_GRE) {
    const size = greCheck(buf, l4, l3End);
    return size >= 0 && greProtocol(buf, l4) === ETHERTYPE_TEB ? l4 + size : -1;
  }
  if (layers.protocol !== IPPROTO_UDP || udpDstPort(buf, l4) !== port) return -1;
  return vxlanCheck(buf, l4 + UDP_SIZE, l3End) < 0 ? -1 : l4 + UDP_SIZE + VXLAN_SIZE;
}

/** GRE key or VNI of a packet for which {@link tunnelInner} found a frame; -1 for GRE without a key. */
export function tunnelKey(buf: Uint8Array, layers: Layers): number {
  if (layers.protocol !== IPPROTO_GRE) return vxlanVni(buf, layers.l4 + UDP_SIZE);
  return greFlags(buf, layers.l4) & GRE_KEY_PRESENT ? greKey(buf, layers.l4) : -1;
}
