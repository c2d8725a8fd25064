import { copyBytes, equalBytes, setU16, setU32, u16, u32 } from '../bytes.ts';
import { needRange, PacketError, quoteText } from '../errors.ts';
import { ip6Format, ip6ParseInto } from './ip6-text.ts';

/*
 * An IP address is 16 bytes, of either family. IPv4 is stored as IPv4-mapped IPv6 (::ffff:a.b.c.d, RFC 4291 §2.5.5.2),
 * as in the flow key, so that one comparison and one prefix match serve both.
 */

/** Bytes of an address in the 16-byte form. */
export const IP_SIZE = 16;
/** The unspecified IPv4 address in the 16-byte form, ::ffff:0.0.0.0. */
export const IP4_ANY: Uint8Array = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0);
/** 255.255.255.255 in the 16-byte form. */
export const IP4_BROADCAST: Uint8Array = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255);
/** :: */
export const IP6_ANY: Uint8Array = new Uint8Array(16);

/** Address family by its IP version. */
export type IpFamily = 4 | 6;
/** What builders accept as an address: 16 bytes or its text. */
export type IpLike = Uint8Array | string;

function invalid(text: string, offset: number, hint: string): PacketError {
  return new PacketError('WEFT_ADDRESS_INVALID', 'ip', offset, `${quoteText(text)} is not an IP address: ${hint}`);
}

/**
 * Reads 'a.b.c.d' from text[start, end) into 4 bytes at `off`; returns the offset of the first wrong character, or -1.
 * Strict: decimal, no leading zeros (some readers take them for octal), no blanks.
 */
function parseQuad(text: string, start: number, end: number, out: Uint8Array, off: number): number {
  let at = start;
  for (let part = 0; part < 4; part++) {
    const first = at;
    let value = 0;
    while (at < end && at - first < 4) {
      const digit = text.charCodeAt(at) - 48;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      at++;
    }
    if (at === first || at - first > 3 || value > 255 || (at - first > 1 && text.charCodeAt(first) === 48))
      return first;
    out[off + part] = value;
    if (part < 3) {
      if (at >= end || text.charCodeAt(at) !== 46) return at;
      at++;
    }
  }
  return at === end ? -1 : at;
}

/**
 * Reads an IPv4 ('10.0.0.1') or IPv6 ('fd00::1') address into the 16-byte form. An IPv4-mapped IPv6 text is refused:
 * its one spelling here is a.b.c.d. Zone indices ('%eth0') are refused.
 * @param family refuse the other family
 * @throws PacketError WEFT_ADDRESS_INVALID
 */
export function ipParse(text: string, family?: IpFamily): Uint8Array {
  const out = new Uint8Array(16);
  if (typeof text !== 'string') throw invalid(String(text), 0, 'it must be a text.');
  if (text.includes(':')) {
    if (family === 4) throw invalid(text, 0, 'IPv4 is wanted here, such as 10.0.0.1.');
    const wrong = ip6ParseInto(text, out, parseQuad);
    if (wrong >= 0) throw invalid(text, wrong, 'write IPv6 as groups of hex digits, such as fd00::1.');
    if (ipIsV4(out)) throw invalid(text, 0, `an IPv4-mapped address is written ${ipFormat(out)}.`);
    return out;
  }
  if (family === 6) throw invalid(text, 0, 'IPv6 is wanted here, such as fd00::1.');
  out[10] = out[11] = 0xff;
  const wrong = parseQuad(text, 0, text.length, out, 12);
  if (wrong >= 0)
    throw invalid(text, wrong, 'write IPv4 as four decimal numbers without leading zeros, such as 10.0.0.1.');
  return out;
}

/** Text of the 16-byte address at `off`: 'a.b.c.d' if IPv4-mapped, else RFC 5952. */
export function ipFormat(buf: Uint8Array, off = 0): string {
  return ipIsV4(buf, off) ? ip4Format(buf, off + 12) : ip6Format(buf, off);
}

/** Text of the 4 bytes at `off` (an address as it stands in an IPv4 or ARP header). */
export function ip4Format(buf: Uint8Array, off: number): string {
  return `${buf[off] | 0}.${buf[off + 1] | 0}.${buf[off + 2] | 0}.${buf[off + 3] | 0}`;
}

/** 16 bytes of whatever a builder was given. Bytes are passed through, not copied. */
export function ipOf(ip: IpLike): Uint8Array {
  if (typeof ip === 'string') return ipParse(ip);
  if (!(ip instanceof Uint8Array) || ip.length !== 16) {
    throw new PacketError(
      'WEFT_ADDRESS_INVALID',
      'ip',
      0,
      'An IP address in bytes has sixteen of them (IPv4: ::ffff:a.b.c.d).',
    );
  }
  return ip;
}

