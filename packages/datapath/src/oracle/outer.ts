/** Outer headers of tunnel packets, as both drivers write them: see SEMANTICS.md. */
import { K_ETH_SRC, K_ETHER_TYPE, K_IP_FRAG, K_IP_PROTO, K_IP_SRC, K_TP_SRC, readU16 } from '@weft/flow';
import { checksumOf, setU16, setU24, setU32, sumBytes } from '@weft/packet';

export type Encap = 'gre' | 'vxlan';

export const VXLAN_PORT = 4789;
/** GRE with a key (RFC 2890) around Ethernet (transparent Ethernet bridging). */
export const GRE_FLAGS = 0x2000;
export const GRE_TEB = 0x6558;
/** VXLAN's first word: VNI is valid (RFC 7348 §5). */
export const VXLAN_FLAGS = 0x08000000;
export const OUTER_TTL = 64;
export const SOURCE_PORT_BASE = 49_152;

/** Bytes between the outer IP header's first byte and the inner Ethernet header. */
export function outerLength(encap: Encap, ipv6: boolean): number {
  return (ipv6 ? 40 : 20) + (encap === 'gre' ? 8 : 16);
}

/** Bytes by which an outer L3 packet is longer than the inner L3 packet. */
export function tunnelOverhead(encap: Encap, ipv6: boolean): number {
  return outerLength(encap, ipv6) + 14;
}

function word(b: Uint8Array, at: number): number {
  return b[at] | (b[at + 1] << 8) | (b[at + 2] << 16) | (b[at + 3] << 24);
}

function mix(h: number, w: number): number {
  const m = Math.imul(h ^ w, 0x85ebca6b);
  return (m << 13) | (m >>> 19);
}

/** 32-bit hash of the flow that a key belongs to: equal for all packets of a flow, fragments included. As flow_hash in `bpf/encap.h`. */
export function flowHash(key: Uint8Array): number {
  const type = readU16(key, K_ETHER_TYPE);
  let h = word(key, K_ETHER_TYPE);
  if (type !== 0x0800 && type !== 0x86dd) {
    const macs = mix(mix(mix(h, word(key, K_ETH_SRC)), word(key, K_ETH_SRC + 4)), word(key, K_ETH_SRC + 8));
    return (macs ^ (h >>> 15)) >>> 0;
  }
  for (let i = 0; i < 32; i += 4) h = mix(h, word(key, K_IP_SRC + i));
  h = mix(h, key[K_IP_PROTO]);
  // Fragments of one packet must not part ways: only the first carries ports.
  if (key[K_IP_FRAG] === 0) h = mix(h, word(key, K_TP_SRC));
  return (h ^ (h >>> 15)) >>> 0;
}

/** Which of `count` (1 … 4) equally good ways a flow takes. */
export function wayOf(hash: number, count: number): number {
  return (hash >>> 20) % count;
}

export interface OuterHeader {
  encap: Encap;
  vxlanPort: number;
  /** 16-byte addresses; both of the same family. */
  local: Uint8Array;
  remote: Uint8Array;
  ipv6: boolean;
  /** Tunnel key, 24 bits, and KEY_FORWARDED. */
  key: number;
  /** ECN bits of the outer IP header. */
  ecn: number;
  /** Hash of the inner flow: source port of VXLAN. */
  hash: number;
}

/**
 * Writes the outer headers in front of the inner frame `bytes[inner … end)`.
 * @returns offset of the outer IP header, or -1 if the outer packet would be longer than IP allows.
 */
export function writeOuter(bytes: Uint8Array, inner: number, end: number, h: OuterHeader): number {
  const shim = h.encap === 'gre' ? 8 : 16;
  const at = inner - shim - (h.ipv6 ? 40 : 20);
  if (end - at > 65_535) return -1;
  const l4 = inner - shim;
  if (h.encap === 'gre') {
    setU16(bytes, l4, GRE_FLAGS);
    setU16(bytes, l4 + 2, GRE_TEB);
    setU32(bytes, l4 + 4, h.key);
  } else {
    setU16(bytes, l4, SOURCE_PORT_BASE | (h.hash & 0x3fff));
    setU16(bytes, l4 + 2, h.vxlanPort);
    setU16(bytes, l4 + 4, end - l4);
    setU16(bytes, l4 + 6, 0);
    setU32(bytes, l4 + 8, VXLAN_FLAGS);
    setU24(bytes, l4 + 12, h.key & 0xffffff);
    bytes[l4 + 15] = h.key >>> 24;
  }
  const protocol = h.encap === 'gre' ? 47 : 17;
  if (h.ipv6) writeIpv6(bytes, at, end, protocol, h);
  else writeIpv4(bytes, at, end, protocol, h);
  return at;
}

function writeIpv4(b: Uint8Array, at: number, end: number, protocol: number, h: OuterHeader): void {
  b[at] = 0x45;
  b[at + 1] = h.ecn;
  setU16(b, at + 2, end - at);
  setU16(b, at + 4, 0);
  setU16(b, at + 6, 0x4000);
  b[at + 8] = OUTER_TTL;
  b[at + 9] = protocol;
  setU16(b, at + 10, 0);
  for (let i = 0; i < 4; i++) {
    b[at + 12 + i] = h.local[12 + i];
    b[at + 16 + i] = h.remote[12 + i];
  }
  setU16(b, at + 10, checksumOf(sumBytes(b, at, 20)));
}

function writeIpv6(b: Uint8Array, at: number, end: number, protocol: number, h: OuterHeader): void {
  setU32(b, at, 0x60000000 | (h.ecn << 20));
  setU16(b, at + 4, end - at - 40);
  b[at + 6] = protocol;
  b[at + 7] = OUTER_TTL;
  for (let i = 0; i < 16; i++) {
    b[at + 8 + i] = h.local[i];
    b[at + 24 + i] = h.remote[i];
  }
}
