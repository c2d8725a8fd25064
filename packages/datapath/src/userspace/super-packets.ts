/** How large the packets may be that a port's interface hands over uncut. */
import { isErrno, linkSet, type NetlinkSocket } from '@weft/sys';

/** A super-packet longer than this could not be sent on: outer headers would pass 64 KiB. */
const GSO_MAX = 65_000;

export function limitSuperPackets(netlink: NetlinkSocket, ifindex: number): void {
  try {
    linkSet(netlink, ifindex, { gsoMaxSize: GSO_MAX, gsoIpv4MaxSize: GSO_MAX });
  } catch (error) {
    // Kernels before 6.3 have no limit of IPv4's own; then 64 KiB is the default anyway.
    if (!isErrno(error, 'EINVAL', 'EOPNOTSUPP', 'ENOTSUPP')) throw error;
  }
}
