import { ip4Format } from './addr/ip.ts';
import { ip6Format } from './addr/ip6-text.ts';
import { arpFormat } from './arp.ts';
import { toHex } from './bytes.ts';
import { dissect, dissectIp, Layers } from './dissect.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED } from './errors.ts';
import { ETH_SIZE, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ethertype, ethFormat } from './ethernet.ts';
import { greCheck, greFormat } from './gre.ts';
import { ICMP_QUOTE, icmpFormat, icmpIsError, icmpType } from './icmp.ts';
import { icmpv6Format, icmpv6IsError } from './icmpv6.ts';
import {
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  ipProtocolName,
} from './ip-protocol.ts';
import { IPV4_DST, IPV4_SRC, ipv4Id, ipv4Ttl } from './ipv4.ts';
import { IPV6_DST, IPV6_SRC, ipv6HopLimit } from './ipv6.ts';
import { ndCheck, ndFormat } from './nd.ts';
import { tcpDstPort, tcpFormat, tcpSrcPort } from './tcp.ts';
import { tunnelInner } from './tunnel.ts';
import { UDP_SIZE, udpDstPort, udpFormat, udpSrcPort } from './udp.ts';
import { MAX_TUNNEL_DEPTH } from './verify.ts';
import { vlanFormat } from './vlan.ts';
import { vxlanFormat } from './vxlan.ts';

/**
 * One line about a frame, for traces and messages: MACs, tags, addresses with ports, what the L4 header says, length
 * and TTL; what is quoted or tunnelled follows in brackets. Never throws: faults are part of the text.
 */
export function describe(frame: Uint8Array, off = 0, end: number = frame.length): string {
  return describeFrame(frame, off, end, 0);
}

/** One line about a bare IP packet. */
export function describeIp(packet: Uint8Array, off = 0, end: number = packet.length, quoted = false): string {
  const layers = new Layers();
  dissectIp(packet, off, end, layers, quoted);
  return describeLayers(packet, layers, 0);
}

function describeFrame(buf: Uint8Array, off: number, end: number, depth: number): string {
  if (end - off < ETH_SIZE) return `truncated ethernet: ${end > off ? toHex(buf, off, end) : 'no bytes'}`;
  const layers = new Layers();
  dissect(buf, off, end, layers);
  const parts = [ethFormat(buf, off)];
  for (let i = 0; i < layers.vlans; i++) parts.push(vlanFormat(buf, off + ETH_SIZE + 4 * i));
  if (layers.layer === 'vlan') parts.push('truncated vlan');
  else if (layers.ethertype === 0) parts.push(`llc len ${ethertype(buf, layers.l3 - ETH_SIZE)}`);
  else parts.push(describeLayers(buf, layers, depth));
  return parts.join(', ');
}

function faultText(buf: Uint8Array, layers: Layers): string {
  const { fault, layer, payload, l3End } = layers;
  const what = fault === FAULT_TRUNCATED ? 'truncated' : fault === FAULT_MALFORMED ? 'malformed' : 'unsupported';
  return `${what} ${layer} ${toHex(buf, payload, Math.min(payload + 16, l3End))}`.trimEnd();
}

function describeLayers(buf: Uint8Array, layers: Layers, depth: number): string {
  const type = layers.ethertype;
  if (layers.fault !== 0 && (layers.protocol < 0 || layers.layer === 'ipv6')) return faultText(buf, layers);
  if (type === ETHERTYPE_ARP) return arpFormat(buf, layers.l3);
  if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) {
    return `ethertype 0x${type.toString(16).padStart(4, '0')} len ${layers.l3End - layers.l3}`;
  }
  const parts = [endpoints(buf, layers), layers.fault === 0 ? describeL4(buf, layers, depth) : faultText(buf, layers)];
  if (layers.fragment !== FRAGMENT_NONE) parts.push(fragmentText(buf, layers));
  parts.push(type === ETHERTYPE_IPV4 ? `ttl ${ipv4Ttl(buf, layers.l3)}` : `hlim ${ipv6HopLimit(buf, layers.l3)}`);
  const inner = bracketed(buf, layers, depth);
  if (inner !== '') parts.push(inner);
  return parts.join(' ');
}

