import { type IpLike, ipIsV4, ipOf } from './addr/ip.ts';
import { type MacLike, macOf } from './addr/mac.ts';
import { setU16 } from './bytes.ts';
import { needRange, PacketError } from './errors.ts';
import { ETH_SIZE, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, ethEmit } from './ethernet.ts';
import { ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMP_SIZE, icmpEmit } from './icmp.ts';
import { ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST } from './icmpv6.ts';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP } from './ip-protocol.ts';
import { IPV4_MIN_SIZE, ipv4Emit } from './ipv4.ts';
import { IPV6_SIZE, ipv6Emit } from './ipv6.ts';
import { l4FillChecksum } from './l4.ts';
import { TCP_SYN, tcpEmit, tcpSize } from './tcp.ts';
import { UDP_SIZE, udpEmit } from './udp.ts';

/*
 * Whole frames in new buffers, lengths and checksums right. Addresses may be bytes or text. Frames are not padded to
 * Ethernet's 60 bytes: that is the medium's business (padFrame does it).
 */

const EMPTY = new Uint8Array(0);

/** What is in front of the ethertype. */
export interface EthOptions {
  ethSrc: MacLike;
  ethDst: MacLike;
  /** TCI of one tag (0x8100), or of two, outer first (0x88a8, 0x8100) */
  vlan?: number | readonly [number, number] | undefined;
}

/** Ethernet and IP; the family is that of the addresses. */
export interface IpOptions extends EthOptions {
  src: IpLike;
  dst: IpLike;
  /** TTL or hop limit; default 64 */
  ttl?: number | undefined;
  /** TOS or traffic class; default 0 */
  tos?: number | undefined;
  /** IPv4 identification; default 0 */
  id?: number | undefined;
  /** IPv4; default true: an id of 0 is right for a datagram that is never fragmented (RFC 6864) */
  dontFragment?: boolean | undefined;
  /** IPv4 options; default none */
  ipOptions?: Uint8Array | undefined;
  /** IPv6 flow label; default 0 */
  flowLabel?: number | undefined;
}

/** A frame of any ethertype. @throws PacketError */
export function ethFrame(o: EthOptions & { type: number; payload: Uint8Array }): Uint8Array {
  const head = ethHeaderSize(o);
  const buf = new Uint8Array(head + o.payload.length);
  emitEth(o, o.type, buf);
  buf.set(o.payload, head);
  return buf;
}

/** Bytes of Ethernet header and tags. */
export function ethHeaderSize(o: { vlan?: EthOptions['vlan'] }): number {
  if (o.vlan === undefined) return ETH_SIZE;
  return ETH_SIZE + (typeof o.vlan === 'number' ? 4 : 8);
}

/** Writes Ethernet header and tags at the start of `buf`; returns their size. */
export function emitEth(o: EthOptions, type: number, buf: Uint8Array): number {
  const dst = macOf(o.ethDst);
  const src = macOf(o.ethSrc);
  if (o.vlan === undefined) return ethEmit({ dst, src, type }, buf);
  const tcis = typeof o.vlan === 'number' ? [o.vlan] : o.vlan;
  let at = ethEmit({ dst, src, type: tcis.length === 2 ? ETHERTYPE_QINQ : ETHERTYPE_VLAN }, buf);
  for (let i = 0; i < tcis.length; i++) {
    needRange(tcis[i], 0xffff, 'vlan', 'tci', at);
    setU16(buf, at, tcis[i]);
    setU16(buf, at + 2, i === tcis.length - 1 ? type : ETHERTYPE_VLAN);
    at += 4;
  }
  return at;
}

/**
 * A frame with an IP packet: `fill` writes the L4 packet of `size` bytes, then its checksum is computed.
 * @throws PacketError also when the two addresses are not of one family
 */
