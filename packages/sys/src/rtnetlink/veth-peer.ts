/** The other end of a veth pair, also when it lives in another network namespace. */
import { isErrno } from '../errors.ts';
import type { NetlinkSocket } from '../netlink.ts';
import { NetlinkWriter } from '../netlink-message.ts';
import { type Link, parseLink } from './link.ts';

const RTM_GETLINK = 18;
const IFLA_EXT_MASK = 29;
/** Asks in another namespace, named by its id in ours (include/uapi/linux/if_link.h; needs CAP_NET_ADMIN there). */
const IFLA_TARGET_NETNSID = 46;
const RTEXT_FILTER_SKIP_STATS = 1 << 3;

/**
 * The peer of `link` (as listed now), or undefined: not a veth, gone, or out of reach.
 * `link.linkNetnsid` < 0 means that both ends are in this namespace.
 */
export function vethPeer(nl: NetlinkSocket, link: Link): Link | undefined {
  if (link.kind !== 'veth' || link.link <= 0) return undefined;
  const w = new NetlinkWriter(RTM_GETLINK, 0).rawU8(0, 0).rawU16(0).rawU32(link.link).rawU32(0).rawU32(0);
  w.attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (link.linkNetnsid >= 0) w.attrU32(IFLA_TARGET_NETNSID, link.linkNetnsid);
  try {
    const [message] = nl.request(w, `get the veth peer of ${link.name}`);
    return message && parseLink(message);
  } catch (error) {
    if (isErrno(error, 'ENODEV') || isErrno(error, 'EINVAL') || isErrno(error, 'EPERM')) return undefined;
    throw error;
  }
}
