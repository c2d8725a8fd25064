/** What a guest might send in somebody else's name, and what is its own to send: frames that a secured port passes, or does not. */
import { randomBytes } from 'node:crypto';
import { formatIp, linkLocalOf, parseIp } from '@weft/topology';
import { ethernetFrame } from '../frames.ts';
import { arpReply, icmpv6Packet, ipPacket, neighbourSolicitation, udpDatagram } from '../packets.ts';

/** One end of the frames. */
export interface End {
  readonly mac: string;
  readonly address4: string;
  readonly address6: string;
}

export interface Attempt {
  readonly what: string;
  readonly frame: Uint8Array;
  /** A secured port lets it pass. */
  readonly isOwn: boolean;
}

/** Allowed besides the port's own addresses. */
export interface Pairs {
  readonly prefix: string;
  /** With a MAC address of its own. */
  readonly address6: string;
  readonly mac: string;
}

const [IPV4, ARP, IPV6] = [0x0800, 0x0806, 0x86dd];
/** For local experiments (IEEE 802): no IP. */
const OTHER = 0x88b5;
const UDP = 17;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const ROUTER_ADVERTISEMENT = 134;

/** Same network, another host: an address that nobody there has. */
function other(address: string, host: number): string {
  const bytes = Uint8Array.from(parseIp(address)!);
  bytes[bytes.length - 1] = host;
  return formatIp(bytes);
}

export function pairsOf(own: End): Pairs {
  return { prefix: `${other(own.address4, 224)}/30`, address6: other(own.address6, 224), mac: '02:00:5e:00:01:01' };
}

/** @param port UDP port of datagrams that are no DHCP */
export function attempts(own: End, to: End, port: number): Attempt[] {
  const pairs = pairsOf(own);
  const strange = { mac: '02:00:5e:00:01:02', address4: other(own.address4, 240), address6: other(own.address6, 240) };
  const linkLocal = formatIp(linkLocalOf(own.mac));
  const allowed4 = other(own.address4, 226);
  // Each differs from all others, those of earlier runs included.
  const udp = (source: string, target: string, ports: readonly [number, number] = [port, port]) =>
    ipPacket({ source, target, protocol: UDP, payload: udpDatagram(...ports, randomBytes(20)) });
  const send = (mac: string, ethertype: number, packet: Uint8Array, targetMac = to.mac) =>
    ethernetFrame(targetMac, mac, undefined, ethertype, packet);
  const in4 = (mac: string, source: string) => send(mac, IPV4, udp(source, to.address4));
  const in6 = (mac: string, source: string) => send(mac, IPV6, udp(source, to.address6));
  const arp = (sender: string) => send(own.mac, ARP, arpReply(own.mac, sender, to.mac, to.address4));
  const solicits = (source: string) => send(own.mac, IPV6, neighbourSolicitation(source, to.address6, own.mac));
  const advertises = Buffer.alloc(16);
  advertises[0] = ROUTER_ADVERTISEMENT;
  const passes = (what: string, frame: Uint8Array): Attempt => ({ what, frame, isOwn: true });
  const spoofs = (what: string, frame: Uint8Array): Attempt => ({ what, frame, isOwn: false });
  return [
    spoofs('another MAC address', in4(strange.mac, own.address4)),
    spoofs('another IPv4 address', in4(own.mac, strange.address4)),
    spoofs('another IPv6 address', in6(own.mac, strange.address6)),
    spoofs('ARP in the name of another address', arp(strange.address4)),
    spoofs('neighbour discovery from another address', solicits(strange.address6)),
    spoofs('an allowed address with another MAC address than its own', in6(own.mac, pairs.address6)),
    spoofs('a MAC address that is allowed for another address', in4(pairs.mac, own.address4)),
    spoofs('a DHCP reply', send(own.mac, IPV4, udp(own.address4, to.address4, [67, 68]))),
    spoofs('a DHCPv6 reply', send(own.mac, IPV6, udp(linkLocal, to.address6, [547, 546]))),
    spoofs('a router advertisement', send(own.mac, IPV6, icmpv6Packet(linkLocal, to.address6, advertises))),
    spoofs('no IP', send(own.mac, OTHER, randomBytes(46))),
    passes('its IPv4 address', in4(own.mac, own.address4)),
    passes('its IPv6 address', in6(own.mac, own.address6)),
    passes('an address of an allowed prefix', in4(own.mac, allowed4)),
    passes('an allowed address with its MAC address', in6(pairs.mac, pairs.address6)),
    passes('ARP in its own name', arp(own.address4)),
    passes('ARP in the name of an allowed address', arp(allowed4)),
    passes('neighbour discovery from its link-local address', solicits(linkLocal)),
    passes('a DHCP request', send(own.mac, IPV4, udp('0.0.0.0', '255.255.255.255', [68, 67]), BROADCAST)),
  ];
}
