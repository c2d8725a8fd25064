/**
 * Sockets that keep the host from answering tunnel packets with ICMP unreachables: this driver only watches the interface,
 * so the host's stack sees the packets as well. They receive nothing: a filter drops all.
 */
import { AF_INET, AF_INET6, bind, close, isErrno, SOCK_DGRAM, SOCK_RAW, setsockopt, socket } from '@weft/sys';
import type { Encap } from '../oracle/index.ts';
import { attachFilter, FILTER_NOTHING } from './filter.ts';

const IPPROTO_UDP = 17;
const IPPROTO_GRE = 47;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;

function open(family: number, encap: Encap, vxlanPort: number): number {
  const fd = encap === 'gre' ? socket(family, SOCK_RAW, IPPROTO_GRE) : socket(family, SOCK_DGRAM, IPPROTO_UDP);
  try {
    attachFilter(fd, FILTER_NOTHING);
    if (encap === 'vxlan') {
      if (family === AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
      const address = new Uint8Array(family === AF_INET6 ? 28 : 16); // sockaddr_in6, sockaddr_in: any address
      const view = new DataView(address.buffer);
      view.setUint16(0, family, true);
      view.setUint16(2, vxlanPort, false);
      bind(fd, address, `UDP port ${vxlanPort}`);
    }
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Opens them for both families. A port that is taken, or a family that the kernel lacks, needs none. */
export function openQuietSockets(encap: Encap, vxlanPort: number): number[] {
  const fds: number[] = [];
  for (const family of [AF_INET, AF_INET6]) {
    try {
      fds.push(open(family, encap, vxlanPort));
    } catch (error) {
      if (isErrno(error, 'EADDRINUSE', 'EAFNOSUPPORT')) continue;
      for (const fd of fds) close(fd);
      throw error;
    }
  }
  return fds;
}