/** Whether the 16-byte address at `off` stands for an IPv4 address. */
export function ipIsV4(buf: Uint8Array, off = 0): boolean {
  return u32(buf, off + 8) === 0xffff && u32(buf, off) === 0 && u32(buf, off + 4) === 0;
}

/** Throws unless `ip` is an IPv4 address in the 16-byte form: its last four bytes alone would be written. */
export function needIp4(ip: Uint8Array, layer: string, off: number): void {
  if (ip.length !== 16 || !ipIsV4(ip)) {
    throw new PacketError('WEFT_PACKET_FIELD', layer, off, `${layer}: an IPv4 address is wanted, in the 16-byte form.`);
  }
}

/** 4 or 6. */
export function ipFamily(buf: Uint8Array, off = 0): IpFamily {
  return ipIsV4(buf, off) ? 4 : 6;
}

/** Copies a 16-byte address. */
export function ipCopy(src: Uint8Array, srcOff: number, dst: Uint8Array, dstOff: number): void {
  copyBytes(src, srcOff, dst, dstOff, 16);
}

/** Whether two 16-byte addresses are equal. */
export function ipEquals(a: Uint8Array, aOff: number, b: Uint8Array, bOff: number): boolean {
  return equalBytes(a, aOff, b, bOff, 16);
}

/** Order of two 16-byte addresses as unsigned numbers: negative, 0 or positive. */
export function ipCompare(a: Uint8Array, aOff: number, b: Uint8Array, bOff: number): number {
  for (let i = 0; i < 16; i++) {
    const d = a[aOff + i] - b[bOff + i];
    if (d !== 0) return d;
  }
  return 0;
}

/** Widens the 4 wire bytes at `wireOff` to the 16-byte form at `off`. */
export function ip4ReadWire(wire: Uint8Array, wireOff: number, out: Uint8Array, off: number): void {
  setU32(out, off, 0);
  setU32(out, off + 4, 0);
  setU16(out, off + 8, 0);
  setU16(out, off + 10, 0xffff);
  copyBytes(wire, wireOff, out, off + 12, 4);
}

/** New 16-byte form of the 4 wire bytes at `wireOff`. */
export function ip4FromWire(wire: Uint8Array, wireOff: number): Uint8Array {
  const out = new Uint8Array(16);
  ip4ReadWire(wire, wireOff, out, 0);
  return out;
}

/** Writes the IPv4 address of the 16-byte form at `off` as 4 wire bytes. */
export function ip4WriteWire(ip: Uint8Array, off: number, wire: Uint8Array, wireOff: number): void {
  copyBytes(ip, off + 12, wire, wireOff, 4);
}

/** IPv4 address of the 16-byte form at `off` as an integer in [0, 2^32). */
export function ip4ToNumber(buf: Uint8Array, off = 0): number {
  return u32(buf, off + 12);
}

/**
 * 16-byte form of an IPv4 address given as an integer below 2^32.
 * @throws PacketError WEFT_PACKET_FIELD when out of range
 */
export function ip4FromNumber(n: number): Uint8Array {
  needRange(n, 0xffff_ffff, 'ip', 'number', 0);
  const out = IP4_ANY.slice();
  setU32(out, 12, n);
  return out;
}

/** 0.0.0.0 or ::. */
export function ipIsUnspecified(buf: Uint8Array, off = 0): boolean {
  if (u32(buf, off + 12) !== 0) return false;
  const third = u32(buf, off + 8);
  return (third === 0 || third === 0xffff) && u32(buf, off) === 0 && u32(buf, off + 4) === 0;
}

/** 224.0.0.0/4 or ff00::/8. */
export function ipIsMulticast(buf: Uint8Array, off = 0): boolean {
  return buf[off] === 0xff || ((buf[off + 12] & 0xf0) === 0xe0 && ipIsV4(buf, off));
}

/** 255.255.255.255 (a subnet's broadcast address is the subnet's business). */
export function ipIsBroadcast(buf: Uint8Array, off = 0): boolean {
  return u32(buf, off + 12) === 0xffff_ffff && ipIsV4(buf, off);
}

/** 127.0.0.0/8 or ::1. */
export function ipIsLoopback(buf: Uint8Array, off = 0): boolean {
  if (ipIsV4(buf, off)) return buf[off + 12] === 127;
  return u32(buf, off + 12) === 1 && u32(buf, off) === 0 && u32(buf, off + 4) === 0 && u32(buf, off + 8) === 0;
}

/** 169.254.0.0/16 or fe80::/10. */
export function ipIsLinkLocal(buf: Uint8Array, off = 0): boolean {
  return (u16(buf, off) & 0xffc0) === 0xfe80 || (u16(buf, off + 12) === 0xa9fe && ipIsV4(buf, off));
}
