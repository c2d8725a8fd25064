import { arpCheck } from './arp.ts';
import { FAULT_MALFORMED } from './errors.ts';
import {
  ETH_SIZE,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_MIN,
  ethCheck,
  ethertype,
} from './ethernet.ts';
import { icmpCheck } from './icmp.ts';
import {
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from './ip-protocol.ts';
import { ipv4Check, ipv4FragmentClass, ipv4FragmentOffset, ipv4Protocol, ipv4TotalLength } from './ipv4.ts';
import { IPV6_SIZE, ipv6Check, ipv6PayloadLength } from './ipv6.ts';
import { Ipv6Walk, ipv6Walk } from './ipv6-ext.ts';
import { tcpCheck } from './tcp.ts';
import { udpCheck } from './udp.ts';
import { VLAN_MAX_TAGS, VLAN_SIZE, vlanCheck, vlanIsTpid, vlanTci, vlanType } from './vlan.ts';

/** Where the headers of a frame are. Make one, use it for every packet: {@link dissect} overwrites every field. */
export class Layers {
  /** 0, or the FAULT that ended the walk; what was found before it stays valid. */
  fault = 0;
  /** Layer of the fault: 'ethernet', 'vlan', 'arp', 'ipv4', 'ipv6', 'tcp', 'udp', 'icmp'; '' without one. */
  layer = '';
  /** Offset of the Ethernet header, or -1 in a quoted packet. */
  l2 = 0;
  /** Number of VLAN tags: 0, 1 or 2. */
  vlans = 0;
  /** TCI of the outer tag; 0 without one. */
  outerTci = 0;
  /** TCI of the second tag; 0 without one. */
  innerTci = 0;
  /** Type behind the tags; an LLC length (below ETHERTYPE_MIN) counts as 0. */
  ethertype = 0;
  /** Offset of what follows Ethernet and tags; for IP and ARP their header. */
  l3 = 0;
  /** Offset behind the IP or ARP packet by its own length (Ethernet's padding excluded), else behind the frame. */
  l3End = 0;
  /** Protocol of the L4 header (of the whole packet, for a later fragment); -1 when not IP. */
  protocol = -1;
  /** FRAGMENT_NONE, FRAGMENT_FIRST or FRAGMENT_LATER. */
  fragment = FRAGMENT_NONE;
  /** Bytes before this fragment's data. */
  fragmentOffset = 0;
  /** Offset of the L4 header; -1 when there is none here: not IP, a later fragment, or a fault before it. */
  l4 = -1;
  /** Offset behind the innermost header that was checked (TCP, UDP, ICMP, else IP). */
  payload = 0;
  /** IPv6 only: the addresses of the L4 checksum are not the header's (routing header with segments left). */
  routed = false;
  /** The IPv6 walk, valid when ethertype is IPv6 and the fault is not before it. */
  readonly ipv6 = new Ipv6Walk();
}

function fail(out: Layers, layer: string, fault: number): number {
  out.fault = fault;
  out.layer = layer;
  return fault;
}

function reset(out: Layers, off: number, end: number): void {
  out.fault = 0;
  out.layer = '';
  out.l2 = -1;
  out.vlans = 0;
  out.outerTci = 0;
  out.innerTci = 0;
  out.ethertype = 0;
  out.l3 = off;
  out.l3End = end;
  out.protocol = -1;
  out.fragment = FRAGMENT_NONE;
  out.fragmentOffset = 0;
  out.l4 = -1;
  out.payload = off;
  out.routed = false;
}

function dissectL4(buf: Uint8Array, at: number, quoted: boolean, out: Layers): number {
  out.payload = at;
  if (out.fragment === FRAGMENT_LATER) return 0;
  const end = out.l3End;
  const protocol = out.protocol;
  let size = 0;
  let layer = '';
  if (protocol === IPPROTO_TCP) {
    layer = 'tcp';
    size = tcpCheck(buf, at, end, quoted);
  } else if (protocol === IPPROTO_UDP) {
    layer = 'udp';
    size = udpCheck(buf, at, end, quoted || out.fragment === FRAGMENT_FIRST);
  } else if (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) {
    layer = 'icmp';
    size = icmpCheck(buf, at, end);
  }
  if (size < 0) return fail(out, layer, size);
  out.l4 = at;
  out.payload = Math.min(at + size, end);
  return 0;
}

function dissectL3(buf: Uint8Array, end: number, quoted: boolean, out: Layers): number {
  const at = out.l3;
  if (out.ethertype === ETHERTYPE_IPV4) {
    const size = ipv4Check(buf, at, end, quoted);
    if (size < 0) return fail(out, 'ipv4', size);
    out.l3End = Math.min(end, at + ipv4TotalLength(buf, at));
    out.protocol = ipv4Protocol(buf, at);
    out.fragment = ipv4FragmentClass(buf, at);
    out.fragmentOffset = ipv4FragmentOffset(buf, at);
    return dissectL4(buf, at + size, quoted, out);
  }
  if (out.ethertype === ETHERTYPE_IPV6) {
    const size = ipv6Check(buf, at, end, quoted);
    if (size < 0) return fail(out, 'ipv6', size);
    out.l3End = Math.min(end, at + IPV6_SIZE + ipv6PayloadLength(buf, at));
    const fault = ipv6Walk(buf, at, out.l3End, out.ipv6);
    if (fault < 0) return fail(out, 'ipv6', fault);
    out.protocol = out.ipv6.protocol;
    out.fragment = out.ipv6.fragment;
    out.fragmentOffset = out.ipv6.fragmentOffset;
    out.routed = out.ipv6.routing >= 0;
    return dissectL4(buf, out.ipv6.l4, quoted, out);
  }
  if (out.ethertype === ETHERTYPE_ARP) {
    const size = arpCheck(buf, at, end);
    if (size < 0) return fail(out, 'arp', size);
    out.l3End = at + size;
    out.payload = out.l3End;
  }
  return 0;
}

/**
 * Finds the headers of the Ethernet frame in `buf[off, end)`: the one walk that simulator, drivers and tools share.
 * Allocates nothing and never throws; reads nothing behind `end`. Frames with more than two tags keep the third tag's
 * TPID as their ethertype: they are carried, not looked into.
 * @returns 0, or the FAULT that is also in `out.fault`
 */
export function dissect(buf: Uint8Array, off: number, end: number, out: Layers): number {
  reset(out, off, end);
  out.l2 = off;
  const checked = ethCheck(buf, off, end);
  if (checked < 0) return fail(out, 'ethernet', checked);
  let type = ethertype(buf, off);
  let at = off + ETH_SIZE;
  while (vlanIsTpid(type) && out.vlans < VLAN_MAX_TAGS) {
    const tag = vlanCheck(buf, at, end);
    if (tag < 0) return fail(out, 'vlan', tag);
    if (out.vlans === 0) out.outerTci = vlanTci(buf, at);
    else out.innerTci = vlanTci(buf, at);
    out.vlans++;
    type = vlanType(buf, at);
    at += VLAN_SIZE;
  }
  out.ethertype = type < ETHERTYPE_MIN ? 0 : type;
  out.l3 = at;
  out.payload = at;
  return dissectL3(buf, end, false, out);
}

/**
 * Finds the headers of a bare IP packet at `off`, its version telling the family.
 * @param quoted it stands in an ICMP error and may be cut short: lengths are not held against `end`, and of TCP eight
 * bytes are enough
 * @returns 0, or a FAULT
 */
export function dissectIp(buf: Uint8Array, off: number, end: number, out: Layers, quoted = false): number {
  reset(out, off, end);
  const version = end > off ? buf[off] >>> 4 : 0;
  if (version !== 4 && version !== 6) return fail(out, 'ipv4', FAULT_MALFORMED);
  out.ethertype = version === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
  return dissectL3(buf, end, quoted, out);
}
