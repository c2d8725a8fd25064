/* Every table. The layout of keys and values is hashed into the name of the pin directory, and described in weft_layout: change one, and the
 * next agent fills tables of its own from these before it swaps the programs. A field of another meaning gets another name; in a record
 * that an earlier build wrote, a new field is 0. */
#ifndef WEFT_MAPS_H
#define WEFT_MAPS_H

#include "config.h"

/* A bound interface. */
struct weft_port {
	__u32 ifindex;
	__u8 pad0;
	__u8 peerable;
	__u8 mac[6]; /* of the device behind the port; zeros: unknown */
	__u32 pad;
	__u64 upcall_interval; /* ns per upcall, also per KiB of upcalled bytes */
	__u64 upcall_burst; /* ns */
};

/* Theoretical arrival times (GCRA), moved by compare-and-exchange only. */
struct weft_budget {
	__u64 miss;
	__u64 bytes;
	__u64 notice; /* ttl, too_big, tcp flags: never starve behind misses, nor starve them */
	__u64 big; /* super-packets */
	__u64 bum;
};

struct weft_counter {
	__u64 packets;
	__u64 bytes;
};

/* Family and address stand as in struct bpf_redir_neigh. Family 0: the FIB is asked, which over IPv6 picks among several paths without
 * heeding the interface. */
struct weft_tunnel {
	__u32 peer;
	__u16 mtu; /* L3 bytes of an inner packet */
	__u8 ipv6;
	__u8 count; /* of ways, 1 … 4: the first one stands here, all of them in weft_hops */
	__u32 ifindex;
	__u32 family;
	__u32 address[4];
	__u8 local[16];
	__u8 remote[16];
	__u32 peer_tail;
	__u32 pad;
} __attribute__((aligned(8)));

/* One way to a peer; its number is peer << 2 | place among the tunnel's ways. */
struct weft_hop {
	__u32 number;
	__u32 ifindex;
	__u32 family;
	__u32 address[4];
	__u32 number_tail;
} __attribute__((aligned(8)));

/* What a port's flows look like, so that few classes are probed in vain: an empty class still costs a cold bucket. Set before a flow goes in,
 * cleared after the last one that needs it is out; a bit too many costs a probe. Ports of equal ifindex modulo FILTER_ROWS share a row.
 * Rewritten in place: every bit stands for itself. */
#define FILTER_ROWS 1024
struct weft_filter {
	__u32 classes; /* bit c: there are flows of mask class c */
	__u32 pad[15];
	__u32 bits[WEFT_MASK_CLASSES][16]; /* by filter_bit() of the masked key */
};

/* Ports of the first fragment of a datagram, for the later ones. */
#define FRAGMENT_SLOTS 256
#define FRAGMENT_ENTRIES 32768
struct weft_fragment_key {
	__u32 in_port;
	__u32 slot;
};
struct weft_fragment {
	__u64 time; /* of the first fragment, CLOCK_MONOTONIC in ns */
	__u32 datagram[9]; /* the key's words from ether_type to ip_dst */
	__u32 id;
	__u32 proto;
	__u32 pad;
	__u64 l4; /* the key's last word: ports, or ICMP type, code and id */
	__u64 time_tail;
};

struct weft_address {
	__u8 bytes[16];
} __attribute__((aligned(8)));

/* Where a tunnel key delivers. */
struct weft_egress {
	__u32 key;
	__u32 port; /* ifindex, 0: every member of list (LIST_EGRESS, key) */
	__u32 pad;
	__u32 key_tail;
};

#define UPCALL_REASONS 16

#define LIST_FLOOD 0
#define LIST_EGRESS 1
#define LIST_HEAD 0xffff
#define LIST_MAX 4096

/* Lists are kept as one element per member: a member fits the stack and can be checked as a whole. */
struct weft_list_key {
	__u32 id;
	__u16 kind;
	__u16 index; /* LIST_HEAD: target holds the number of members */
};

struct weft_member {
	__u32 id;
	__u32 kind_index; /* kind << 16 | index */
	__u32 target; /* ifindex of a local port, or the mark of a replica */
	__u32 remote;
	__u32 id_tail;
};

