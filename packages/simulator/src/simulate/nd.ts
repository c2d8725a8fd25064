/** Neighbour discovery messages: are they to be believed? */
import { ICMP_CHECKSUM, IPPROTO_ICMPV6, l4Checksum, ndCheck, ndTrusted, u16 } from '@weft/packet';
import type { Walk } from './walk.ts';

/**
 * Offset in the frame of a neighbour message that obeys RFC 4861 §7.1 (sizes, options, hop limit, addresses, checksum), else 0.
 * Reads the payload.
 */
export function checkedNd(w: Walk): number {
  if (!w.headers()) return 0;
  const { l3, l4, l3Length } = w.layout;
  const end = l3 + l3Length;
  if (l4 === 0 || w.have < end) return 0;
  if (ndCheck(w.frame, l4, end) < 0 || !ndTrusted(w.frame, l3, l4, end)) return 0;
  return l4Checksum(w.frame, l3, l4, end, IPPROTO_ICMPV6) === u16(w.frame, l4 + ICMP_CHECKSUM) ? l4 : 0;
}