function endpoints(buf: Uint8Array, layers: Layers): string {
  const { l3, l4, protocol } = layers;
  const v4 = layers.ethertype === ETHERTYPE_IPV4;
  const src = v4 ? ip4Format(buf, l3 + IPV4_SRC) : ip6Format(buf, l3 + IPV6_SRC);
  const dst = v4 ? ip4Format(buf, l3 + IPV4_DST) : ip6Format(buf, l3 + IPV6_DST);
  if (l4 < 0 || (protocol !== IPPROTO_TCP && protocol !== IPPROTO_UDP)) return `${src} > ${dst}`;
  const tcp = protocol === IPPROTO_TCP;
  const from = tcp ? tcpSrcPort(buf, l4) : udpSrcPort(buf, l4);
  const to = tcp ? tcpDstPort(buf, l4) : udpDstPort(buf, l4);
  return v4 ? `${src}:${from} > ${dst}:${to}` : `[${src}]:${from} > [${dst}]:${to}`;
}

function describeL4(buf: Uint8Array, layers: Layers, depth: number): string {
  const { l4, l3End, payload, protocol } = layers;
  if (l4 < 0 || layers.fragment === FRAGMENT_LATER) return `${ipProtocolName(protocol)} len ${l3End - payload}`;
  if (protocol === IPPROTO_TCP) {
    // A quoted segment may end behind its sequence number.
    return l3End - l4 < 20 ? 'TCP' : `${tcpFormat(buf, l4)} len ${l3End - payload}`;
  }
  if (protocol === IPPROTO_UDP) {
    return depth < MAX_TUNNEL_DEPTH && tunnelInner(buf, layers) >= 0
      ? vxlanFormat(buf, l4 + UDP_SIZE)
      : udpFormat(buf, l4);
  }
  if (protocol === IPPROTO_ICMP) return `${icmpFormat(buf, l4)} len ${l3End - payload}`;
  if (protocol === IPPROTO_ICMPV6) {
    const nd = ndCheck(buf, l4, l3End) > 0;
    return nd ? ndFormat(buf, l4, l3End) : `${icmpv6Format(buf, l4)} len ${l3End - payload}`;
  }
  if (protocol === IPPROTO_GRE && greCheck(buf, l4, l3End) > 0) return greFormat(buf, l4);
  return `${ipProtocolName(protocol)} len ${l3End - payload}`;
}

function fragmentText(buf: Uint8Array, layers: Layers): string {
  const id = layers.ethertype === ETHERTYPE_IPV4 ? ipv4Id(buf, layers.l3) : layers.ipv6.fragmentId;
  return `frag id ${id} offset ${layers.fragmentOffset}`;
}

/** The quoted packet of an ICMP error or the frame of a tunnel, in brackets; '' when there is none. */
function bracketed(buf: Uint8Array, layers: Layers, depth: number): string {
  if (depth >= MAX_TUNNEL_DEPTH || layers.fault !== 0 || layers.l4 < 0) return '';
  const inner = tunnelInner(buf, layers);
  if (inner >= 0) return `[${describeFrame(buf, inner, layers.l3End, depth + 1)}]`;
  const { l4, l3End, protocol } = layers;
  const error =
    (protocol === IPPROTO_ICMP && icmpIsError(icmpType(buf, l4))) ||
    (protocol === IPPROTO_ICMPV6 && icmpv6IsError(icmpType(buf, l4)));
  if (!error || l3End - l4 <= ICMP_QUOTE) return '';
  const quoted = new Layers();
  dissectIp(buf, l4 + ICMP_QUOTE, l3End, quoted, true);
  return `[${describeLayers(buf, quoted, depth + 1)}]`;
}
