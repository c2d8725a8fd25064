import { setU16, u16 } from './bytes.ts';
import { FAULT_TRUNCATED, needRange, needSpace, orThrow, PacketError } from './errors.ts';
import { ETH_SIZE, ETH_TYPE, ETHERTYPE_QINQ, ETHERTYPE_VLAN, ethertype } from './ethernet.ts';

/*
 * IEEE 802.1Q tags (§9.5). A tag here starts at its TCI: the two bytes before it, the TPID, are the type field of the
 * header in front, so a frame's first tag starts at ETH_SIZE and is followed by the next type field.
 */

/** Bytes that a tag adds to a frame. */
export const VLAN_SIZE = 4;
export const VLAN_TCI = 0;
export const VLAN_TYPE = 2;

export const VLAN_VID_MASK = 0x0fff;
export const VLAN_DEI = 0x1000;
export const VLAN_PCP_SHIFT = 13;
/** Tags that are walked: outer (service) and inner (customer). */
export const VLAN_MAX_TAGS = 2;

/** Whether a type field announces a tag: 802.1Q or 802.1ad, those that the kernel takes for tags. */
export function vlanIsTpid(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ;
}

/** Size of the tag at `off`, or a FAULT. */
export function vlanCheck(_buf: Uint8Array, off: number, end: number): number {
  return end - off < VLAN_SIZE ? FAULT_TRUNCATED : VLAN_SIZE;
}

/** Tag control information of the tag at `off`. */
export function vlanTci(buf: Uint8Array, off: number): number {
  return u16(buf, off + VLAN_TCI);
}

/** Type field behind the tag at `off`. */
export function vlanType(buf: Uint8Array, off: number): number {
  return u16(buf, off + VLAN_TYPE);
}

/** VLAN id of a TCI; 0 is a priority tag without a VLAN. */
export function vlanVid(tci: number): number {
  return tci & VLAN_VID_MASK;
}

/** Priority code point of a TCI. */
export function vlanPcp(tci: number): number {
  return tci >>> VLAN_PCP_SHIFT;
}

/** A tag, taken apart. */
export interface VlanRepr {
  /** 0–4095 */
  vid: number;
  /** 0–7 */
  pcp: number;
  dei: boolean;
  /** the type field behind the tag */
  type: number;
}

/** @throws PacketError */
export function vlanParse(buf: Uint8Array, off: number, end = buf.length): VlanRepr {
  orThrow(vlanCheck(buf, off, end), 'vlan', off);
  const tci = vlanTci(buf, off);
  return { vid: vlanVid(tci), pcp: vlanPcp(tci), dei: (tci & VLAN_DEI) !== 0, type: vlanType(buf, off) };
}

/** Writes the tag at `off`; returns its size. @throws PacketError */
export function vlanEmit(repr: VlanRepr, buf: Uint8Array, off: number): number {
  needSpace(buf, off, VLAN_SIZE, 'vlan');
  needRange(repr.vid, VLAN_VID_MASK, 'vlan', 'vid', off);
  needRange(repr.pcp, 7, 'vlan', 'pcp', off);
  needRange(repr.type, 0xffff, 'vlan', 'type', off);
  setU16(buf, off + VLAN_TCI, (repr.pcp << VLAN_PCP_SHIFT) | (repr.dei ? VLAN_DEI : 0) | repr.vid);
  setU16(buf, off + VLAN_TYPE, repr.type);
  return VLAN_SIZE;
}

/**
 * A new frame with a tag in front of whatever tags there are.
 * @param tci VLAN id, DEI and priority
 * @throws PacketError
 */
export function vlanPush(frame: Uint8Array, tci: number, tpid: number = ETHERTYPE_VLAN): Uint8Array {
  if (frame.length < ETH_SIZE) throw new PacketError('WEFT_PACKET_TRUNCATED', 'vlan', 0, 'No Ethernet header to tag.');
  needRange(tci, 0xffff, 'vlan', 'tci', ETH_TYPE);
  const out = new Uint8Array(frame.length + VLAN_SIZE);
  out.set(frame.subarray(0, ETH_TYPE));
  setU16(out, ETH_TYPE, tpid);
  setU16(out, ETH_SIZE, tci);
  out.set(frame.subarray(ETH_TYPE), ETH_SIZE + VLAN_TYPE);
  return out;
}

/**
 * A new frame without its outermost tag.
 * @throws PacketError WEFT_PACKET_MALFORMED when there is none
 */
export function vlanPop(frame: Uint8Array): Uint8Array {
  if (frame.length < ETH_SIZE + VLAN_SIZE || !vlanIsTpid(ethertype(frame))) {
    throw new PacketError('WEFT_PACKET_MALFORMED', 'vlan', ETH_TYPE, 'The frame has no VLAN tag to take off.');
  }
  const out = new Uint8Array(frame.length - VLAN_SIZE);
  out.set(frame.subarray(0, ETH_TYPE));
  out.set(frame.subarray(ETH_TYPE + VLAN_SIZE), ETH_TYPE);
  return out;
}

/** 'vlan 5' or 'vlan 5 p 3' of a checked tag. */
export function vlanFormat(buf: Uint8Array, off: number): string {
  const tci = vlanTci(buf, off);
  return `vlan ${vlanVid(tci)}${vlanPcp(tci) ? ` p ${vlanPcp(tci)}` : ''}`;
}
