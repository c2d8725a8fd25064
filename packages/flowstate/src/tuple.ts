/**
 * Tuples: what a connection is known by. A tuple is ten words,
 *
 *   0      kind (4 bits), protocol (8 bits), number of the device (20 bits)
 *   1      source port << 16 | destination port
 *   2…5    source address, 16 bytes in memory order (IPv4 mapped)
 *   6…9    destination address
 *
 * The identifier of an ICMP echo counts as both ports, so that request and reply are each other's reverse. Protocols
 * without ports have 0 there: they are tracked by their addresses.
 */
import {
  F_ICMP_ID,
  F_IP_DST,
  F_IP_PROTO,
  F_IP_SRC,
  F_TP_DST,
  F_TP_SRC,
  FRAG_LATER,
  K_ETHER_TYPE,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_TP_DST,
  K_TP_SRC,
  readU16,
  TAG_STATE,
  tag,
} from '@weft/flow';
import {
  dissectIp,
  ETHERTYPE_IPV4,
  FRAGMENT_LATER,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  icmpId,
  icmpIsError,
  icmpType,
  ip4ReadWire,
  type Layers,
  u16,
} from '@weft/packet';
import { mixWord } from './hash.ts';
import { addressToWords, wordsAreV4 } from './words.ts';

export const TUPLE_WORDS = 10;
export const T_META = 0;
export const T_PORTS = 1;
export const T_SRC = 2;
export const T_DST = 6;

/** A connection that a rule asked to track. */
export const KIND_CONNTRACK = 1;
/** A translation of the source. */
export const KIND_SNAT = 2;
/** A translation of the destination. */
export const KIND_DNAT = 3;
/** A client's affinity to the target that was once chosen for it; its tuples have source port 0 and no return key. */
export const KIND_STICKY = 4;
export const KIND_LAST = 4;

/** Greatest number of a device in a tuple. */
export const MAX_DEVICE = 0xfffff;

/** First word of a tuple. */
export function tupleMeta(kind: number, device: number, protocol: number): number {
  return device | (kind << 20) | (protocol << 24);
}
export function tupleDevice(meta: number): number {
  return meta & MAX_DEVICE;
}
export function tupleKind(meta: number): number {
  return (meta >>> 20) & 15;
}
export function tupleProtocol(meta: number): number {
  return meta >>> 24;
}

/** Writes a tuple at `words[at …]`. Addresses are 16 bytes at their offsets. */
export function setTuple(
  words: Int32Array,
  at: number,
  meta: number,
  src: Uint8Array,
  srcOffset: number,
  dst: Uint8Array,
  dstOffset: number,
  srcPort: number,
  dstPort: number,
): void {
  words[at] = meta;
  words[at + T_PORTS] = (srcPort << 16) | dstPort;
  addressToWords(src, srcOffset, words, at + T_SRC);
  addressToWords(dst, dstOffset, words, at + T_DST);
}

/** Writes the tuple of the opposite direction. `out` may be `words` only if the places do not overlap. */
export function reverseTuple(words: Int32Array, at: number, out: Int32Array, outAt: number): void {
  const ports = words[at + T_PORTS];
  out[outAt] = words[at];
  out[outAt + T_PORTS] = (ports << 16) | (ports >>> 16);
  for (let i = 0; i < 4; i++) {
    out[outAt + T_SRC + i] = words[at + T_DST + i];
    out[outAt + T_DST + i] = words[at + T_SRC + i];
  }
}

/** What a packet can be tracked by; see {@link tupleOfKey}. */
export const TUPLE_NONE = 0;
/** By addresses and ports, or the identifier of an echo. */
export const TUPLE_PORTS = 1;
/** By addresses only: a protocol without ports, an ICMP message that is neither echo nor error. */
export const TUPLE_ADDRESSES = 2;
/** An ICMP error: it belongs to the connection of the packet that it quotes, see {@link tupleOfQuote}. */
export const TUPLE_QUOTE = 3;

/** Whether the ports of a protocol stand in the first four bytes of its header. */
export function hasPorts(protocol: number): boolean {
  return (
    protocol === IPPROTO_TCP || protocol === IPPROTO_UDP || protocol === IPPROTO_SCTP || protocol === IPPROTO_UDPLITE
  );
}

function isEcho(protocol: number, type: number): boolean {
  return protocol === IPPROTO_ICMP
    ? type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY
    : type === ICMPV6_ECHO_REQUEST || type === ICMPV6_ECHO_REPLY;
}

/** ICMPv6 counts types below 128 as errors (RFC 4443 §2.1). */
function isError(protocol: number, type: number): boolean {
  return protocol === IPPROTO_ICMP ? icmpIsError(type) : type < 128;
}

/** Flow-key fields (F_… bits) that {@link tupleOfKey} read for a result: they belong into the flow's mask. */
export function tupleReads(protocol: number): number {
  const ports = hasPorts(protocol) || protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6;
  const addresses = F_IP_SRC | F_IP_DST | F_IP_PROTO;
  const icmp = protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6 ? F_ICMP_ID : 0;
  return addresses | (ports ? F_TP_SRC | F_TP_DST : 0) | icmp;
}

