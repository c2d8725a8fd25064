/**
 * The compiled action of a flow: one header rewrite, one output. Fixed layout, shared with the C programs through the
 * generated header. Hash elements in the kernel are recycled without a grace period, so the first and the last word carry
 * the same flow id, and the action repeats its owner; a program copies the action once and checks all three.
 *
 * A flow's value is the action followed by the flow's first packet key: what a restarted agent simulates again before it
 * trusts an adopted flow. Programs need the action alone; the eBPF driver keeps the key beside the table, by counter slot.
 *
 * Flows outlive the build that stored them: another build knows fields, flags and outputs by their names. A new meaning is a new name, and a
 * new field means "as before" when it is 0.
 */

/** Name, offset, size. Multi-byte numbers are little endian except those marked `be` in ACTION_BE. */
export const ACTION_FIELDS = [
  ['idHead', 0, 8],
  ['ownerPort', 8, 4],
  ['ownerClass', 12, 1],
  ['output', 13, 1],
  ['flags', 14, 2],
  ['rewrite', 16, 2],
  ['ttlDec', 18, 1],
  ['tos', 19, 1],
  ['vlanTci', 20, 2],
  ['mtu', 22, 2],
  ['ethDst', 24, 6],
  ['ethSrc', 30, 6],
  ['ipSrc', 36, 16],
  ['ipDst', 52, 16],
  ['tpSrc', 68, 2],
  ['tpDst', 70, 2],
  ['icmpId', 72, 2],
  ['reason', 74, 2],
  ['csumPseudo', 76, 4],
  ['csumPayload', 80, 4],
  ['outPort', 84, 4],
  ['tunnelKey', 88, 4],
  ['counterSlot', 92, 4],
  ['spare', 96, 8],
  ['idTail', 104, 8],
] as const;

/** Fields in network byte order. */
export const ACTION_BE: readonly string[] = ['tpSrc', 'tpDst', 'icmpId'];

export const ACTION_SIZE = 112;
/** Offset of the first packet's key behind the action. */
export const FLOW_FIRST_KEY = 112;
/** Size of a flow's value: the action and the first packet's key. */
export const FLOW_VALUE_SIZE = 176;

export const A_ID_HEAD = 0;
export const A_OWNER_PORT = 8;
export const A_OWNER_CLASS = 12;
export const A_OUTPUT = 13;
export const A_FLAGS = 14;
export const A_REWRITE = 16;
export const A_TTL_DEC = 18;
export const A_TOS = 19;
export const A_VLAN_TCI = 20;
export const A_MTU = 22;
export const A_ETH_DST = 24;
export const A_ETH_SRC = 30;
export const A_IP_SRC = 36;
export const A_IP_DST = 52;
export const A_TP_SRC = 68;
export const A_TP_DST = 70;
export const A_ICMP_ID = 72;
export const A_REASON = 74;
export const A_CSUM_PSEUDO = 76;
export const A_CSUM_PAYLOAD = 80;
export const A_OUT_PORT = 84;
export const A_TUNNEL_KEY = 88;
export const A_COUNTER_SLOT = 92;
export const A_ID_TAIL = 104;

/** `output`: what becomes of the packet after the rewrite. */
export const OUT_DROP = 0;
/** To the local interface with ifindex `outPort`. */
export const OUT_PORT = 1;
/** To peer host number `outPort` under `tunnelKey`. */
export const OUT_TUNNEL = 2;
/** To every member of replicate list `outPort`. */
export const OUT_LIST = 3;
/** To user space, every packet, with reason UPCALL_ACTION. */
export const OUT_UPCALL = 4;

/** `flags` */
/** Local output may use `bpf_redirect_peer`: untagged IPv4/IPv6 unicast to the port's own MAC over a veth into another namespace. */
export const AF_PEER = 1 << 0;
/** Packets with FIN or RST go up beside being forwarded (connection tracking; a hit would hide them). */
export const AF_REPORT_TCP_FLAGS = 1 << 1;

/** `rewrite`: which fields of the action are written into the packet. */
export const RW_ETH_DST = 1 << 0;
export const RW_ETH_SRC = 1 << 1;
export const RW_IP_SRC = 1 << 2;
export const RW_IP_DST = 1 << 3;
export const RW_TP_SRC = 1 << 4;
export const RW_TP_DST = 1 << 5;
export const RW_ICMP_ID = 1 << 6;
/** The upper six bits of `tos` replace the packet's DSCP; ECN is kept. */
export const RW_DSCP = 1 << 7;
/** TTL or hop limit falls by `ttlDec`; a packet with less or as much goes up with UPCALL_TTL instead. */
export const RW_TTL = 1 << 8;
/** Push a tag with `vlanTci` (TPID 0x8100); together with RW_VLAN_POP: replace the tag. */
export const RW_VLAN_PUSH = 1 << 9;
export const RW_VLAN_POP = 1 << 10;

/** Why a packet came up. */
export const UPCALL_MISS = 1;
export const UPCALL_TTL = 2;
export const UPCALL_TOO_BIG = 3;
export const UPCALL_ACTION = 4;
export const UPCALL_TCP_FLAGS = 5;
/** A router of the underlay says that one of our tunnel packets was too big: outPort of the record = peer, mtu given. */
export const UPCALL_PATH_MTU = 6;
/** A datagram of host-to-host flow state (tunnel key FLOW_STATE_KEY). */
export const UPCALL_FLOW_STATE = 7;

/** Tunnel key of host-to-host messages; never a port's or a flood set's. */
export const FLOW_STATE_KEY = 0xffffff;

/**
 * Beside a tunnel key on the wire: the frame came out of a tunnel here and went into the next, because its port has moved. It goes into no
 * third one, whatever hosts believe of where the port is.
 */
export const KEY_FORWARDED = 0x80000000;

/** Why the datapath or the simulator dropped a packet: the counters' index, the same on both sides. Appended to, never reordered. */
export const DROP_REASONS = [
  'none',
  'flow_drop',
  'no_port',
  'malformed',
  'upcall_budget',
  'ring_full',
  'flow_raced',
  'no_tunnel',
  'no_list',
  'no_egress_port',
  'encap_failed',
  'decap_failed',
  'redirect_failed',
  'too_big',
  'length_overflow',
  'outer_fragment',
  'outer_length',
  'outer_flags',
  'outer_unknown_peer',
  'outer_unknown_key',
  'inner_malformed',
  'bum_budget',
  'exec_raced',
  'rewrite_failed',
  'port_unbound',
  'mcast_source',
  'hairpin',
  'admin_down',
  'filtered',
  'no_route',
  'blackhole',
  'rejected',
  'ttl_expired',
  'no_neighbour',
  'unplugged',
  'device_limit',
  'unknown_device',
  'wrong_mac',
  'not_for_router',
  'waiting_room_full',
  'waiting_room_expired',
  'cap_macs',
  'cap_flows',
  'cap_neighbours',
  'local_delivered',
  'peer_unreachable',
  'vlan_unsupported',
  'super_packet_cut',
  'stale_record',
  'chain_limit',
  'foreign_gre',
  'upcall_overload',
  'nat_exhausted',
  'nat_fragment',
  'cap_connections',
  'forwarded_before',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** Index of a drop reason. */
export function dropReason(name: DropReason): number {
  return DROP_REASONS.indexOf(name);
}
