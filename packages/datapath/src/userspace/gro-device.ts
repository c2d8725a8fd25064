/**
 * Merged arrivals over VXLAN: with a VXLAN device on our port the kernel puts the segments of a guest's TCP stream together before
 * packet sockets see them, one packet instead of forty. It also takes the tunnel packets that the host's own stack sees, so that
 * nobody answers them.
 */
import { isErrno, linkDel, linkSet, type NetlinkSocket } from '@weft/sys';
import { ensureGroDevice, groName } from '../ebpf/devices.ts';
import { isolate } from './isolate.ts';

/**
 * Makes the device and closes its ingress.
 * @returns false where this kernel has none, or where no program keeps what comes out of it away from the host: then there is none
 */
export function openGroDevice(nl: NetlinkSocket, instance: string, vxlanPort: number): boolean {
  const ifindex = ensureGroDevice(nl, instance, vxlanPort);
  if (ifindex === 0) return false;
  // Before it is up: nothing comes out of it yet.
  if (!isolate(nl, ifindex, groName(instance))) {
    closeGroDevice(nl, instance);
    return false;
  }
  try {
    linkSet(nl, ifindex, { up: true });
    return true;
  } catch (error) {
    closeGroDevice(nl, instance);
    // The port is someone else's: nothing is merged then.
    if (isErrno(error, 'EADDRINUSE', 'EEXIST')) return false;
    throw error;
  }
}

export function closeGroDevice(nl: NetlinkSocket, instance: string): void {
  linkDel(nl, groName(instance));
}
