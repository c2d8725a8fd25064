import { u16, u32 } from './bytes.ts';
import { FAULT_TRUNCATED, FAULT_UNSUPPORTED } from './errors.ts';
import {
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  IPPROTO_AH,
  IPPROTO_DSTOPTS,
  IPPROTO_FRAGMENT,
  IPPROTO_HOPOPTS,
  IPPROTO_ROUTING,
} from './ip-protocol.ts';
import { IPV6_SIZE, ipv6NextHeader } from './ipv6.ts';

/*
 * IPv6 extension headers (RFC 8200 §4), walked to the L4 header: hop-by-hop options, routing, destination options,
 * fragment, AH. Bound and kinds are those of the flow key, so that no packet has one L4 header for the kernel's flows
 * and another here. Order and number of kinds are not judged, for the same reason (hosts do). A longer chain is
 * refused, never half read.
 */

/** Extension headers that are walked. */
export const IPV6_MAX_EXTENSIONS = 8;

/** Bytes of a fragment header. */
export const IPV6_FRAGMENT_SIZE = 8;
export const IPV6_FRAGMENT_OFFSET_FLAGS = 2;
export const IPV6_FRAGMENT_ID = 4;
/** "More fragments" in the offset word; the offset is in its upper 13 bits. */
export const IPV6_FRAGMENT_MORE = 1;

/** Result of a walk. Make one, use it for every packet. */
export class Ipv6Walk {
  /** Protocol of what the walk ended at: L4, ESP, IPPROTO_NONE or a header that is not walked. */
  protocol = 0;
  /** Offset of that header in the buffer. */
  l4 = 0;
  /** FRAGMENT_NONE, FRAGMENT_FIRST or FRAGMENT_LATER. */
  fragment = FRAGMENT_NONE;
  /** Bytes that precede this fragment's data in the packet. */
  fragmentOffset = 0;
  /** Identification of the fragment header, in [0, 2^32); 0 without one. */
  fragmentId = 0;
  /** Offset of the fragment header, or -1. */
  fragmentHeader = -1;
  /** Offset of the field that names `protocol` (for taking headers out or putting them in). */
  protocolField = 0;
  /** Offset of a routing header with segments left, or -1: then the L4 checksum is not over the header's destination. */
  routing = -1;
}

/**
 * Walks from the checked fixed header at `off` to the L4 header.
 * Behind a later fragment's header nothing is read; of two fragment headers the last counts.
 * @param end offset behind the packet (fixed header + payload length, or less when quoted)
 * @returns 0 and fills `out`, or a FAULT
 */
export function ipv6Walk(buf: Uint8Array, off: number, end: number, out: Ipv6Walk): number {
  let protocol = ipv6NextHeader(buf, off);
  let field = off + 6;
  let at = off + IPV6_SIZE;
  out.fragment = FRAGMENT_NONE;
  out.fragmentOffset = 0;
  out.fragmentId = 0;
  out.fragmentHeader = -1;
  out.routing = -1;
  for (let walked = 0; ; walked++) {
    const known =
      protocol === IPPROTO_HOPOPTS ||
      protocol === IPPROTO_ROUTING ||
      protocol === IPPROTO_DSTOPTS ||
      protocol === IPPROTO_FRAGMENT ||
      protocol === IPPROTO_AH;
    if (!known || out.fragment === FRAGMENT_LATER) break;
    if (walked === IPV6_MAX_EXTENSIONS) return FAULT_UNSUPPORTED;
    if (end - at < 8) return FAULT_TRUNCATED;
    let size = (buf[at + 1] + 1) << 3;
    if (protocol === IPPROTO_FRAGMENT) {
      size = IPV6_FRAGMENT_SIZE;
      const word = u16(buf, at + IPV6_FRAGMENT_OFFSET_FLAGS);
      out.fragmentHeader = at;
      out.fragmentOffset = word & 0xfff8;
      out.fragmentId = u32(buf, at + IPV6_FRAGMENT_ID);
      if (out.fragmentOffset !== 0) out.fragment = FRAGMENT_LATER;
      else if ((word & IPV6_FRAGMENT_MORE) !== 0) out.fragment = FRAGMENT_FIRST;
    } else if (protocol === IPPROTO_AH) {
      size = (buf[at + 1] + 2) << 2;
    } else if (protocol === IPPROTO_ROUTING && buf[at + 3] !== 0) {
      out.routing = at;
    }
    if (end - at < size) return FAULT_TRUNCATED;
    field = at;
    protocol = buf[at];
    at += size;
  }
  out.protocol = protocol;
  out.l4 = at;
  out.protocolField = field;
  return 0;
}
