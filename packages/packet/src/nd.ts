import { ipCopy, ipIsMulticast, ipIsUnspecified } from './addr/ip.ts';
import { ip6Format } from './addr/ip6-text.ts';
import { macCopy, macFormat } from './addr/mac.ts';
import { setU16, setU32, u16, u32 } from './bytes.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED, needRange, needSpace, orThrow, PacketError } from './errors.ts';
import {
  ICMPV6_NEIGHBOR_ADVERT,
  ICMPV6_NEIGHBOR_SOLICIT,
  ICMPV6_ROUTER_ADVERT,
  ICMPV6_ROUTER_SOLICIT,
} from './icmpv6.ts';

/* IPv6 neighbour discovery (RFC 4861 §4). Offsets are from the ICMPv6 type byte. */

/** Hop limit of every message: one that crossed a router is not to be believed (§7.1). */
export const ND_HOP_LIMIT = 255;

/** Neighbour solicitation and advertisement: target address. */
export const ND_TARGET = 8;
/** Bytes of a neighbour message without options. */
export const ND_NEIGHBOR_SIZE = 24;
/** Neighbour advertisement: flags. */
export const ND_FLAGS = 4;
export const ND_ROUTER = 0x80;
export const ND_SOLICITED = 0x40;
export const ND_OVERRIDE = 0x20;
/** Bytes of a router solicitation without options. */
export const ND_ROUTER_SOLICIT_SIZE = 8;
/** Bytes of a router advertisement without options. */
export const ND_ROUTER_ADVERT_SIZE = 16;
export const ND_RA_HOP_LIMIT = 4;
export const ND_RA_FLAGS = 5;
export const ND_RA_LIFETIME = 6;
export const ND_RA_REACHABLE = 8;
export const ND_RA_RETRANS = 12;
export const ND_RA_MANAGED = 0x80;
export const ND_RA_OTHER = 0x40;

export const ND_OPTION_SOURCE_LLA = 1;
export const ND_OPTION_TARGET_LLA = 2;
export const ND_OPTION_PREFIX = 3;
export const ND_OPTION_MTU = 5;
export const ND_PREFIX_ON_LINK = 0x80;
export const ND_PREFIX_AUTONOMOUS = 0x40;
/** Options that are walked in one message. */
export const ND_MAX_OPTIONS = 32;

/** Bytes before the options of a message type, or 0 when it is not one of the four. */
export function ndFixedSize(type: number): number {
  if (type === ICMPV6_NEIGHBOR_SOLICIT || type === ICMPV6_NEIGHBOR_ADVERT) return ND_NEIGHBOR_SIZE;
  if (type === ICMPV6_ROUTER_SOLICIT) return ND_ROUTER_SOLICIT_SIZE;
  return type === ICMPV6_ROUTER_ADVERT ? ND_ROUTER_ADVERT_SIZE : 0;
}

/**
 * Bytes before the options of the message at `off`, or a FAULT. Checks what the message itself can show of
 * RFC 4861 §6.1 and §7.1: code 0, size, options of non-zero length that fit, target not multicast. The hop limit, the
 * checksum and the rules about the IP source are {@link ndTrusted} and verifyChecksums.
 */
export function ndCheck(buf: Uint8Array, off: number, end: number): number {
  if (end - off < ND_ROUTER_SOLICIT_SIZE) return FAULT_TRUNCATED;
  const size = ndFixedSize(buf[off]);
  if (size === 0 || buf[off + 1] !== 0) return FAULT_MALFORMED;
  if (end - off < size) return FAULT_TRUNCATED;
  if (size === ND_NEIGHBOR_SIZE && ipIsMulticast(buf, off + ND_TARGET)) return FAULT_MALFORMED;
  let at = off + size;
  for (let i = 0; at < end; i++) {
    if (end - at < 8) return FAULT_TRUNCATED;
    const length = buf[at + 1] << 3;
    if (length === 0 || i === ND_MAX_OPTIONS) return FAULT_MALFORMED;
    if (end - at < length) return FAULT_TRUNCATED;
    at += length;
  }
  return size;
}

