/** Validation of tunnel packets from the underlay, outside-in: see SEMANTICS.md, "From the underlay". */
import { dropReason, KEY_FORWARDED } from '@weft/flow';
import { u16, u32 } from '@weft/packet';
import { combineEcn, ecnOf, setEcn } from './ecn.ts';
import { type Encap, GRE_FLAGS, GRE_TEB, SOURCE_PORT_BASE, tunnelOverhead, VXLAN_FLAGS } from './outer.ts';

/** Not a tunnel packet of ours: the host's own business. */
export const OUTER_FOREIGN = 0;
/** A valid tunnel packet: `key`, `inner`, `end`. */
export const OUTER_TUNNEL = 1;
/** To be dropped and counted under `reason`. */
export const OUTER_DROP = 2;
/** As OUTER_FOREIGN, but to be counted: GRE to one of our addresses from nobody that we know. */
export const OUTER_FOREIGN_GRE = 4;
/** An ICMP error says that a tunnel packet of ours was too big: `peer`, `mtu`. */
export const OUTER_PATH_MTU = 3;

const FRAGMENT = dropReason('outer_fragment');
const LENGTH = dropReason('outer_length');
const FLAGS = dropReason('outer_flags');
const UNKNOWN_PEER = dropReason('outer_unknown_peer');
const INNER = dropReason('inner_malformed');
const ECN_DROP = dropReason('decap_failed');

/** VXLAN's last byte. */
const RESERVED_FORWARDED = KEY_FORWARDED >>> 24;

/** Smallest inner MTU that an ICMP error may ask for: IPv6's minimum (RFC 8200 §5). */
export const MIN_INNER_MTU = 1280;

/** What validation needs to know of this host. Addresses are 16 bytes. */
export interface OuterTables {
  readonly encap: Encap;
  readonly vxlanPort: number;
  isLocal(address: Uint8Array): boolean;
  /** Peer number of a tunnel's remote address, or 0. */
  peerOf(address: Uint8Array): number;
}

/** Parses one packet after the other; the result stands in its fields. */
export class OuterParser {
  reason = 0;
  key = 0;
  /** It has gone from one tunnel into the next. */
  forwarded = false;
  /** Inner frame: `bytes[inner … end)`. */
  inner = 0;
  end = 0;
  peer = 0;
  mtu = 0;
  readonly #src = new Uint8Array(16);
  readonly #dst = new Uint8Array(16);

