/** Why a simulation drops, in words. The names are those of DROP_REASONS; docs/METRICS.md has all of them. */
import type { DropReason } from '@weft/flow';

const WORDS: Partial<Record<DropReason, string>> = {
  no_port: 'the port does not exist',
  malformed: 'headers are cut off or contradict each other',
  no_egress_port: 'no port is left to go to',
  port_unbound: 'the port of exit is not live on this host: no interface, or none yet',
  mcast_source: 'the source MAC is a group address',
  hairpin: 'it would leave by the port that it came by, or the flood has nobody to go to',
  admin_down: 'its administrative state is down',
  filtered: 'a rule of a filter dropped it',
  no_route: 'the router has no route to the destination whose port is up and active',
  blackhole: 'the route is a black hole',
  rejected: 'a rule or a route rejected it',
  ttl_expired: 'its TTL has run out',
  no_neighbour: 'the next hop does not answer ARP or neighbour discovery',
  unplugged: 'the port is neither bound nor linked to another',
  device_limit: 'it came through too many devices, as in a loop, or to too many ports',
  unknown_device: 'the device does not exist',
  wrong_mac: 'its destination MAC is not that of the router port',
  not_for_router: 'routers do not forward such packets',
  local_delivered: 'it was for the router or bridge itself, which answered or ignored it',
  peer_unreachable: 'there is no tunnel to the host of the port: not in a common tunnel zone, or no way there',
  vlan_unsupported: 'a VLAN tag that the port or device does not take',
  too_big: 'it does not fit into the tunnel',
  super_packet_cut: 'only its beginning came up, and answering takes all of it',
  rewrite_failed: 'it cannot be rewritten as decided',
  nat_exhausted: 'a rule is to translate it, and nothing that it may be given is left for its peer',
  nat_fragment: 'a rule is to translate it by its ports, and they are not known of a later fragment without the first',
  cap_connections: 'it belongs to or begins too many connections, or there is no room for another one',
  chain_limit: 'its filter jumped too often or too deep',
};

/** A sentence for a drop reason; '' if the name says it all. */
export function dropWords(reason: string): string {
  return WORDS[reason as DropReason] ?? '';
}
