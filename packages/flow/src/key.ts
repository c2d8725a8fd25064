/**
 * The flow key: what the datapath knows of a packet when it looks for a flow. One fixed layout of 64 bytes, the same in
 * the C programs (`generated/weft_flow.h`, derived from the tables below) and here. Fields that come from the wire keep
 * network byte order; `inPort` is in host order (little endian).
 *
 * An IPv4 address stands in its 16 bytes as an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2), so that one code path serves
 * both families. For ARP, `ipSrc` and `ipDst` hold the sender's and the target's protocol address. For ICMP, `tpSrc` is the type
 * and `tpDst` the code; `icmpId` is that of echo messages, else 0. A later fragment has no ports of its own: `extractKey` leaves
 * them 0, and the datapath fills in those of the first fragment if that has passed (it keeps class FRAG_LATER).
 */

export const KEY_SIZE = 64;

/** Name, offset and size in bytes of every field, in layout order. */
export const KEY_FIELDS = [
  ['inPort', 0, 4],
  ['ethSrc', 4, 6],
  ['ethDst', 10, 6],
  ['etherType', 16, 2],
  ['vlan', 18, 2],
  ['ipSrc', 20, 16],
  ['ipDst', 36, 16],
  ['ipProto', 52, 1],
  ['ipTos', 53, 1],
  ['ipTtl', 54, 1],
  ['ipFrag', 55, 1],
  ['tpSrc', 56, 2],
  ['tpDst', 58, 2],
  ['icmpId', 60, 2],
  ['arpOp', 62, 1],
  ['maskClass', 63, 1],
] as const;

/** Local ingress port: the ifindex of the bound interface on this host. */
export const K_IN_PORT = 0;
export const K_ETH_SRC = 4;
export const K_ETH_DST = 10;
/** Ethertype behind at most one VLAN tag; a frame with a second tag has that tag's TPID here and is not parsed further. */
export const K_ETHER_TYPE = 16;
/** 0: untagged; else the TCI with `VLAN_PRESENT` set (the DEI bit is lost to the key, not to the packet). */
export const K_VLAN = 18;
export const K_IP_SRC = 20;
export const K_IP_DST = 36;
export const K_IP_PROTO = 52;
export const K_IP_TOS = 53;
export const K_IP_TTL = 54;
/** FRAG_NONE, FRAG_FIRST or FRAG_LATER. */
export const K_IP_FRAG = 55;
export const K_TP_SRC = 56;
export const K_TP_DST = 58;
export const K_ICMP_ID = 60;
/** Low byte of the ARP operation; 0 if not ARP. */
export const K_ARP_OP = 62;
/** In a stored key the class of its mask; in a packet's key 0. */
export const K_MASK_CLASS = 63;

export const VLAN_PRESENT = 0x1000;
export const FRAG_NONE = 0;
export const FRAG_FIRST = 1;
export const FRAG_LATER = 2;

/** A bit per field that the simulator can read. Bit n belongs to entry n of KEY_FIELDS. */
export const F_IN_PORT = 1 << 0;
export const F_ETH_SRC = 1 << 1;
export const F_ETH_DST = 1 << 2;
export const F_ETHER_TYPE = 1 << 3;
export const F_VLAN = 1 << 4;
export const F_IP_SRC = 1 << 5;
export const F_IP_DST = 1 << 6;
export const F_IP_PROTO = 1 << 7;
export const F_IP_TOS = 1 << 8;
export const F_IP_TTL = 1 << 9;
export const F_IP_FRAG = 1 << 10;
export const F_TP_SRC = 1 << 11;
export const F_TP_DST = 1 << 12;
export const F_ICMP_ID = 1 << 13;
export const F_ARP_OP = 1 << 14;
/** Something outside the key was read (an ARP hardware address, an ND target, an embedded packet): no flow may be installed. */
export const F_PAYLOAD = 1 << 15;

export function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 8) | bytes[offset + 1];
}

export function writeU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/** Ingress port of the key at `base`. */
export function keyInPort(bytes: Uint8Array, base = 0): number {
  return (bytes[base] | (bytes[base + 1] << 8) | (bytes[base + 2] << 16) | (bytes[base + 3] << 24)) >>> 0;
}

export function setKeyInPort(bytes: Uint8Array, port: number, base = 0): void {
  bytes[base] = port;
  bytes[base + 1] = port >>> 8;
  bytes[base + 2] = port >>> 16;
  bytes[base + 3] = port >>> 24;
}

/** True if the 16 bytes at `offset` are an IPv4-mapped address. */
export function isV4Mapped(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== 0) return false;
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
}
