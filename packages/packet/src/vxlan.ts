import { setU32, u32 } from './bytes.ts';
import { FAULT_MALFORMED, FAULT_TRUNCATED, needRange, needSpace, orThrow } from './errors.ts';

/* VXLAN (RFC 7348 §5), behind a UDP header. */

/** Bytes of the header. */
export const VXLAN_SIZE = 8;
export const VXLAN_FLAGS = 0;
export const VXLAN_VNI = 4;

/** The VNI is valid; a frame without this flag is dropped. Other flags are ignored on receipt. */
export const VXLAN_I = 0x08;
/** UDP destination port (IANA). */
export const VXLAN_PORT = 4789;
/** Highest VNI. */
export const VXLAN_VNI_MAX = 0xff_ffff;

/** Size of the header at `off` (8), or a FAULT. */
export function vxlanCheck(buf: Uint8Array, off: number, end: number): number {
  if (end - off < VXLAN_SIZE) return FAULT_TRUNCATED;
  return buf[off] & VXLAN_I ? VXLAN_SIZE : FAULT_MALFORMED;
}

/** VXLAN network identifier, 24 bits. */
export function vxlanVni(buf: Uint8Array, off: number): number {
  return u32(buf, off + VXLAN_VNI) >>> 8;
}

/** A VXLAN header, taken apart. */
export interface VxlanRepr {
  /** 24 bits */
  vni: number;
}

/** @throws PacketError */
export function vxlanParse(buf: Uint8Array, off: number, end = buf.length): VxlanRepr {
  orThrow(vxlanCheck(buf, off, end), 'vxlan', off);
  return { vni: vxlanVni(buf, off) };
}

/** Writes the header at `off`; returns its size. @throws PacketError */
export function vxlanEmit(repr: VxlanRepr, buf: Uint8Array, off: number): number {
  needSpace(buf, off, VXLAN_SIZE, 'vxlan');
  needRange(repr.vni, VXLAN_VNI_MAX, 'vxlan', 'vni', off);
  setU32(buf, off + VXLAN_FLAGS, VXLAN_I * 0x100_0000);
  setU32(buf, off + VXLAN_VNI, repr.vni * 256);
  return VXLAN_SIZE;
}

/** 'VXLAN vni N' of a checked header. */
export function vxlanFormat(buf: Uint8Array, off: number): string {
  return `VXLAN vni ${vxlanVni(buf, off)}`;
}