/* A remote copy of a flood, found by mark on the helper veth. */
struct weft_replica {
	__u32 mark;
	__u32 peer;
	__u32 key;
	__u32 mark_tail;
};

/* An action to be executed on one frame, found by mark on the helper veth. */
struct weft_exec {
	__u32 mark;
	__u32 pad;
	struct weft_action action;
};

#define MARK_EXEC 0x80000000
#define MARK_REPLICA 0x40000000
#define MARK_NEIGH 0x20000000 /* | number of the hop: outer headers are complete */
#define MARK_KIND 0xe0000000
#define EXEC_SLOTS 4096
#define REPLICA_SLOTS 65536 /* the bits between slot and kind are a generation */

#define PIN_NAME(type_, key_, value_, entries_, name_, flags_)                                                    \
	struct {                                                                                                   \
		__uint(type, type_);                                                                               \
		__type(key, key_);                                                                                 \
		__type(value, value_);                                                                             \
		__uint(max_entries, entries_);                                                                     \
		__uint(map_flags, flags_);                                                                         \
	} name_ SEC(".maps")

/* The loader replaces entries of weft_flows, weft_first_keys and weft_counters, and the size of weft_ring. An element of weft_flows,
 * with the kernel's own words, is to stay within 256 bytes: the next size that it is rounded up to is 512. */
PIN_NAME(BPF_MAP_TYPE_HASH, struct weft_key, struct weft_action, 65536, weft_flows, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_ARRAY, __u32, struct weft_counter, 1, weft_counters, BPF_F_MMAPABLE);
PIN_NAME(BPF_MAP_TYPE_ARRAY, __u32, struct weft_filter, FILTER_ROWS, weft_filters, BPF_F_MMAPABLE);
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_port, 4096, weft_ports, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_budget, 4096, weft_budgets, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_tunnel, 16384, weft_tunnels, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_hop, 65536, weft_hops, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, struct weft_address, __u32, 16384, weft_peers, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, struct weft_address, __u32, 256, weft_locals, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_egress, 65536, weft_egress, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, struct weft_list_key, struct weft_member, 1048576, weft_lists, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_replica, 65536, weft_replicas, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_exec, 4096, weft_execs, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_LRU_HASH, struct weft_fragment_key, struct weft_fragment, FRAGMENT_ENTRIES, weft_fragments, 0);
/* The second half of each is user space's: what tables of another layout had counted. So is weft_counters' last row, behind those of the CPUs. */
PIN_NAME(BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, DROP_REASONS_COUNT * 2, weft_drops, 0);
PIN_NAME(BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, UPCALL_REASONS * 2, weft_upcalls, 0);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} weft_ring SEC(".maps");

/* User space only: what adoption needs to know and programs do not. */
/* These tables and the flows in them described (JSON, the rest 0), for a build that has others. */
struct weft_layout {
	char text[16384];
};
PIN_NAME(BPF_MAP_TYPE_ARRAY, __u32, struct weft_layout, 1, weft_layout, 0);
/* By counter slot, the key of the packet that made the flow. */
PIN_NAME(BPF_MAP_TYPE_ARRAY, __u32, struct weft_key, 1, weft_first_keys, BPF_F_MMAPABLE);
struct weft_port_info {
	char name[16];
	char port_id[48];
	__u32 upcall_rate;
	__u32 upcall_burst;
};
struct weft_tunnel_info {
	char host_id[48];
};
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_port_info, 4096, weft_port_info, BPF_F_NO_PREALLOC);
PIN_NAME(BPF_MAP_TYPE_HASH, __u32, struct weft_tunnel_info, 16384, weft_tunnel_info, BPF_F_NO_PREALLOC);

/* Budgets of what no port sends: flow state and path MTU (weft_budgets has ports only). */
#define GLOBAL_FLOW_STATE 0
#define GLOBAL_PATH_MTU 1
#define GLOBAL_HOST 2
#define GLOBAL_BUDGETS 3
PIN_NAME(BPF_MAP_TYPE_ARRAY, __u32, __u64, GLOBAL_BUDGETS, weft_global_budgets, 0);

#endif
