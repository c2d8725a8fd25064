/**
 * IP addresses and prefixes as text: parse, canonical form (RFC 5952), containment.
 *
 * This is the control plane's view: strings come from people and go to the store. The data path has its own,
 * allocation-free one in `packet`.
 */
import { isIPv4, isIPv6 } from 'node:net';

export type IpFamily = 4 | 6;

/** A prefix with the address it was written with: `10.0.1.1/24` has address 10.0.1.1 and length 24. */
export interface Cidr {
  readonly family: IpFamily;
  /** 4 or 16 bytes, network order, host bits kept. */
  readonly bytes: Uint8Array;
  readonly length: number;
}

/** Parses an IPv4 (dotted quad) or IPv6 address to 4 or 16 bytes; no zone id, no leading zeros in IPv4. */
export function parseIp(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  // isIPv6 accepts a zone id; an address in the model is never bound to one host's interface.
  if (isIPv6(text) && !text.includes('%')) return parseIpv6(text);
  return undefined;
}

function parseIpv6(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const gap = text.indexOf('::');
  const head = ipv6Groups(gap < 0 ? text : text.slice(0, gap));
  const tail = gap < 0 ? [] : ipv6Groups(text.slice(gap + 2));
  write(bytes, 0, head);
  write(bytes, 16 - 2 * tail.length, tail);
  return bytes;
}

function write(bytes: Uint8Array, offset: number, groups: readonly number[]): void {
  for (const [i, group] of groups.entries()) {
    bytes[offset + 2 * i] = group >> 8;
    bytes[offset + 2 * i + 1] = group & 0xff;
  }
}

function ipv6Groups(text: string): number[] {
  const groups: number[] = [];
  if (text === '') return groups;
  for (const part of text.split(':')) {
    if (part.includes('.')) {
      const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
      groups.push((a << 8) | b, (c << 8) | d);
    } else groups.push(Number.parseInt(part, 16));
  }
  return groups;
}

/** Text of 4 or 16 bytes; IPv6 as in RFC 5952 (lower case, longest run of zero groups as `::`, IPv4-mapped dotted). */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  if (groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff) return `::ffff:${bytes.subarray(12).join('.')}`;
  let start = -1;
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > longest) {
      start = i;
      longest = end - i;
    }
    if (end > i) i = end;
  }
  const hex = groups.map((g) => g.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + longest).join(':')}`;
}

/** Canonical text of an address, or undefined when it is none. */
export function canonicalIp(text: string): string | undefined {
  const bytes = parseIp(text);
  return bytes && formatIp(bytes);
}

/** Parses `address/length`; a bare address is a full-length prefix. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const bytes = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (!bytes) return undefined;
  const bits = bytes.length * 8;
  const suffix = slash < 0 ? String(bits) : text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(suffix) || Number(suffix) > bits) return undefined;
  return { family: bytes.length === 4 ? 4 : 6, bytes, length: Number(suffix) };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr.bytes)}/${cidr.length}`;
}

/** The prefix with its host bits cleared. */
export function networkOf(cidr: Cidr): Cidr {
  const bytes = cidr.bytes.slice();
  for (let i = 0; i < bytes.length; i++) bytes[i]! &= maskByte(cidr.length, i);
  return { family: cidr.family, bytes, length: cidr.length };
}

function maskByte(length: number, index: number): number {
  const bits = Math.min(8, Math.max(0, length - 8 * index));
  return (0xff << (8 - bits)) & 0xff;
}

/** Do two prefixes of the same family share an address? */
export function overlaps(a: Cidr, b: Cidr): boolean {
  if (a.family !== b.family) return false;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < a.bytes.length; i++) {
    if ((a.bytes[i]! ^ b.bytes[i]!) & maskByte(length, i)) return false;
  }
  return true;
}

/** Canonical text of a prefix with host bits cleared (`10.0.0.5/24` → `10.0.0.0/24`), or undefined. */
export function canonicalSubnet(text: string): string | undefined {
  const cidr = parseCidr(text);
  return cidr && formatCidr(networkOf(cidr));
}

/** Canonical text of an address with its prefix length (`FD00::1/64` → `fd00::1/64`), or undefined. */
export function canonicalAddressWithPrefix(text: string): string | undefined {
  const cidr = parseCidr(text);
  return cidr && formatCidr(cidr);
}

/**
 * The one spelling of an address or a prefix, or undefined when `text` is neither: a single address without a length (`10.0.0.1`, also
 * for `10.0.0.1/32`), a prefix with its host bits cleared (`10.0.0.0/24`).
 */
export function canonicalAddressOrPrefix(text: string): string | undefined {
  if (!text.includes('/')) return canonicalIp(text);
  const prefix = canonicalSubnet(text);
  const [address, length] = prefix?.split('/') ?? [];
  return length === (address?.includes(':') ? '128' : '32') ? address : prefix;
}

/** 224.0.0.0/4 or ff00::/8. */
function isMulticastIp(bytes: Uint8Array): boolean {
  return bytes.length === 4 ? bytes[0]! >> 4 === 0xe : bytes[0] === 0xff;
}

/** fe80::/10: valid on one link only, so the same on many ports. */
export function isLinkLocalIpv6(bytes: Uint8Array): boolean {
  return bytes.length === 16 && bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
}

/** An address that one interface can own: not unspecified, loopback, multicast or (IPv4) 240.0.0.0/4 and broadcast. */
export function isAssignableIp(bytes: Uint8Array): boolean {
  if (isMulticastIp(bytes) || bytes.every((b) => b === 0)) return false;
  if (bytes.length === 4) return bytes[0] !== 0 && bytes[0] !== 127 && bytes[0]! < 240;
  return !(bytes[15] === 1 && bytes.subarray(0, 15).every((b) => b === 0));
}
