import { ip4Format, ip4FromWire, ip4WriteWire, needIp4 } from './addr/ip.ts';
import { macCopy, macFormat } from './addr/mac.ts';
import { setU16, u16 } from './bytes.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED, needRange, needSpace, orThrow } from './errors.ts';
import { ETHERTYPE_IPV4 } from './ethernet.ts';

/* ARP (RFC 826) for IPv4 over Ethernet; offset names are the RFC's: ar$sha is the sender's hardware address. */

/** Bytes for Ethernet and IPv4. */
export const ARP_SIZE = 28;
export const ARP_HRD = 0;
export const ARP_PRO = 2;
export const ARP_HLN = 4;
export const ARP_PLN = 5;
export const ARP_OP = 6;
export const ARP_SHA = 8;
export const ARP_SPA = 14;
export const ARP_THA = 18;
export const ARP_TPA = 24;

export const ARP_HRD_ETHERNET = 1;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

/** Size of the ARP packet at `off`, or a FAULT; other hardware and protocol types are malformed here. */
export function arpCheck(buf: Uint8Array, off: number, end: number): number {
  if (end - off < ARP_SIZE) return FAULT_TRUNCATED;
  if (u16(buf, off + ARP_HRD) !== ARP_HRD_ETHERNET || u16(buf, off + ARP_PRO) !== ETHERTYPE_IPV4)
    return FAULT_MALFORMED;
  if (u16(buf, off + ARP_HLN) !== 0x0604) return FAULT_MALFORMED;
  return ARP_SIZE;
}

/** Operation: ARP_REQUEST, ARP_REPLY or another. */
export function arpOp(buf: Uint8Array, off: number): number {
  return u16(buf, off + ARP_OP);
}

/** An ARP packet, taken apart. */
export interface ArpRepr {
  op: number;
  /** 6 bytes */
  senderMac: Uint8Array;
  /** 16-byte form */
  senderIp: Uint8Array;
  /** 6 bytes; zero in a request */
  targetMac: Uint8Array;
  /** 16-byte form */
  targetIp: Uint8Array;
}

/** @throws PacketError */
export function arpParse(buf: Uint8Array, off: number, end = buf.length): ArpRepr {
  orThrow(arpCheck(buf, off, end), 'arp', off);
  return {
    op: arpOp(buf, off),
    senderMac: buf.slice(off + ARP_SHA, off + ARP_SHA + 6),
    senderIp: ip4FromWire(buf, off + ARP_SPA),
    targetMac: buf.slice(off + ARP_THA, off + ARP_THA + 6),
    targetIp: ip4FromWire(buf, off + ARP_TPA),
  };
}

/** Writes the packet at `off`; returns its size. @throws PacketError */
export function arpEmit(repr: ArpRepr, buf: Uint8Array, off: number): number {
  needSpace(buf, off, ARP_SIZE, 'arp');
  needRange(repr.op, 0xffff, 'arp', 'op', off);
  needIp4(repr.senderIp, 'arp', off);
  needIp4(repr.targetIp, 'arp', off);
  setU16(buf, off + ARP_HRD, ARP_HRD_ETHERNET);
  setU16(buf, off + ARP_PRO, ETHERTYPE_IPV4);
  setU16(buf, off + ARP_HLN, 0x0604);
  setU16(buf, off + ARP_OP, repr.op);
  macCopy(repr.senderMac, 0, buf, off + ARP_SHA);
  ip4WriteWire(repr.senderIp, 0, buf, off + ARP_SPA);
  macCopy(repr.targetMac, 0, buf, off + ARP_THA);
  ip4WriteWire(repr.targetIp, 0, buf, off + ARP_TPA);
  return ARP_SIZE;
}

/** One line for a checked packet. */
export function arpFormat(buf: Uint8Array, off: number): string {
  const target = ip4Format(buf, off + ARP_TPA);
  const sender = ip4Format(buf, off + ARP_SPA);
  const op = arpOp(buf, off);
  if (op === ARP_REQUEST) return `ARP who-has ${target} tell ${sender}`;
  if (op === ARP_REPLY) return `ARP ${sender} is-at ${macFormat(buf, off + ARP_SHA)}`;
  return `ARP op ${op} ${sender} > ${target}`;
}