/**
 * Whether the IP header around a checked message obeys RFC 4861 §6.1 and §7.1: hop limit 255; from the unspecified
 * address only solicitations without a source link-layer address, neighbour ones to a solicited-node address; an
 * advertisement to a multicast address is not "solicited"; router advertisements come from a link-local address.
 * @param ip offset of the IPv6 header
 */
export function ndTrusted(buf: Uint8Array, ip: number, off: number, end: number): boolean {
  if (buf[ip + 7] !== ND_HOP_LIMIT) return false;
  const type = buf[off];
  const src = ip + 8;
  const dst = ip + 24;
  if (type === ICMPV6_NEIGHBOR_ADVERT) return !(ipIsMulticast(buf, dst) && (buf[off + ND_FLAGS] & ND_SOLICITED) !== 0);
  if (type === ICMPV6_ROUTER_ADVERT) return (u16(buf, src) & 0xffc0) === 0xfe80;
  if (!ipIsUnspecified(buf, src)) return true;
  if (ndOption(buf, off, end, ND_OPTION_SOURCE_LLA) >= 0) return false;
  return type !== ICMPV6_NEIGHBOR_SOLICIT || (buf[dst] === 0xff && buf[dst + 1] === 2 && u16(buf, dst + 11) === 0x01ff);
}

/** Offset of the first option of a type in a checked message, or -1. */
export function ndOption(buf: Uint8Array, off: number, end: number, option: number): number {
  let at = off + ndFixedSize(buf[off]);
  for (let i = 0; i < ND_MAX_OPTIONS && end - at >= 8; i++) {
    const length = buf[at + 1] << 3;
    if (length === 0 || end - at < length) return -1;
    if (buf[at] === option) return at;
    at += length;
  }
  return -1;
}

/** Offset of the MAC in the source (ND_OPTION_SOURCE_LLA) or target (ND_OPTION_TARGET_LLA) option, or -1. */
export function ndLinkAddress(buf: Uint8Array, off: number, end: number, option: number): number {
  const at = ndOption(buf, off, end, option);
  return at >= 0 && buf[at + 1] === 1 ? at + 2 : -1;
}

/** Neighbour solicitation: who has `target`? */
export interface NeighborSolicitRepr {
  type: typeof ICMPV6_NEIGHBOR_SOLICIT;
  /** 16 bytes */
  target: Uint8Array;
  /** 6 bytes; null in duplicate address detection */
  sourceMac: Uint8Array | null;
}

/** Neighbour advertisement: `target` is at `targetMac`. */
export interface NeighborAdvertRepr {
  type: typeof ICMPV6_NEIGHBOR_ADVERT;
  /** ND_ROUTER | ND_SOLICITED | ND_OVERRIDE */
  flags: number;
  /** 16 bytes */
  target: Uint8Array;
  /** 6 bytes */
  targetMac: Uint8Array | null;
}

/** Router solicitation. */
export interface RouterSolicitRepr {
  type: typeof ICMPV6_ROUTER_SOLICIT;
  sourceMac: Uint8Array | null;
}

/** A prefix in a router advertisement (RFC 4861 §4.6.2). */
export interface PrefixInfo {
  /** 16 bytes */
  prefix: Uint8Array;
  /** 0–128 */
  length: number;
  /** ND_PREFIX_ON_LINK | ND_PREFIX_AUTONOMOUS */
  flags: number;
  /** seconds; 0xffffffff is for ever */
  validLifetime: number;
  preferredLifetime: number;
}

