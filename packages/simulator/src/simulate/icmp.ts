/** ICMP and ICMPv6 errors of routers: what may be answered, by whom, with what. */
import {
  F_ETH_DST,
  F_ETHER_TYPE,
  F_IP_DST,
  F_IP_FRAG,
  F_IP_PROTO,
  F_IP_SRC,
  F_TP_SRC,
  FRAG_LATER,
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TTL,
  K_TP_SRC,
  readU16,
} from '@weft/flow';
import {
  ICMPV6_REDIRECT,
  icmpError,
  icmpIsError,
  icmpv6IsError,
  ipIsMulticast,
  ipIsUnspecified,
  ipIsV4,
  ipv4SetTtl,
  ipv6SetHopLimit,
  macEquals,
} from '@weft/packet';
import { GENERATED_ICMP_ERROR, type SimPort } from '../contract.ts';
import { isLinkLocal6 } from '../view/neighbours.ts';
import { ownSubnet } from '../view/port.ts';
import { frameAs } from './rewrite-packet.ts';
import type { Walk } from './walk.ts';

/** An error by its numbers in both families: (type << 8) | code. */
export interface ErrorKind {
  readonly v4: number;
  readonly v6: number;
}

export const NET_UNREACHABLE: ErrorKind = { v4: 0x300, v6: 0x100 };
export const HOST_UNREACHABLE: ErrorKind = { v4: 0x301, v6: 0x103 };
export const PORT_UNREACHABLE: ErrorKind = { v4: 0x303, v6: 0x104 };
export const PROHIBITED: ErrorKind = { v4: 0x30d, v6: 0x101 };
export const TIME_EXCEEDED: ErrorKind = { v4: 0xb00, v6: 0x300 };
export const TOO_BIG: ErrorKind = { v4: 0x304, v6: 0x200 };

/** Quoted bytes never exceed IPv6's minimum MTU. */
const MAX_QUOTE = 1280;

/**
 * The last router that the packet came to sends an error about it, back by the port it came by.
 * @param rest last four bytes of the header: the MTU of TOO_BIG
 * @returns false if none may be sent (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7, RFC 4443 §2.4 e) or the router has no address
 */
export function sendError(w: Walk, kind: ErrorKind, rest = 0): boolean {
  const port = w.routerPort;
  if (port === null || !answerableAtRouter(w, port)) return false;
  const key = w.routerKey;
  const v4 = readU16(key, K_ETHER_TYPE) === 0x0800;
  const source = errorSource(port, key, v4);
  if (source < 0 || !w.headers()) return false;
  const numbers = v4 ? kind.v4 : kind.v6;
  const packet = quote(w, key, v4);
  const frame = icmpError({
    ethSrc: port.mac,
    ethDst: key.slice(K_ETH_SRC, K_ETH_SRC + 6),
    src: port.addresses.slice(source * 16, source * 16 + 16),
    type: numbers >> 8,
    code: numbers & 0xff,
    rest,
    packet,
    ip: 0,
  });
  w.generate(frame, port, GENERATED_ICMP_ERROR);
  return true;
}

/** A packet that may be answered with an error (`answerable`) and came to the router's own MAC by this port. */
export function answerableAtRouter(w: Walk, port: SimPort): boolean {
  const key = w.routerKey;
  w.read(F_ETH_DST);
  if (!macEquals(key, K_ETH_DST, port.mac, 0) || !answerable(w, key)) return false;
  if (readU16(key, K_ETHER_TYPE) !== 0x0800) return true;
  const subnet = ownSubnet(port, key, K_IP_DST);
  return subnet < 0 || !isSubnetBroadcast(key, K_IP_DST, port.prefixes[subnet]);
}

/**
 * Whether an error about this packet may be sent to its sender: it is IP, for one host and from one, no later fragment, and
 * no error itself. Broadcasts of subnets are for those to tell who know the subnet.
 */
export function answerable(w: Walk, key: Uint8Array): boolean {
  w.read(F_ETHER_TYPE | F_ETH_DST);
  const type = readU16(key, K_ETHER_TYPE);
  if ((type !== 0x0800 && type !== 0x86dd) || (key[K_ETH_DST] & 1) !== 0) return false;
  const v4 = type === 0x0800;
  w.read(F_IP_SRC | F_IP_DST | F_IP_FRAG | F_IP_PROTO);
  if (key[K_IP_FRAG] === FRAG_LATER) return false;
  if (!(v4 ? hosts4(key) : hosts6(key))) return false;
  if (key[K_IP_PROTO] !== (v4 ? 1 : 58)) return true;
  w.read(F_TP_SRC);
  const icmp = readU16(key, K_TP_SRC);
  return !(v4 ? icmpIsError(icmp) : icmpv6IsError(icmp) || icmp === ICMPV6_REDIRECT);
}

/** Source and destination are single hosts. */
function hosts4(key: Uint8Array): boolean {
  const src = key[K_IP_SRC + 12];
  return src !== 0 && src !== 127 && src < 224 && key[K_IP_DST + 12] < 224;
}

function hosts6(key: Uint8Array): boolean {
  return !ipIsMulticast(key, K_IP_SRC) && !ipIsUnspecified(key, K_IP_SRC) && !ipIsMulticast(key, K_IP_DST);
}

/** All host bits set, or none (the old broadcast), in an IPv4 subnet that has a broadcast address (RFC 3021: not /31). */
export function isSubnetBroadcast(ip: Uint8Array, offset: number, prefix: number): boolean {
  const hostBits = 128 - prefix;
  if (hostBits < 2 || hostBits > 32 || !ipIsV4(ip, offset)) return false;
  const value = ((ip[offset + 12] << 24) | (ip[offset + 13] << 16) | (ip[offset + 14] << 8) | ip[offset + 15]) >>> 0;
  const mask = hostBits === 32 ? 0xffff_ffff : 2 ** hostBits - 1;
  const host = (value & mask) >>> 0;
  return host === 0 || host === mask;
}

/** Index of the address that the port answers from: the one in the sender's subnet, else its first of the family. */
function errorSource(port: SimPort, key: Uint8Array, v4: boolean): number {
  const subnet = ownSubnet(port, key, K_IP_SRC);
  if (subnet >= 0) return subnet;
  let fallback = -1;
  for (let i = 0; i < port.prefixes.length; i++) {
    const family4 = ipIsV4(port.addresses, i * 16);
    if (family4 !== v4) continue;
    if (v4 || !isLinkLocal6(port.addresses, i * 16)) return i;
    fallback = i;
  }
  return fallback;
}

/** The packet's head as it came to where the error is made: `key` says with which addresses, ports and TTL. */
export function quote(w: Walk, key: Uint8Array, v4: boolean): Uint8Array {
  const { l3, l3Length } = w.layout;
  const packet = frameAs(w, key).slice(l3, Math.min(w.have, l3 + l3Length, l3 + MAX_QUOTE));
  if (v4) ipv4SetTtl(packet, 0, key[K_IP_TTL]);
  else ipv6SetHopLimit(packet, 0, key[K_IP_TTL]);
  return packet;
}