  #drop(reason: number): number {
    this.reason = reason;
    return OUTER_DROP;
  }

  /**
   * @param start of the outer Ethernet header in `b`; @param end of the frame there.
   * @returns OUTER_…; for OUTER_TUNNEL the inner packet's ECN has been combined with the outer's.
   */
  parse(b: Uint8Array, start: number, end: number, t: OuterTables): number {
    if (end - start < 34) return OUTER_FOREIGN;
    const type = u16(b, start + 12);
    if (type === 0x0800) return this.#parse4(b, start + 14, end, t);
    if (type === 0x86dd && end - start >= 54) return this.#parse6(b, start + 14, end, t);
    return OUTER_FOREIGN;
  }

  #parse4(b: Uint8Array, ip: number, end: number, t: OuterTables): number {
    mapped(b, ip + 12, this.#src);
    mapped(b, ip + 16, this.#dst);
    if (!t.isLocal(this.#dst)) return OUTER_FOREIGN;
    const proto = b[ip + 9];
    const header = (b[ip] & 15) * 4;
    const fragment = u16(b, ip + 6) & 0x3fff;
    const total = u16(b, ip + 2);
    if (proto === 1 && fragment === 0) return this.#icmp4(b, ip + Math.max(header, 20), Math.min(end, ip + total), t);
    const l4 = ip + Math.max(header, 20);
    if (!this.#isOurs(b, l4, end, proto, fragment & 0x1fff, t)) return OUTER_FOREIGN;
    // The host may speak GRE with others; the VXLAN port is ours alone.
    if (proto === 47 && t.peerOf(this.#src) === 0) return OUTER_FOREIGN_GRE;
    if (fragment !== 0) return this.#drop(FRAGMENT);
    if (b[ip] >>> 4 !== 4 || header < 20 || total < header || ip + total > end) return this.#drop(LENGTH);
    return this.#tunnel(b, l4, ip + total, proto, b[ip + 1] & 3, t);
  }

  #parse6(b: Uint8Array, ip: number, end: number, t: OuterTables): number {
    for (let i = 0; i < 16; i++) {
      this.#src[i] = b[ip + 8 + i];
      this.#dst[i] = b[ip + 24 + i];
    }
    if (!t.isLocal(this.#dst)) return OUTER_FOREIGN;
    const proto = b[ip + 6];
    const total = 40 + u16(b, ip + 4);
    if (proto === 58) return this.#icmp6(b, ip + 40, Math.min(end, ip + total), t);
    if (!this.#isOurs(b, ip + 40, end, proto, 0, t)) return OUTER_FOREIGN;
    if (proto === 47 && t.peerOf(this.#src) === 0) return OUTER_FOREIGN_GRE;
    if (b[ip] >>> 4 !== 6 || ip + total > end) return this.#drop(LENGTH);
    return this.#tunnel(b, ip + 40, ip + total, proto, (b[ip + 1] >>> 4) & 3, t);
  }

  #isOurs(b: Uint8Array, l4: number, end: number, proto: number, offset: number, t: OuterTables): boolean {
    if (t.encap === 'gre') return proto === 47;
    return proto === 17 && offset === 0 && l4 + 4 <= end && u16(b, l4 + 2) === t.vxlanPort;
  }

  #tunnel(b: Uint8Array, l4: number, end: number, proto: number, ecn: number, t: OuterTables): number {
    if (proto === 47) {
      if (l4 + 4 > end) return this.#drop(LENGTH);
      if (u16(b, l4) !== GRE_FLAGS || u16(b, l4 + 2) !== GRE_TEB) return this.#drop(FLAGS);
      if (l4 + 8 > end) return this.#drop(LENGTH);
      this.key = u32(b, l4 + 4);
      this.inner = l4 + 8;
    } else {
      if (l4 + 16 > end || u16(b, l4 + 4) !== end - l4) return this.#drop(LENGTH);
      if (u32(b, l4 + 8) !== VXLAN_FLAGS || (b[l4 + 15] & ~RESERVED_FORWARDED) !== 0) return this.#drop(FLAGS);
      const word = u32(b, l4 + 12);
      this.key = ((word >>> 8) | (word << 24)) >>> 0;
      this.inner = l4 + 16;
    }
    this.forwarded = (this.key & KEY_FORWARDED) !== 0;
    this.key = (this.key & ~KEY_FORWARDED) >>> 0;
    this.end = end;
    this.peer = t.peerOf(this.#src);
    if (this.peer === 0) return this.#drop(UNKNOWN_PEER);
    if (end - this.inner < 14) return this.#drop(INNER);
    let l3 = this.inner + 14;
    let type = u16(b, l3 - 2);
    if (type === 0x8100 || type === 0x88a8) {
      l3 += 4;
      if (l3 > end) return this.#drop(INNER);
      type = u16(b, l3 - 2);
    }
    // An IP packet without its whole fixed header is of no use to anybody, and kernels refuse to strip some of them.
    if (l3 + (type === 0x0800 ? 20 : type === 0x86dd ? 40 : 0) > end) return this.#drop(INNER);
    return this.#combineEcn(b, l3, type, ecn) ? OUTER_TUNNEL : this.#drop(ECN_DROP);
  }

  /** False if the packet must go (RFC 6040 §4.2). */
  #combineEcn(b: Uint8Array, at: number, type: number, outer: number): boolean {
    if (type !== 0x0800 && type !== 0x86dd) return true;
    const inner = ecnOf(b, at, type);
    const combined = combineEcn(inner, outer);
    if (combined < 0) return false;
    if (combined !== inner) setEcn(b, at, type, combined);
    return true;
  }

  /** Type 3 code 4 (RFC 1191): next-hop MTU in bytes 6–7, then the IP header and 8 bytes of what was too big. */
  #icmp4(b: Uint8Array, icmp: number, end: number, t: OuterTables): number {
    const quoted = icmp + 8;
    if (quoted + 28 > end || b[icmp] !== 3 || b[icmp + 1] !== 4) return OUTER_FOREIGN;
    const header = (b[quoted] & 15) * 4;
    if (b[quoted] >>> 4 !== 4 || header < 20 || quoted + header + 8 > end) return OUTER_FOREIGN;
    mapped(b, quoted + 12, this.#src);
    mapped(b, quoted + 16, this.#dst);
    return this.#quoted(b, quoted + header, end, b[quoted + 9], u16(b, icmp + 6), false, t);
  }

  /** Type 2 (RFC 4443 §3.2): MTU in bytes 4–7, then as much of the packet as fits. */
  #icmp6(b: Uint8Array, icmp: number, end: number, t: OuterTables): number {
    const quoted = icmp + 8;
    if (quoted + 48 > end || b[icmp] !== 2 || b[quoted] >>> 4 !== 6) return OUTER_FOREIGN;
    for (let i = 0; i < 16; i++) {
      this.#src[i] = b[quoted + 8 + i];
      this.#dst[i] = b[quoted + 24 + i];
    }
    return this.#quoted(b, quoted + 40, end, b[quoted + 6], Math.min(u32(b, icmp + 4), 65_535), true, t);
  }

  /** The quoted packet must be one that we sent: from a local address to a peer, with our tunnel header. */
  #quoted(b: Uint8Array, l4: number, end: number, proto: number, mtu: number, ipv6: boolean, t: OuterTables): number {
    const peer = t.peerOf(this.#dst);
    if (peer === 0 || !t.isLocal(this.#src) || l4 + 8 > end) return OUTER_FOREIGN;
    const ours =
      t.encap === 'gre'
        ? proto === 47 && u16(b, l4) === GRE_FLAGS && u16(b, l4 + 2) === GRE_TEB
        : proto === 17 && u16(b, l4 + 2) === t.vxlanPort && u16(b, l4) >= SOURCE_PORT_BASE;
    if (!ours) return OUTER_FOREIGN;
    this.peer = peer;
    this.mtu = Math.max(MIN_INNER_MTU, mtu - tunnelOverhead(t.encap, ipv6));
    return OUTER_PATH_MTU;
  }
}

/** IPv4 address on the wire → its 16-byte form. */
function mapped(b: Uint8Array, at: number, out: Uint8Array): void {
  out.fill(0, 0, 10);
  out[10] = 0xff;
  out[11] = 0xff;
  for (let i = 0; i < 4; i++) out[12 + i] = b[at + i];
}