/** Router advertisement. */
export interface RouterAdvertRepr {
  type: typeof ICMPV6_ROUTER_ADVERT;
  /** 0: unspecified */
  hopLimit: number;
  /** ND_RA_MANAGED | ND_RA_OTHER */
  flags: number;
  /** seconds; 0: not a default router */
  lifetime: number;
  /** ms; 0: unspecified */
  reachable: number;
  /** ms; 0: unspecified */
  retrans: number;
  sourceMac: Uint8Array | null;
  /** bytes, or null without the option */
  mtu: number | null;
  prefixes: readonly PrefixInfo[];
}

/** A message of neighbour discovery, taken apart. */
export type NdRepr = NeighborSolicitRepr | NeighborAdvertRepr | RouterSolicitRepr | RouterAdvertRepr;

function macAt(buf: Uint8Array, off: number, end: number, option: number): Uint8Array | null {
  const at = ndLinkAddress(buf, off, end, option);
  return at < 0 ? null : buf.slice(at, at + 6);
}

/** @throws PacketError */
export function ndParse(buf: Uint8Array, off: number, end = buf.length): NdRepr {
  const fixed = orThrow(ndCheck(buf, off, end), 'nd', off);
  const type = buf[off];
  if (type === ICMPV6_NEIGHBOR_SOLICIT) {
    const target = buf.slice(off + ND_TARGET, off + ND_TARGET + 16);
    return { type, target, sourceMac: macAt(buf, off, end, ND_OPTION_SOURCE_LLA) };
  }
  if (type === ICMPV6_NEIGHBOR_ADVERT) {
    const target = buf.slice(off + ND_TARGET, off + ND_TARGET + 16);
    return { type, flags: buf[off + ND_FLAGS], target, targetMac: macAt(buf, off, end, ND_OPTION_TARGET_LLA) };
  }
  if (type === ICMPV6_ROUTER_SOLICIT) return { type, sourceMac: macAt(buf, off, end, ND_OPTION_SOURCE_LLA) };
  const prefixes: PrefixInfo[] = [];
  for (let at = off + fixed; at < end; at += buf[at + 1] << 3) {
    if (buf[at] !== ND_OPTION_PREFIX || buf[at + 1] !== 4) continue;
    prefixes.push({
      length: buf[at + 2],
      flags: buf[at + 3],
      validLifetime: u32(buf, at + 4),
      preferredLifetime: u32(buf, at + 8),
      prefix: buf.slice(at + 16, at + 32),
    });
  }
  const mtu = ndOption(buf, off, end, ND_OPTION_MTU);
  return {
    type: ICMPV6_ROUTER_ADVERT,
    hopLimit: buf[off + ND_RA_HOP_LIMIT],
    flags: buf[off + ND_RA_FLAGS],
    lifetime: u16(buf, off + ND_RA_LIFETIME),
    reachable: u32(buf, off + ND_RA_REACHABLE),
    retrans: u32(buf, off + ND_RA_RETRANS),
    sourceMac: macAt(buf, off, end, ND_OPTION_SOURCE_LLA),
    mtu: mtu >= 0 && buf[mtu + 1] === 1 ? u32(buf, mtu + 4) : null,
    prefixes,
  };
}

/** Bytes that {@link ndEmit} writes. */
export function ndSize(repr: NdRepr): number {
  const mac = repr.type === ICMPV6_NEIGHBOR_ADVERT ? repr.targetMac : repr.sourceMac;
  let size = ndFixedSize(repr.type) + (mac ? 8 : 0);
  if (repr.type === ICMPV6_ROUTER_ADVERT) size += (repr.mtu === null ? 0 : 8) + 32 * repr.prefixes.length;
  return size;
}

function emitMac(mac: Uint8Array | null, option: number, buf: Uint8Array, at: number): number {
  if (mac === null) return at;
  buf[at] = option;
  buf[at + 1] = 1;
  macCopy(mac, 0, buf, at + 2);
  return at + 8;
}

