import { PacketError, quoteText } from '../errors.ts';
import { type IpFamily, ipEquals, ipFormat, ipIsV4, ipParse } from './ip.ts';

/** An address with a prefix length. */
export interface Cidr {
  /** 16-byte form. */
  readonly ip: Uint8Array;
  /** As written: 0–32 for IPv4, 0–128 for IPv6. */
  readonly length: number;
  /** Leading bits that count in the 16-byte form: 96 + length for IPv4, length for IPv6. */
  readonly bits: number;
  readonly family: IpFamily;
}

/** What to do with bits of the host part that are set, as in 10.0.0.1/24. */
export type HostBits = 'reject' | 'keep' | 'clear';

/**
 * Reads 'a.b.c.d/n' or 'x::y/n'. The length is required, decimal, without leading zeros.
 * @param hostBits 'reject' for networks (default), 'keep' for interface addresses, 'clear' to normalise
 * @throws PacketError WEFT_ADDRESS_INVALID
 */
export function cidrParse(text: string, hostBits: HostBits = 'reject'): Cidr {
  const slash = typeof text === 'string' ? text.indexOf('/') : -1;
  if (slash < 0 || !/^(?:0|[1-9][0-9]{0,2})$/.test(text.slice(slash + 1))) {
    throw new PacketError(
      'WEFT_ADDRESS_INVALID',
      'cidr',
      Math.max(slash, 0),
      `${quoteText(text)} is not a CIDR: write an address and a prefix length, such as 10.0.0.0/24.`,
    );
  }
  const given = cidrOf(ipParse(text.slice(0, slash)), Number(text.slice(slash + 1)));
  if (hostBits === 'keep') return given;
  const network = cidrNetwork(given);
  if (hostBits === 'reject' && !ipEquals(network.ip, 0, given.ip, 0)) {
    throw new PacketError(
      'WEFT_ADDRESS_INVALID',
      'cidr',
      0,
      `${quoteText(text)} has bits set beyond its prefix length: the network is ${cidrFormat(network)}.`,
    );
  }
  return network;
}

/**
 * A CIDR of a 16-byte address and a length as written (0–32 or 0–128).
 * @throws PacketError WEFT_ADDRESS_INVALID when the length is out of range
 */
export function cidrOf(ip: Uint8Array, length: number): Cidr {
  const v4 = ipIsV4(ip);
  const most = v4 ? 32 : 128;
  if (!Number.isInteger(length) || length < 0 || length > most) {
    throw new PacketError(
      'WEFT_ADDRESS_INVALID',
      'cidr',
      0,
      `A prefix length of IPv${v4 ? 4 : 6} is from 0 to ${most}, not ${length}.`,
    );
  }
  return { ip, length, bits: v4 ? 96 + length : length, family: v4 ? 4 : 6 };
}

/** 'address/length'. */
export function cidrFormat(cidr: Cidr): string {
  return `${ipFormat(cidr.ip)}/${cidr.length}`;
}

/** Whether the 16-byte address at `off` is of the CIDR's family and inside it. */
export function cidrContains(cidr: Cidr, ip: Uint8Array, off = 0): boolean {
  return (cidr.family === 4) === ipIsV4(ip, off) && prefixMatches(cidr.ip, 0, ip, off, cidr.bits);
}

/** Whether every address of `inner` is in `outer`. */
export function cidrCovers(outer: Cidr, inner: Cidr): boolean {
  return outer.bits <= inner.bits && cidrContains(outer, inner.ip);
}

/** The CIDR with its host bits cleared. */
export function cidrNetwork(cidr: Cidr): Cidr {
  const ip = cidr.ip.slice();
  prefixMask(ip, 0, cidr.bits);
  return { ...cidr, ip };
}

/** Highest address (IPv4: the subnet's broadcast address) in the 16-byte form. */
export function cidrLast(cidr: Cidr): Uint8Array {
  const ip = cidr.ip.slice();
  for (let i = 0; i < 16; i++) ip[i] |= 0xff >> Math.min(8, Math.max(0, cidr.bits - 8 * i));
  return ip;
}

/** Whether the first `bits` (0–128) bits of two 16-byte addresses are equal. Hot: no allocation. */
export function prefixMatches(a: Uint8Array, aOff: number, b: Uint8Array, bOff: number, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (a[aOff + i] !== b[bOff + i]) return false;
  const rest = bits & 7;
  return rest === 0 || ((a[aOff + whole] ^ b[bOff + whole]) & (0xff00 >> rest) & 0xff) === 0;
}

/** Clears all but the first `bits` bits of the 16-byte address at `off`, in place. */
export function prefixMask(buf: Uint8Array, off: number, bits: number): void {
  for (let i = 0; i < 16; i++) buf[off + i] &= 0xff00 >> Math.min(8, Math.max(0, bits - 8 * i));
}
