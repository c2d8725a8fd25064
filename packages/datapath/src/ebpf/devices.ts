/** Interfaces: those of VMs are cut off from the host's own stack; the helper veth and the GRO device are ours. */
import {
  addressDel,
  addressList,
  isErrno,
  linkAdd,
  linkDel,
  linkGet,
  linkSet,
  type NetlinkSocket,
  setFeature,
  sysctlSet,
} from '@weft/sys';
import { DatapathError } from '../errors.ts';

/** A frame of this size and its outer headers fit the 16 bits of an IP length. */
export const GSO_MAX_SIZE = 65_000;
/** Largest MTU of a veth: the helper carries what ports and tunnels carry. */
const HELPER_MTU = 65_535;

/** IPv6 may be off in the kernel altogether: then there is nothing to switch off. */
function setIfThere(key: readonly string[], value: number): void {
  try {
    sysctlSet(key, value);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** Takes an interface away from the host's stack: no IPv6, no addresses, no ARP answers, no forwarding. Before it is attached and up. */
export function cutOff(nl: NetlinkSocket, ifindex: number): string {
  const link = linkGet(nl, ifindex);
  if (!link) throw new DatapathError('WEFT_DATAPATH_NO_INTERFACE', `there is no interface with index ${ifindex}`);
  const { name } = link;
  setIfThere(['net', 'ipv6', 'conf', name, 'disable_ipv6'], 1);
  setIfThere(['net', 'ipv6', 'conf', name, 'accept_ra'], 0);
  setIfThere(['net', 'ipv6', 'conf', name, 'forwarding'], 0);
  setIfThere(['net', 'ipv4', 'conf', name, 'arp_ignore'], 8);
  setIfThere(['net', 'ipv4', 'conf', name, 'forwarding'], 0);
  try {
    linkSet(nl, ifindex, { addrGenMode: 'none' });
  } catch (error) {
    // Without IPv6 the kernel does not know the attribute.
    if (!isErrno(error, 'EAFNOSUPPORT', 'EOPNOTSUPP', 'EINVAL')) throw error;
  }
  for (const address of addressList(nl, ifindex)) addressDel(nl, ifindex, `${address.address}/${address.prefixLength}`);
  return name;
}

/** Brings a bound interface up, with super-packets that still fit an outer header. */
export function bringUp(nl: NetlinkSocket, ifindex: number): void {
  try {
    linkSet(nl, ifindex, { gsoMaxSize: GSO_MAX_SIZE, gsoIpv4MaxSize: GSO_MAX_SIZE });
  } catch (error) {
    // Some drivers refuse; longer packets are then counted as length_overflow.
    if (!isErrno(error, 'EINVAL', 'EOPNOTSUPP', 'ERANGE')) throw error;
  }
  linkSet(nl, ifindex, { up: true });
}

/**
 * What network cards do by themselves and a veth as the underlay does not:
 *
 * - merge arrivals (GRO), or a guest's TCP takes in every segment by itself (half the throughput with segments of wire size);
 * - over VXLAN, cut UDP super-datagrams (UDP_SEGMENT; QUIC) into those that the guest meant. Nothing cuts them on the way over a
 *   veth, and what comes out of a VXLAN header in one piece keeps the mark of the tunnel: the receiving guest's UDP would cut it as a
 *   tunnel's packet, and lose it.
 */
export function prepareUnderlay(nl: NetlinkSocket, ifindex: number, encap: 'gre' | 'vxlan'): void {
  const link = linkGet(nl, ifindex);
  if (link?.kind !== 'veth') return;
  setFeatureIfThere(link.name, 'rx-gro', true);
  if (encap === 'vxlan') setFeatureIfThere(link.name, 'tx-udp-segmentation', false);
}

function setFeatureIfThere(name: string, feature: string, on: boolean): void {
  try {
    setFeature(name, feature, on);
  } catch (error) {
    // A kernel without it, or an interface that just went away.
    if (!isErrno(error, 'EOPNOTSUPP', 'ENODEV')) throw error;
  }
}

export type Helper = { readonly near: number; readonly far: number };

/** The veth pair over which frames come back into the datapath; made if it is not there. */
export function ensureHelper(nl: NetlinkSocket, instance: string): Helper {
  const [near, far] = helperNames(instance);
  if (!linkGet(nl, near) || !linkGet(nl, far)) {
    linkDel(nl, near);
    linkAdd(nl, { kind: 'veth', name: near, mtu: HELPER_MTU, peer: { name: far, mtu: HELPER_MTU } });
  }
  const indexes = [near, far].map((name) => {
    const { ifindex } = linkGet(nl, name)!;
    cutOff(nl, ifindex);
    return ifindex;
  });
  return { near: indexes[0], far: indexes[1] };
}

/** Names of the helper's ends, at most 15 bytes with an instance of 8. */
export function helperNames(instance: string): [string, string] {
  return [`weft-${instance}x0`, `weft-${instance}x1`];
}

export function groName(instance: string): string {
  return `weft-${instance}gr`;
}

/**
 * A VXLAN device without id or bridge on our port: it makes the kernel merge VXLAN packets before we see them (1.6 times the throughput
 * with wire-size segments). Nothing may ever come out of it: the caller closes its ingress.
 * @returns its index, or 0 when this kernel or port does not allow it
 */
export function ensureGroDevice(nl: NetlinkSocket, instance: string, port: number): number {
  const name = groName(instance);
  try {
    if (!linkGet(nl, name)) linkAdd(nl, { kind: 'vxlan', name, vxlan: { external: true, port, zeroChecksum6: true } });
    const { ifindex } = linkGet(nl, name)!;
    cutOff(nl, ifindex);
    return ifindex;
  } catch (error) {
    if (isErrno(error, 'EEXIST', 'EADDRINUSE', 'EOPNOTSUPP', 'EINVAL')) {
      linkDel(nl, name);
      return 0;
    }
    throw error;
  }
}