/** Writes the message at `off` with checksum 0; returns its size. @throws PacketError */
export function ndEmit(repr: NdRepr, buf: Uint8Array, off: number): number {
  const size = ndSize(repr);
  needSpace(buf, off, size, 'nd');
  buf.fill(0, off, off + size);
  buf[off] = repr.type;
  if (repr.type === ICMPV6_NEIGHBOR_SOLICIT) {
    ipCopy(repr.target, 0, buf, off + ND_TARGET);
    emitMac(repr.sourceMac, ND_OPTION_SOURCE_LLA, buf, off + ND_NEIGHBOR_SIZE);
  } else if (repr.type === ICMPV6_NEIGHBOR_ADVERT) {
    needRange(repr.flags, 0xff, 'nd', 'flags', off);
    buf[off + ND_FLAGS] = repr.flags;
    ipCopy(repr.target, 0, buf, off + ND_TARGET);
    emitMac(repr.targetMac, ND_OPTION_TARGET_LLA, buf, off + ND_NEIGHBOR_SIZE);
  } else if (repr.type === ICMPV6_ROUTER_SOLICIT) {
    emitMac(repr.sourceMac, ND_OPTION_SOURCE_LLA, buf, off + ND_ROUTER_SOLICIT_SIZE);
  } else {
    emitRouterAdvert(repr, buf, off);
  }
  return size;
}

function emitRouterAdvert(repr: RouterAdvertRepr, buf: Uint8Array, off: number): void {
  needRange(repr.hopLimit, 255, 'nd', 'hop limit', off);
  needRange(repr.flags, 0xff, 'nd', 'flags', off);
  needRange(repr.lifetime, 0xffff, 'nd', 'router lifetime', off);
  if (repr.prefixes.length + 2 > ND_MAX_OPTIONS) {
    throw new PacketError('WEFT_PACKET_FIELD', 'nd', off, `nd: more than ${ND_MAX_OPTIONS - 2} prefixes.`);
  }
  buf[off + ND_RA_HOP_LIMIT] = repr.hopLimit;
  buf[off + ND_RA_FLAGS] = repr.flags;
  setU16(buf, off + ND_RA_LIFETIME, repr.lifetime);
  setU32(buf, off + ND_RA_REACHABLE, repr.reachable);
  setU32(buf, off + ND_RA_RETRANS, repr.retrans);
  let at = emitMac(repr.sourceMac, ND_OPTION_SOURCE_LLA, buf, off + ND_ROUTER_ADVERT_SIZE);
  if (repr.mtu !== null) {
    buf[at] = ND_OPTION_MTU;
    buf[at + 1] = 1;
    setU32(buf, at + 4, repr.mtu);
    at += 8;
  }
  for (const p of repr.prefixes) {
    needRange(p.length, 128, 'nd', 'prefix length', at);
    buf[at] = ND_OPTION_PREFIX;
    buf[at + 1] = 4;
    buf[at + 2] = p.length;
    buf[at + 3] = p.flags;
    setU32(buf, at + 4, p.validLifetime);
    setU32(buf, at + 8, p.preferredLifetime);
    ipCopy(p.prefix, 0, buf, at + 16);
    at += 32;
  }
}

/** One line for a checked message. */
export function ndFormat(buf: Uint8Array, off: number, end: number): string {
  const type = buf[off];
  if (type === ICMPV6_NEIGHBOR_SOLICIT) return `ICMP6 who-has ${ip6Format(buf, off + ND_TARGET)}`;
  if (type === ICMPV6_NEIGHBOR_ADVERT) {
    const mac = ndLinkAddress(buf, off, end, ND_OPTION_TARGET_LLA);
    return `ICMP6 ${ip6Format(buf, off + ND_TARGET)} is-at ${mac < 0 ? 'its sender' : macFormat(buf, mac)}`;
  }
  return type === ICMPV6_ROUTER_SOLICIT ? 'ICMP6 router solicitation' : 'ICMP6 router advertisement';
}
