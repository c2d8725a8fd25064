import { type IpLike, ip4FromWire, ipIsMulticast, ipIsUnspecified, ipIsV4 } from './addr/ip.ts';
import { type MacLike, macIsMulticast } from './addr/mac.ts';
import { type EthOptions, ipFrame, tcpFrame } from './build.ts';
import { dissect, Layers } from './dissect.ts';
import { orThrow, PacketError } from './errors.ts';
import { ETH_SRC, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.ts';
import { ICMP_SIZE, icmpEmit, icmpIsError, icmpType } from './icmp.ts';
import {
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_REDIRECT,
  ICMPV6_UNRECOGNIZED_OPTION,
  icmpv6IsError,
} from './icmpv6.ts';
import { FRAGMENT_LATER, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP } from './ip-protocol.ts';
import { IPV4_DST, IPV4_MIN_REASSEMBLY, IPV4_MIN_SIZE, IPV4_SRC, ipv4Check, ipv4TotalLength } from './ipv4.ts';
import { IPV6_DST, IPV6_MIN_MTU, IPV6_SIZE, IPV6_SRC, ipv6Check, ipv6PayloadLength } from './ipv6.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, tcpAck, tcpDstPort, tcpFlags, tcpSeq, tcpSrcPort } from './tcp.ts';

/* Frames that answer a packet which cannot go on: ICMP errors and TCP resets. */

/** What {@link icmpError} takes. */
export interface IcmpErrorOptions extends EthOptions {
  /** source of the error: an address of the router, of the packet's family */
  src: IpLike;
  type: number;
  code: number;
  /** MTU (fragmentation needed, packet too big) or pointer, as the header's last four bytes; default 0 */
  rest?: number | undefined;
  /** buffer with the packet that the error is about … */
  packet: Uint8Array;
  /** … whose IP header is here */
  ip: number;
  /** offset behind the buffer's valid bytes; default its length */
  end?: number | undefined;
  /** TTL or hop limit; default 64 */
  ttl?: number | undefined;
  /** default 0xc0 (internetwork control, RFC 1812 §4.3.2.5) for IPv4, 0 for IPv6 */
  tos?: number | undefined;
}

/** The 16-byte form of the source of the IP packet at `ip`. */
export function ipPacketSrc(buf: Uint8Array, ip: number): Uint8Array {
  return buf[ip] >>> 4 === 4 ? ip4FromWire(buf, ip + IPV4_SRC) : buf.slice(ip + IPV6_SRC, ip + IPV6_SRC + 16);
}

/** The 16-byte form of the destination of the IP packet at `ip`. */
export function ipPacketDst(buf: Uint8Array, ip: number): Uint8Array {
  return buf[ip] >>> 4 === 4 ? ip4FromWire(buf, ip + IPV4_DST) : buf.slice(ip + IPV6_DST, ip + IPV6_DST + 16);
}

/**
 * An ICMP or ICMPv6 error to the source of a packet, quoting as much of it as the standards allow: the error has at
 * most 576 bytes for IPv4 (RFC 1812 §4.3.2.3) and 1280 for IPv6 (RFC 4443 §2.4 c).
 * Whether one may be sent at all says {@link icmpErrorAllowed}.
 * @throws PacketError
 */
export function icmpError(o: IcmpErrorOptions): Uint8Array {
  const { packet, ip } = o;
  const end = o.end ?? packet.length;
  // Only the IP header is looked at: a fault above it is no obstacle to quoting.
  const v4 = end > ip && packet[ip] >>> 4 === 4;
  if (v4) orThrow(ipv4Check(packet, ip, end, true), 'ipv4', ip);
  else orThrow(ipv6Check(packet, ip, end, true), 'ipv6', ip);
  const size = v4 ? ipv4TotalLength(packet, ip) : IPV6_SIZE + ipv6PayloadLength(packet, ip);
  const room = v4 ? IPV4_MIN_REASSEMBLY - IPV4_MIN_SIZE - ICMP_SIZE : IPV6_MIN_MTU - IPV6_SIZE - ICMP_SIZE;
  const quote = packet.subarray(ip, Math.min(end, ip + size, ip + room));
  const head = { ethSrc: o.ethSrc, ethDst: o.ethDst, vlan: o.vlan, src: o.src, dst: ipPacketSrc(packet, ip) };
  const tos = o.tos ?? (v4 ? 0xc0 : 0);
  return ipFrame(
    { ...head, ttl: o.ttl, tos },
    v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
    ICMP_SIZE + quote.length,
    (buf, l4) => {
      icmpEmit({ type: o.type, code: o.code, rest: o.rest ?? 0 }, buf, l4);
      buf.set(quote, l4 + ICMP_SIZE);
    },
  );
}

/**
 * Whether a router may send an error about a dissected frame (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7, RFC 4443 §2.4 e):
 * never about an ICMP error, a later fragment, a link-layer or IP group destination, or a source that is not one host.
 * The broadcast addresses of subnets are the caller's to know.
 * @param type type and code of the error: "packet too big" and "unrecognized option" may be about IPv6 multicast
 */
export function icmpErrorAllowed(frame: Uint8Array, layers: Layers, type: number, code = 0): boolean {
  const ip = layers.l3;
  const v4 = layers.ethertype === ETHERTYPE_IPV4;
  if (!v4 && layers.ethertype !== ETHERTYPE_IPV6) return false;
  if (layers.fault !== 0 && (layers.layer === 'ipv4' || layers.layer === 'ipv6')) return false;
  if (layers.fragment === FRAGMENT_LATER) return false;
  const groupOk =
    !v4 &&
    (type === ICMPV6_PACKET_TOO_BIG || (type === ICMPV6_PARAMETER_PROBLEM && code === ICMPV6_UNRECOGNIZED_OPTION));
  if (v4) {
    const src = frame[ip + IPV4_SRC];
    const dst = frame[ip + IPV4_DST];
    // 0/8, 127/8, 224/4, 240/4 and broadcast name no single host.
    if (src === 0 || src === 127 || src >= 224 || dst >= 224) return false;
  } else {
    // An IPv4-mapped source is no host of this network, and would be answered over IPv4.
    if (ipIsMulticast(frame, ip + IPV6_SRC) || ipIsUnspecified(frame, ip + IPV6_SRC)) return false;
    if (ipIsV4(frame, ip + IPV6_SRC)) return false;
    if (ipIsMulticast(frame, ip + IPV6_DST) && !groupOk) return false;
  }
  if (layers.l2 >= 0 && macIsMulticast(frame, layers.l2) && !groupOk) return false;
  if (layers.l4 < 0) return layers.fault === 0 || layers.layer !== 'icmp';
  if (v4 && layers.protocol === IPPROTO_ICMP) return !icmpIsError(icmpType(frame, layers.l4));
  if (!v4 && layers.protocol === IPPROTO_ICMPV6) {
    const quoted = icmpType(frame, layers.l4);
    return !icmpv6IsError(quoted) && quoted !== ICMPV6_REDIRECT;
  }
  return true;
}

/** What {@link tcpRst} takes beside the segment; by default the frame goes back where it came from. */
export interface TcpRstOptions {
  ethSrc?: MacLike | undefined;
  ethDst?: MacLike | undefined;
  vlan?: EthOptions['vlan'];
  ttl?: number | undefined;
}

/**
 * The reset that a closed port sends in answer to a segment (RFC 9293 §3.10.7.1), or null when the segment is itself a
 * reset, a fragment without its header, or not TCP.
 * @param frame the segment's whole frame
 * @throws PacketError when its headers are faulty
 */
export function tcpRst(frame: Uint8Array, o: TcpRstOptions = {}): Uint8Array | null {
  const layers = new Layers();
  if (dissect(frame, 0, frame.length, layers) < 0) {
    throw new PacketError('WEFT_PACKET_MALFORMED', layers.layer, layers.l3, 'A faulty segment cannot be reset.');
  }
  const { l3, l4 } = layers;
  if (layers.protocol !== IPPROTO_TCP || l4 < 0) return null;
  const flags = tcpFlags(frame, l4);
  if (flags & TCP_RST) return null;
  const length = layers.l3End - layers.payload + (flags & TCP_SYN ? 1 : 0) + (flags & TCP_FIN ? 1 : 0);
  const acked = (flags & TCP_ACK) !== 0;
  const vlans = [undefined, layers.outerTci, [layers.outerTci, layers.innerTci] as const];
  return tcpFrame({
    ethSrc: o.ethSrc ?? frame.slice(0, 6),
    ethDst: o.ethDst ?? frame.slice(ETH_SRC, ETH_SRC + 6),
    vlan: 'vlan' in o ? o.vlan : vlans[layers.vlans],
    src: ipPacketDst(frame, l3),
    dst: ipPacketSrc(frame, l3),
    ttl: o.ttl,
    srcPort: tcpDstPort(frame, l4),
    dstPort: tcpSrcPort(frame, l4),
    seq: acked ? tcpAck(frame, l4) : 0,
    ack: acked ? 0 : (tcpSeq(frame, l4) + length) >>> 0,
    flags: acked ? TCP_RST : TCP_RST | TCP_ACK,
    window: 0,
  });
}
