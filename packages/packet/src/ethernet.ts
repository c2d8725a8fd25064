import { MAC_SIZE, macCopy, macFormat } from './addr/mac.ts';
import { setU16, u16 } from './bytes.ts';
import { FAULT_TRUNCATED, needRange, needSpace, orThrow } from './errors.ts';

/* Ethernet II, IEEE 802.3 §3.2. Offsets are from the start of the frame; no preamble, no FCS. */

/** Bytes of the header. */
export const ETH_SIZE = 14;
export const ETH_DST = 0;
export const ETH_SRC = 6;
export const ETH_TYPE = 12;

/** Values of the type field below this are lengths of an LLC frame (IEEE 802.3 §3.2.6). */
export const ETHERTYPE_MIN = 0x0600;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
/** Transparent Ethernet bridging: an Ethernet frame in GRE. */
export const ETHERTYPE_TEB = 0x6558;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_MPLS = 0x8847;
/** IEEE 802.1ad service tag. */
export const ETHERTYPE_QINQ = 0x88a8;
export const ETHERTYPE_LLDP = 0x88cc;

/** Size of the header at `off`, or a FAULT. Allocates nothing. */
export function ethCheck(_buf: Uint8Array, off: number, end: number): number {
  return end - off < ETH_SIZE ? FAULT_TRUNCATED : ETH_SIZE;
}

/** Type (or LLC length) field of the frame at `off`: of the outermost tag if there is one. */
export function ethertype(buf: Uint8Array, off = 0): number {
  return u16(buf, off + ETH_TYPE);
}

/** Writes the type field. */
export function ethSetType(buf: Uint8Array, off: number, type: number): void {
  setU16(buf, off + ETH_TYPE, type);
}

/** Writes the destination MAC from 6 bytes at `macOff`. */
export function ethSetDst(buf: Uint8Array, off: number, mac: Uint8Array, macOff = 0): void {
  macCopy(mac, macOff, buf, off + ETH_DST);
}

/** Writes the source MAC from 6 bytes at `macOff`. */
export function ethSetSrc(buf: Uint8Array, off: number, mac: Uint8Array, macOff = 0): void {
  macCopy(mac, macOff, buf, off + ETH_SRC);
}

/** An Ethernet header, taken apart. */
export interface EthRepr {
  /** 6 bytes */
  dst: Uint8Array;
  /** 6 bytes */
  src: Uint8Array;
  type: number;
}

/** @throws PacketError */
export function ethParse(buf: Uint8Array, off = 0, end = buf.length): EthRepr {
  orThrow(ethCheck(buf, off, end), 'ethernet', off);
  return {
    dst: buf.slice(off, off + MAC_SIZE),
    src: buf.slice(off + ETH_SRC, off + ETH_SRC + MAC_SIZE),
    type: ethertype(buf, off),
  };
}

/** Writes the header at `off`; returns its size. @throws PacketError */
export function ethEmit(repr: EthRepr, buf: Uint8Array, off = 0): number {
  needSpace(buf, off, ETH_SIZE, 'ethernet');
  needRange(repr.type, 0xffff, 'ethernet', 'type', off);
  ethSetDst(buf, off, repr.dst);
  ethSetSrc(buf, off, repr.src);
  ethSetType(buf, off, repr.type);
  return ETH_SIZE;
}

/** 'src > dst' of a checked header. */
export function ethFormat(buf: Uint8Array, off = 0): string {
  return `${macFormat(buf, off + ETH_SRC)} > ${macFormat(buf, off + ETH_DST)}`;
}