export function ipFrame(
  o: IpOptions,
  protocol: number,
  size: number,
  fill: (buf: Uint8Array, l4: number) => void,
): Uint8Array {
  const src = ipOf(o.src);
  const dst = ipOf(o.dst);
  const v4 = ipIsV4(src);
  if (v4 !== ipIsV4(dst)) {
    throw new PacketError('WEFT_PACKET_FIELD', 'ip', 0, 'Source and destination are of different address families.');
  }
  const options = (v4 && o.ipOptions) || EMPTY;
  const ip = ethHeaderSize(o);
  const ipSize = v4 ? IPV4_MIN_SIZE + ((options.length + 3) & ~3) : IPV6_SIZE;
  const buf = new Uint8Array(ip + ipSize + size);
  emitEth(o, v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6, buf);
  const ttl = o.ttl ?? 64;
  const tos = o.tos ?? 0;
  if (v4) {
    const dontFragment = o.dontFragment ?? true;
    const fixed = { moreFragments: false, fragmentOffset: 0, options, payloadLength: size };
    ipv4Emit({ src, dst, protocol, ttl, tos, id: o.id ?? 0, dontFragment, ...fixed }, buf, ip);
  } else {
    const rest = { trafficClass: tos, flowLabel: o.flowLabel ?? 0, payloadLength: size };
    ipv6Emit({ src, dst, nextHeader: protocol, hopLimit: ttl, ...rest }, buf, ip);
  }
  fill(buf, ip + ipSize);
  l4FillChecksum(buf, ip, ip + ipSize, buf.length, protocol);
  return buf;
}

/** A UDP datagram. @throws PacketError */
export function udpFrame(o: IpOptions & { srcPort: number; dstPort: number; payload?: Uint8Array }): Uint8Array {
  const payload = o.payload ?? EMPTY;
  return ipFrame(o, IPPROTO_UDP, UDP_SIZE + payload.length, (buf, l4) => {
    udpEmit({ srcPort: o.srcPort, dstPort: o.dstPort, payloadLength: payload.length }, buf, l4);
    buf.set(payload, l4 + UDP_SIZE);
  });
}

/** What {@link tcpFrame} takes. */
export interface TcpOptions extends IpOptions {
  srcPort: number;
  dstPort: number;
  /** default 0 */
  seq?: number | undefined;
  /** default 0 */
  ack?: number | undefined;
  /** default TCP_SYN */
  flags?: number | undefined;
  /** default 65535 */
  window?: number | undefined;
  /** TCP options; default none */
  options?: Uint8Array | undefined;
  payload?: Uint8Array | undefined;
}

/** A TCP segment. @throws PacketError */
export function tcpFrame(o: TcpOptions): Uint8Array {
  const payload = o.payload ?? EMPTY;
  const repr = {
    srcPort: o.srcPort,
    dstPort: o.dstPort,
    seq: o.seq ?? 0,
    ack: o.ack ?? 0,
    flags: o.flags ?? TCP_SYN,
    window: o.window ?? 65_535,
    urgent: 0,
    options: o.options ?? EMPTY,
  };
  const head = tcpSize(repr);
  return ipFrame(o, IPPROTO_TCP, head + payload.length, (buf, l4) => {
    tcpEmit(repr, buf, l4);
    buf.set(payload, l4 + head);
  });
}

/** What {@link icmpEcho} takes. */
export interface EchoOptions extends IpOptions {
  /** default false: a request */
  reply?: boolean | undefined;
  id?: number | undefined;
  seq?: number | undefined;
  payload?: Uint8Array | undefined;
}

/** An echo request or reply, ICMP or ICMPv6 by the addresses. (IPv4's `id` is the echo's here; the IP id stays 0.) @throws PacketError */
export function icmpEcho(o: EchoOptions): Uint8Array {
  const v4 = ipIsV4(ipOf(o.src));
  const payload = o.payload ?? EMPTY;
  const request = v4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST;
  const reply = v4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
  const rest = (o.id ?? 0) * 0x1_0000 + (o.seq ?? 0);
  return ipFrame({ ...o, id: 0 }, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, ICMP_SIZE + payload.length, (buf, l4) => {
    icmpEmit({ type: o.reply ? reply : request, code: 0, rest }, buf, l4);
    buf.set(payload, l4 + ICMP_SIZE);
  });
}

/** The frame padded with zeros to Ethernet's minimum of 60 bytes (without FCS). */
export function padFrame(frame: Uint8Array, size = 60): Uint8Array {
  if (frame.length >= size) return frame;
  const out = new Uint8Array(size);
  out.set(frame);
  return out;
}
