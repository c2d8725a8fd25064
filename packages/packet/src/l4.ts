import { setU16 } from './bytes.ts';
import { checksumOf, pseudoSum4, pseudoSum6, sumAround } from './checksum.ts';
import { ICMP_CHECKSUM } from './icmp.ts';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP } from './ip-protocol.ts';
import { IPV4_SRC } from './ipv4.ts';
import { IPV6_SRC } from './ipv6.ts';
import { TCP_CHECKSUM } from './tcp.ts';
import { UDP_CHECKSUM } from './udp.ts';

/* Checksums that L4 headers share: over header, payload and (except ICMP for IPv4) a pseudo-header of the IP layer. */

/** Offset of the checksum in the header of an L4 protocol, or -1 when it has none that is known here. */
export function l4ChecksumField(protocol: number): number {
  if (protocol === IPPROTO_TCP) return TCP_CHECKSUM;
  if (protocol === IPPROTO_UDP) return UDP_CHECKSUM;
  return protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6 ? ICMP_CHECKSUM : -1;
}

/** Folded-later sum of the pseudo-header for the L4 packet of `length` bytes behind the IP header at `ip` (0 for ICMP). */
export function l4PseudoSum(buf: Uint8Array, ip: number, protocol: number, length: number): number {
  if (protocol === IPPROTO_ICMP) return 0;
  return buf[ip] >>> 4 === 4
    ? pseudoSum4(buf, ip + IPV4_SRC, protocol, length)
    : pseudoSum6(buf, ip + IPV6_SRC, protocol, length);
}

/**
 * The checksum that the L4 packet `buf[l4, end)` ought to have, whatever its field holds now.
 * @param ip offset of the IP header whose addresses count
 * @returns the value to be written (UDP: 0xffff for 0), or -1 for protocols without a known checksum
 */
export function l4Checksum(buf: Uint8Array, ip: number, l4: number, end: number, protocol: number): number {
  const field = l4ChecksumField(protocol);
  if (field < 0) return -1;
  const check = checksumOf(sumAround(buf, l4, end - l4, l4 + field, l4PseudoSum(buf, ip, protocol, end - l4)));
  return protocol === IPPROTO_UDP && check === 0 ? 0xffff : check;
}

/** Computes and writes the checksum of the L4 packet `buf[l4, end)`. */
export function l4FillChecksum(buf: Uint8Array, ip: number, l4: number, end: number, protocol: number): void {
  const field = l4ChecksumField(protocol);
  if (field < 0) return;
  setU16(buf, l4 + field, l4Checksum(buf, ip, l4, end, protocol));
}
