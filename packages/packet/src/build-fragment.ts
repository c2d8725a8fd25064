import { setU16, setU32, u16 } from './bytes.ts';
import { dissect, Layers } from './dissect.ts';
import { needRange, orThrow, PacketError } from './errors.ts';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.ts';
import { IPPROTO_DSTOPTS, IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_ROUTING } from './ip-protocol.ts';
import {
  IPV4_DF,
  IPV4_FLAGS_FRAGMENT,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IPV4_OPTION_END,
  IPV4_OPTION_NOP,
  IPV4_OPTIONS,
  IPV4_TOTAL_LENGTH,
  ipv4FillChecksum,
  ipv4HeaderSize,
} from './ipv4.ts';
import { IPV6_NEXT_HEADER, IPV6_PAYLOAD_LENGTH, IPV6_SIZE } from './ipv6.ts';
import { IPV6_FRAGMENT_MORE, IPV6_FRAGMENT_SIZE, IPV6_MAX_EXTENSIONS } from './ipv6-ext.ts';

/* Fragmentation (RFC 791 §3.2, RFC 8200 §4.5), for tests and for senders that must. */

/**
 * Splits a frame's IP packet into frames whose packets have at most `mtu` bytes; a packet that fits comes back alone.
 * @param id identification for IPv6 (IPv4 keeps the packet's own)
 * @throws PacketError WEFT_PACKET_FIELD when IPv4 says "don't fragment", the packet is an IPv6 fragment, or `mtu`
 * leaves no room for eight bytes of data
 */
export function fragmentFrame(frame: Uint8Array, mtu: number, id = 0): Uint8Array[] {
  const layers = new Layers();
  orThrow(dissect(frame, 0, frame.length, layers), layers.layer, layers.l3);
  needRange(id, 0xffff_ffff, 'ip', 'fragment id', layers.l3);
  const { l3, l3End } = layers;
  if (l3End - l3 <= mtu) return [frame];
  if (layers.ethertype === ETHERTYPE_IPV4) return fragment4(frame, l3, l3End, mtu);
  if (layers.ethertype === ETHERTYPE_IPV6 && layers.ipv6.fragmentHeader < 0)
    return fragment6(frame, l3, l3End, mtu, id);
  throw refuse(l3, 'only whole IPv6 packets and IPv4 packets can be split.');
}

function refuse(offset: number, why: string): PacketError {
  return new PacketError('WEFT_PACKET_FIELD', 'ip', offset, `This frame cannot be fragmented: ${why}`);
}

/** Room for data in a fragment, a multiple of 8. */
function roomFor(mtu: number, head: number, offset: number): number {
  const room = (mtu - head) & ~7;
  if (!(room >= 8)) throw refuse(offset, `an MTU of ${mtu} leaves no room beside ${head} bytes of headers.`);
  return room;
}

/** The header of later fragments: only options with the copied bit (RFC 791 §3.1). */
function laterHeader4(frame: Uint8Array, ip: number): Uint8Array {
  const size = ipv4HeaderSize(frame, ip);
  const head = new Uint8Array(size);
  head.set(frame.subarray(ip, ip + IPV4_OPTIONS));
  let to = IPV4_OPTIONS;
  for (let at = IPV4_OPTIONS; at < size && frame[ip + at] !== IPV4_OPTION_END; ) {
    const length = frame[ip + at] === IPV4_OPTION_NOP ? 1 : frame[ip + at + 1];
    if (length < 1 || at + length > size || (length === 1 && frame[ip + at] !== IPV4_OPTION_NOP)) {
      throw new PacketError('WEFT_PACKET_MALFORMED', 'ipv4', ip + at, 'ipv4: options are broken.');
    }
    if (frame[ip + at] & 0x80) {
      head.set(frame.subarray(ip + at, ip + at + length), to);
      to += length;
    }
    at += length;
  }
  const used = (to + 3) & ~3;
  head[0] = 0x40 | (used >>> 2);
  return head.subarray(0, used);
}

function fragment4(frame: Uint8Array, ip: number, end: number, mtu: number): Uint8Array[] {
  const flags = u16(frame, ip + IPV4_FLAGS_FRAGMENT);
  if (flags & IPV4_DF) throw refuse(ip, 'IPv4 "don\'t fragment" is set.');
  const first = frame.subarray(ip, ip + ipv4HeaderSize(frame, ip));
  const later = laterHeader4(frame, ip);
  const out: Uint8Array[] = [];
  const data = ip + first.length;
  for (let at = data; at < end; ) {
    const head = at === data ? first : later;
    const last = end - at <= mtu - head.length;
    const size = last ? end - at : roomFor(mtu, head.length, ip);
    const offset = (flags & IPV4_OFFSET_MASK) + ((at - data) >>> 3);
    if (offset > IPV4_OFFSET_MASK) throw refuse(ip, 'as a fragment it reaches beyond 65,535 bytes.');
    const piece = new Uint8Array(ip + head.length + size);
    piece.set(frame.subarray(0, ip));
    piece.set(head, ip);
    piece.set(frame.subarray(at, at + size), ip + head.length);
    setU16(piece, ip + IPV4_TOTAL_LENGTH, head.length + size);
    setU16(piece, ip + IPV4_FLAGS_FRAGMENT, (last ? flags & IPV4_MF : IPV4_MF) | offset);
    ipv4FillChecksum(piece, ip);
    out.push(piece);
    at += size;
  }
  return out;
}

/** Headers that every fragment carries: up to the last hop-by-hop or routing header. Returns {end, offset of the next-header field}. */
function unfragmentable(frame: Uint8Array, ip: number): { end: number; field: number } {
  let end = ip + IPV6_SIZE;
  let field = ip + IPV6_NEXT_HEADER;
  let at = end;
  let protocol = frame[field];
  let seen = field;
  for (let i = 0; i < IPV6_MAX_EXTENSIONS; i++) {
    if (protocol !== IPPROTO_HOPOPTS && protocol !== IPPROTO_ROUTING && protocol !== IPPROTO_DSTOPTS) break;
    const keep = protocol !== IPPROTO_DSTOPTS;
    seen = at;
    protocol = frame[at];
    at += (frame[at + 1] + 1) << 3;
    if (keep) {
      end = at;
      field = seen;
    }
  }
  return { end, field };
}

function fragment6(frame: Uint8Array, ip: number, end: number, mtu: number, id: number): Uint8Array[] {
  const fixed = unfragmentable(frame, ip);
  const head = fixed.end - ip + IPV6_FRAGMENT_SIZE;
  const out: Uint8Array[] = [];
  for (let at = fixed.end; at < end; ) {
    const last = end - at <= mtu - head;
    const size = last ? end - at : roomFor(mtu, head, ip);
    const piece = new Uint8Array(ip + head + size);
    piece.set(frame.subarray(0, fixed.end));
    piece[fixed.end] = frame[fixed.field];
    piece[fixed.field] = IPPROTO_FRAGMENT;
    setU16(piece, fixed.end + 2, (at - fixed.end) | (last ? 0 : IPV6_FRAGMENT_MORE));
    setU32(piece, fixed.end + 4, id);
    piece.set(frame.subarray(at, at + size), fixed.end + IPV6_FRAGMENT_SIZE);
    setU16(piece, ip + IPV6_PAYLOAD_LENGTH, piece.length - ip - IPV6_SIZE);
    out.push(piece);
    at += size;
  }
  return out;
}
