import { ip6SolicitedNode, multicastMac } from './addr/derived.ts';
import { type IpLike, ipOf } from './addr/ip.ts';
import { MAC_BROADCAST, MAC_ZERO, type MacLike, macOf } from './addr/mac.ts';
import { ARP_REPLY, ARP_REQUEST, ARP_SIZE, arpEmit } from './arp.ts';
import { type EthOptions, emitEth, ethHeaderSize, ipFrame } from './build.ts';
import { ETHERTYPE_ARP } from './ethernet.ts';
import { ICMPV6_NEIGHBOR_ADVERT, ICMPV6_NEIGHBOR_SOLICIT } from './icmpv6.ts';
import { IPPROTO_ICMPV6 } from './ip-protocol.ts';
import { ND_HOP_LIMIT, ND_OVERRIDE, ND_SOLICITED, type NdRepr, ndEmit, ndSize } from './nd.ts';

/* Frames that resolve addresses: ARP and neighbour discovery. */

type Vlan = { vlan?: EthOptions['vlan'] };

/** What {@link arpRequest} takes. */
export interface ArpRequestOptions extends Vlan {
  senderMac: MacLike;
  senderIp: IpLike;
  targetIp: IpLike;
  /** default broadcast; unicast to refresh a neighbour */
  ethDst?: MacLike | undefined;
}

/** ARP: who has targetIp? @throws PacketError */
export function arpRequest(o: ArpRequestOptions): Uint8Array {
  const senderMac = macOf(o.senderMac);
  const repr = {
    op: ARP_REQUEST,
    senderMac,
    senderIp: ipOf(o.senderIp),
    targetMac: MAC_ZERO,
    targetIp: ipOf(o.targetIp),
  };
  const eth = { ethSrc: senderMac, ethDst: o.ethDst ?? MAC_BROADCAST, vlan: o.vlan };
  const buf = new Uint8Array(ethHeaderSize(eth) + ARP_SIZE);
  arpEmit(repr, buf, emitEth(eth, ETHERTYPE_ARP, buf));
  return buf;
}

/** What {@link arpReply} takes. */
export interface ArpReplyOptions extends Vlan {
  /** who answers: the MAC that was asked for */
  senderMac: MacLike;
  /** the address that was asked for */
  senderIp: IpLike;
  /** who asked */
  targetMac: MacLike;
  targetIp: IpLike;
  /** default targetMac */
  ethDst?: MacLike | undefined;
}

/** ARP: senderIp is at senderMac. @throws PacketError */
export function arpReply(o: ArpReplyOptions): Uint8Array {
  const senderMac = macOf(o.senderMac);
  const targetMac = macOf(o.targetMac);
  const repr = { op: ARP_REPLY, senderMac, senderIp: ipOf(o.senderIp), targetMac, targetIp: ipOf(o.targetIp) };
  const eth = { ethSrc: senderMac, ethDst: o.ethDst ?? targetMac, vlan: o.vlan };
  const buf = new Uint8Array(ethHeaderSize(eth) + ARP_SIZE);
  arpEmit(repr, buf, emitEth(eth, ETHERTYPE_ARP, buf));
  return buf;
}

/** A frame with any message of neighbour discovery (hop limit 255). @throws PacketError */
export function ndFrame(o: EthOptions & { src: IpLike; dst: IpLike }, message: NdRepr): Uint8Array {
  return ipFrame({ ...o, ttl: ND_HOP_LIMIT }, IPPROTO_ICMPV6, ndSize(message), (buf, l4) => {
    ndEmit(message, buf, l4);
  });
}

/** What {@link ndNeighborSolicit} takes. */
export interface NeighborSolicitOptions extends Vlan {
  /** sender, also in the source link-layer address option */
  mac: MacLike;
  /** sender; '::' for duplicate address detection: then no option is sent */
  src: IpLike;
  target: IpLike;
  /** default the target's solicited-node address; unicast to probe a known neighbour */
  dst?: IpLike | undefined;
  /** default the multicast MAC of `dst` */
  ethDst?: MacLike | undefined;
}

/** ICMPv6: who has target? @throws PacketError */
export function ndNeighborSolicit(o: NeighborSolicitOptions): Uint8Array {
  const mac = macOf(o.mac);
  const src = ipOf(o.src);
  const target = ipOf(o.target);
  const dst = o.dst === undefined ? ip6SolicitedNode(target) : ipOf(o.dst);
  const ethDst = o.ethDst ?? multicastMac(dst);
  const sourceMac = src.every((byte) => byte === 0) ? null : mac;
  return ndFrame({ ethSrc: mac, ethDst, src, dst, vlan: o.vlan }, { type: ICMPV6_NEIGHBOR_SOLICIT, target, sourceMac });
}

/** What {@link ndNeighborAdvert} takes. */
export interface NeighborAdvertOptions extends Vlan {
  /** sender, also in the target link-layer address option */
  mac: MacLike;
  target: IpLike;
  dst: IpLike;
  ethDst: MacLike;
  /** default `target` */
  src?: IpLike | undefined;
  /** default ND_SOLICITED | ND_OVERRIDE; add ND_ROUTER for a router, leave out ND_SOLICITED when nobody asked */
  flags?: number | undefined;
}

/** ICMPv6: target is at mac. @throws PacketError */
export function ndNeighborAdvert(o: NeighborAdvertOptions): Uint8Array {
  const mac = macOf(o.mac);
  const target = ipOf(o.target);
  const flags = o.flags ?? ND_SOLICITED | ND_OVERRIDE;
  const eth = { ethSrc: mac, ethDst: o.ethDst, vlan: o.vlan, src: o.src ?? target, dst: o.dst };
  return ndFrame(eth, { type: ICMPV6_NEIGHBOR_ADVERT, flags, target, targetMac: mac });
}