/**
 * Writes the tuple of the packet that the flow key at `base` describes.
 * @returns TUPLE_PORTS or TUPLE_ADDRESSES when written; TUPLE_QUOTE for an ICMP error and TUPLE_NONE for what is not IP, or is
 * a later fragment whose first one is not known: then `words` are untouched
 */
export function tupleOfKey(
  key: Uint8Array,
  base: number,
  kind: number,
  device: number,
  words: Int32Array,
  at: number,
): number {
  const type = readU16(key, base + K_ETHER_TYPE);
  if (type !== 0x0800 && type !== 0x86dd) return TUPLE_NONE;
  const protocol = key[base + K_IP_PROTO];
  let result = TUPLE_ADDRESSES;
  let srcPort = 0;
  let dstPort = 0;
  if (hasPorts(protocol)) {
    srcPort = readU16(key, base + K_TP_SRC);
    dstPort = readU16(key, base + K_TP_DST);
    // The datapath fills in a later fragment's ports from the first one; 0 and 0 mean that it did not know it.
    if (key[base + K_IP_FRAG] === FRAG_LATER && srcPort === 0 && dstPort === 0) return TUPLE_NONE;
    result = TUPLE_PORTS;
  } else if (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) {
    const icmp = key[base + K_TP_SRC + 1];
    const id = readU16(key, base + K_ICMP_ID);
    if (key[base + K_IP_FRAG] === FRAG_LATER && icmp === 0 && id === 0) return TUPLE_NONE;
    if (isEcho(protocol, icmp)) {
      srcPort = id;
      dstPort = id;
      result = TUPLE_PORTS;
    } else if (isError(protocol, icmp)) return TUPLE_QUOTE;
  }
  setTuple(words, at, tupleMeta(kind, device, protocol), key, base + K_IP_SRC, key, base + K_IP_DST, srcPort, dstPort);
  return result;
}

const quoteAddresses = new Uint8Array(32);

/**
 * Writes the tuple of the packet that an ICMP error quotes; `packet[offset]` is the quoted IP header's first byte.
 *
 * With `reversed` the tuple is that of the quoted packet's *answers*: the way in which the error itself travels. Looked up
 * so, the direction that matches is the error's: DIR_RETURN means that it is about a packet of the forward direction as it
 * left the device, DIR_FORWARD that it is about one of the return direction as it left.
 * @param layers scratch, overwritten; afterwards it says where the quoted headers stand
 * @returns TUPLE_PORTS or TUPLE_ADDRESSES, else TUPLE_NONE: malformed, a later fragment, itself an error, or too short for
 * its ports
 */
export function tupleOfQuote(
  packet: Uint8Array,
  offset: number,
  end: number,
  reversed: boolean,
  kind: number,
  device: number,
  layers: Layers,
  words: Int32Array,
  at: number,
): number {
  if (dissectIp(packet, offset, end, layers, true) !== 0) return TUPLE_NONE;
  if (layers.fragment === FRAGMENT_LATER || layers.l4 < 0) return TUPLE_NONE;
  const protocol = layers.protocol;
  const l4 = layers.l4;
  let result = TUPLE_ADDRESSES;
  let srcPort = 0;
  let dstPort = 0;
  if (hasPorts(protocol)) {
    if (l4 + 4 > end) return TUPLE_NONE;
    srcPort = u16(packet, l4);
    dstPort = u16(packet, l4 + 2);
    result = TUPLE_PORTS;
  } else if (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) {
    if (l4 + 8 > end) return TUPLE_NONE;
    const type = icmpType(packet, l4);
    if (isEcho(protocol, type)) {
      srcPort = icmpId(packet, l4);
      dstPort = srcPort;
      result = TUPLE_PORTS;
    } else if (isError(protocol, type)) return TUPLE_NONE;
  }
  const src = reversed ? 16 : 0;
  if (layers.ethertype === ETHERTYPE_IPV4) {
    ip4ReadWire(packet, layers.l3 + 12, quoteAddresses, src);
    ip4ReadWire(packet, layers.l3 + 16, quoteAddresses, 16 - src);
  } else {
    for (let i = 0; i < 16; i++) {
      quoteAddresses[src + i] = packet[layers.l3 + 8 + i];
      quoteAddresses[16 - src + i] = packet[layers.l3 + 24 + i];
    }
  }
  setTuple(
    words,
    at,
    tupleMeta(kind, device, protocol),
    quoteAddresses,
    0,
    quoteAddresses,
    16,
    reversed ? dstPort : srcPort,
    reversed ? srcPort : dstPort,
  );
  // An IPv6 header with a mapped address would pass for IPv4 (RFC 4942 §2.2).
  if (layers.ethertype !== ETHERTYPE_IPV4 && (wordsAreV4(words, at + T_SRC) || wordsAreV4(words, at + T_DST))) {
    return TUPLE_NONE;
  }
  return result;
}

/** The flow tag of a tuple: of flows that looked it up, found or not. */
export function stateTag(words: Int32Array, at: number): number {
  let h = words[at];
  for (let i = T_PORTS; i < TUPLE_WORDS; i++) h = mixWord(h, words[at + i]);
  return tag(TAG_STATE, h, words[at], words[at + T_PORTS]);
}
