import { u16 } from './bytes.ts';
import { checksumOf, sumAround } from './checksum.ts';
import { dissect, Layers } from './dissect.ts';
import { ETHERTYPE_IPV4 } from './ethernet.ts';
import { GRE_CHECKSUM_PRESENT, greCheck, greFlags } from './gre.ts';
import { IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_UDP } from './ip-protocol.ts';
import { IPV4_CHECKSUM, ipv4Check, ipv4HeaderSize } from './ipv4.ts';
import { l4Checksum, l4ChecksumField } from './l4.ts';
import { tunnelInner } from './tunnel.ts';
import { udpLength } from './udp.ts';

/** A checksum that is not what it should be. */
export interface WrongChecksum {
  /** 'ipv4', 'icmp', 'icmp6', 'tcp', 'udp' or 'gre' */
  layer: string;
  /** 0 for the frame itself, 1 for the frame in its tunnel, … */
  depth: number;
  /** offset of the checksum's field in the frame */
  offset: number;
  found: number;
  /** what would be right */
  expected: number;
}

/** Frames inside frames that are looked into. */
export const MAX_TUNNEL_DEPTH = 4;

const NAMES: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' };

/**
 * The wrong checksums of a frame: IPv4 header, TCP, UDP, ICMP, ICMPv6, GRE, also inside GRE and VXLAN. Never throws.
 * Not judged: fragments (their checksum spans packets), UDP's 0 ("none"; over IPv6 it is wrong, except on a tunnel,
 * RFC 6936), packets on the way through a routing header, quoted packets, and what `dissect` found faulty.
 * Frames with partial checksums (offloading) are reported: complete them first.
 */
export function verifyChecksums(frame: Uint8Array, end: number = frame.length): WrongChecksum[] {
  const wrong: WrongChecksum[] = [];
  const layers = new Layers();
  let off = 0;
  let stop = end;
  for (let depth = 0; depth < MAX_TUNNEL_DEPTH && off >= 0; depth++) {
    dissect(frame, off, stop, layers);
    verifyOne(frame, layers, depth, wrong);
    off = tunnelInner(frame, layers);
    stop = layers.l3End;
  }
  return wrong;
}

function report(
  wrong: WrongChecksum[],
  layer: string,
  depth: number,
  offset: number,
  found: number,
  expected: number,
): void {
  // Both zeros of one's complement pass a receiver's test where the right one is 0.
  if (found === expected || (found === 0xffff && expected === 0)) return;
  wrong.push({ layer, depth, offset, found, expected });
}

function verifyOne(buf: Uint8Array, layers: Layers, depth: number, wrong: WrongChecksum[]): void {
  const { l3, l4, protocol } = layers;
  if (layers.ethertype === ETHERTYPE_IPV4 && ipv4Check(buf, l3, layers.l3End, true) > 0) {
    const found = u16(buf, l3 + IPV4_CHECKSUM);
    const sum = sumAround(buf, l3, ipv4HeaderSize(buf, l3), l3 + IPV4_CHECKSUM);
    report(wrong, 'ipv4', depth, l3 + IPV4_CHECKSUM, found, checksumOf(sum));
  }
  if (layers.fault !== 0 || l4 < 0 || layers.fragment !== 0 || layers.routed) return;
  if (protocol === IPPROTO_GRE) {
    verifyGre(buf, l4, layers.l3End, depth, wrong);
    return;
  }
  const field = l4ChecksumField(protocol);
  // ICMP over IPv6 and ICMPv6 over IPv4 are nobody's protocol: no checksum is defined.
  const foreign = layers.ethertype === ETHERTYPE_IPV4 ? protocol === 58 : protocol === IPPROTO_ICMP;
  if (field < 0 || foreign) return;
  const found = u16(buf, l4 + field);
  let end = layers.l3End;
  if (protocol === IPPROTO_UDP) {
    if (found === 0 && (layers.ethertype === ETHERTYPE_IPV4 || tunnelInner(buf, layers) >= 0)) return;
    end = l4 + udpLength(buf, l4);
  }
  report(wrong, NAMES[protocol] ?? '', depth, l4 + field, found, l4Checksum(buf, l3, l4, end, protocol));
}

function verifyGre(buf: Uint8Array, off: number, end: number, depth: number, wrong: WrongChecksum[]): void {
  if (greCheck(buf, off, end) < 0 || (greFlags(buf, off) & GRE_CHECKSUM_PRESENT) === 0) return;
  const found = u16(buf, off + 4);
  report(wrong, 'gre', depth, off + 4, found, checksumOf(sumAround(buf, off, end - off, off + 4)));
}
