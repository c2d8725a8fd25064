/**
 * Rewrites headers in a packet's bytes, checksums included. Flows do that in the datapath; here it is for what no flow's action
 * can express: the packet quoted in an ICMP error, and the packet that a device's answer is about.
 */
import { K_ICMP_ID, K_IP_DST, K_IP_SRC, K_TP_DST, K_TP_SRC, readU16 } from '@weft/flow';
import {
  checksumApply,
  deltaBytes,
  deltaWord,
  dissectIp,
  ETHERTYPE_IPV4,
  ICMP_CHECKSUM,
  ICMP_ECHO_ID,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_UDP,
  IPV4_CHECKSUM,
  IPV4_DST,
  IPV4_SRC,
  IPV6_DST,
  IPV6_SRC,
  ip4ReadWire,
  Layers,
  l4ChecksumField,
  setU16,
  u16,
  udpChecksumApply,
} from '@weft/packet';
import { QUOTE } from './track.ts';
import type { Walk } from './walk.ts';

const before = new Uint8Array(16);

/**
 * Replaces source or destination of the packet whose headers stand where `layers` says; what is not in the bytes is left alone.
 * @param address 16 bytes at `at` (of an IPv4 packet the last four count)
 * @param port new port or echo identifier; -1: it stays
 * @param end offset behind the bytes of the packet
 * @returns the change of the one's complement sum over all bytes that changed: for a checksum that covers them
 */
function rewriteEnd(
  bytes: Uint8Array,
  layers: Layers,
  end: number,
  source: boolean,
  address: Uint8Array,
  at: number,
  port: number,
): number {
  const { l3, l4, protocol } = layers;
  const v4 = layers.ethertype === ETHERTYPE_IPV4;
  const size = v4 ? 4 : 16;
  const field = l3 + (v4 ? (source ? IPV4_SRC : IPV4_DST) : source ? IPV6_SRC : IPV6_DST);
  for (let i = 0; i < size; i++) before[i] = bytes[field + i];
  bytes.set(address.subarray(at + 16 - size, at + 16), field);
  const addresses = deltaBytes(0, before, 0, bytes, field, size);
  let total = addresses;
  if (v4) total = replaceSum(bytes, l3 + IPV4_CHECKSUM, addresses, false, total);
  if (l4 < 0) return total;
  let changed = protocol === IPPROTO_ICMP ? 0 : addresses;
  if (port >= 0) {
    const echo = protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6;
    const word = l4 + (echo ? ICMP_ECHO_ID : source ? 0 : 2);
    if (word + 2 <= end) {
      const ports = deltaWord(0, u16(bytes, word), port);
      setU16(bytes, word, port);
      changed = deltaWord(changed, 0xffff, ports);
      total = deltaWord(total, 0xffff, ports);
    }
  }
  const check = l4ChecksumField(protocol);
  if (check < 0 || l4 + check + 2 > end) return total;
  return replaceSum(bytes, l4 + check, changed, protocol === IPPROTO_UDP, total);
}

/** Applies `delta` to the checksum at `at`; adds the change of the checksum itself to `total`. */
function replaceSum(bytes: Uint8Array, at: number, delta: number, udp: boolean, total: number): number {
  const old = u16(bytes, at);
  const fresh = udp ? udpChecksumApply(old, delta) : checksumApply(old, delta);
  setU16(bytes, at, fresh);
  return deltaWord(total, old, fresh);
}

/**
 * Translates the packet that the ICMP error at hand quotes; `w.frame` becomes a copy. `w.quoted` must say where its headers are.
 * @param address 16 bytes at `at` @param port new port or echo identifier of the quoted packet; -1: it stays
 */
export function rewriteQuote(w: Walk, source: boolean, address: Uint8Array, at: number, port: number): void {
  const { l3, l3Length, l4 } = w.layout;
  const frame = w.frame.slice(0, w.have);
  const end = Math.min(w.have, l3 + l3Length);
  const delta = rewriteEnd(frame, w.quoted, end, source, address, at, port);
  setU16(frame, l4 + ICMP_CHECKSUM, checksumApply(u16(frame, l4 + ICMP_CHECKSUM), delta));
  w.frame = frame;
}

/** Writes source (or destination) of the packet quoted in the ICMP error at hand as 16 bytes; false if it cannot be told. */
export function quotedAddress(w: Walk, source: boolean, out: Uint8Array): boolean {
  if (!w.headers() || w.layout.l4 === 0) return false;
  const { l3, l3Length, l4 } = w.layout;
  if (dissectIp(w.frame, l4 + QUOTE, Math.min(w.have, l3 + l3Length), w.quoted, true) !== 0) return false;
  const at = w.quoted.l3;
  if (w.quoted.ethertype === ETHERTYPE_IPV4) ip4ReadWire(w.frame, at + (source ? IPV4_SRC : IPV4_DST), out, 0);
  else for (let i = 0; i < 16; i++) out[i] = w.frame[at + (source ? IPV6_SRC : IPV6_DST) + i];
  return true;
}

/** Whether source (or destination) of the packet quoted in the ICMP error at hand is this address. */
export function quotes(w: Walk, source: boolean, address: Uint8Array, at: number): boolean {
  const { l3, l3Length, l4 } = w.layout;
  // A later fragment of an error quotes nothing.
  if (l4 === 0) return false;
  const end = Math.min(w.have, l3 + l3Length);
  if (dissectIp(w.frame, l4 + QUOTE, end, w.quoted, true) !== 0) return false;
  const v4 = w.quoted.ethertype === ETHERTYPE_IPV4;
  const size = v4 ? 4 : 16;
  const field = w.quoted.l3 + (v4 ? (source ? IPV4_SRC : IPV4_DST) : source ? IPV6_SRC : IPV6_DST);
  for (let i = 0; i < size; i++) if (w.frame[field + i] !== address[at + 16 - size + i]) return false;
  return true;
}

const layers = new Layers();

/**
 * The frame with the addresses and ports that `key` has, as a device sees it behind translations. The same bytes when nothing was
 * translated, or the headers cannot be found.
 */
export function frameAs(w: Walk, key: Uint8Array): Uint8Array {
  const { original, frame } = w;
  const source = differs(original, key, K_IP_SRC, 16) || differs(original, key, K_TP_SRC, 2);
  const destination = differs(original, key, K_IP_DST, 16) || differs(original, key, K_TP_DST, 2);
  const id = differs(original, key, K_ICMP_ID, 2);
  if ((!source && !destination && !id) || !w.headers()) return frame;
  const { l3, l3Length } = w.layout;
  const end = Math.min(w.have, l3 + l3Length);
  if (dissectIp(frame, l3, end, layers, true) !== 0) return frame;
  const copy = frame.slice(0, w.have);
  const echo = layers.protocol === IPPROTO_ICMP || layers.protocol === IPPROTO_ICMPV6;
  // An identifier counts with the source; of other ICMP messages there is none.
  const sourcePort = echo ? (id ? readU16(key, K_ICMP_ID) : -1) : readU16(key, K_TP_SRC);
  if (source || id) rewriteEnd(copy, layers, end, true, key, K_IP_SRC, sourcePort);
  if (destination) rewriteEnd(copy, layers, end, false, key, K_IP_DST, echo ? -1 : readU16(key, K_TP_DST));
  return copy;
}

function differs(a: Uint8Array, b: Uint8Array, offset: number, size: number): boolean {
  for (let i = offset; i < offset + size; i++) if (a[i] !== b[i]) return true;
  return false;
}
