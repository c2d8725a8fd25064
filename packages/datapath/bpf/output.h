/* Local delivery and floods. */
#ifndef WEFT_OUTPUT_H
#define WEFT_OUTPUT_H

#include "budget.h"
#include "encap.h"

static __always_inline int port_get(__u32 ifindex, struct weft_port *to)
{
	struct weft_port *found = bpf_map_lookup_elem(&weft_ports, &ifindex);
	if (!found)
		return -1;
	__builtin_memcpy(to, found, sizeof(*to));
	barrier();
	return to->ifindex == ifindex ? 0 : -1;
}

/* redirect_peer skips eth_type_trans, untagging and the MAC filter: only for untagged IP whose protocol is already right, to the
 * device's own unicast MAC. Everything else goes out of the host's end. */
static __always_inline int may_peer(struct __sk_buff *skb, const struct weft_port *port)
{
	if (!cfg_use_peer || !port->peerable || skb->vlan_present)
		return 0;
	__u64 eth[2];
	if (pkt_load(skb, 0, eth, ETH_LEN) < 0)
		return 0;
	__be16 type = eth[1] >> 32;
	if ((type != P_IP && type != P_IPV6) || skb->protocol != type || (eth[0] & 1))
		return 0;
	return (eth[0] & 0xffffffffffff) == (get16(port->mac) | (__u64)get32(port->mac + 2) << 16);
}

static __always_inline int deliver(struct __sk_buff *skb, __u32 ifindex, int peer_allowed)
{
	struct weft_port port;
	if (port_get(ifindex, &port) < 0)
		return drop(DROP_NO_EGRESS_PORT);
	if (peer_allowed && may_peer(skb, &port))
		return bpf_redirect_peer(ifindex, 0);
	return bpf_redirect(ifindex, 0);
}

static __always_inline int member_get(__u32 id, __u32 kind, __u32 index, struct weft_member *m)
{
	struct weft_list_key k = { .id = id, .kind = kind, .index = index };
	struct weft_member *found = bpf_map_lookup_elem(&weft_lists, &k);
	if (!found)
		return -1;
	__builtin_memcpy(m, found, sizeof(*m));
	barrier();
	return m->id == id && m->id_tail == id && m->kind_index == (kind << 16 | index) ? 0 : -1;
}

struct flood {
	struct __sk_buff *skb;
	__u32 id;
	__u32 kind;
	__u32 in_port;
	__u32 forwarded;
};

#define FLOOD_CHARGED 1 /* of the port's budget */
#define FLOOD_FORWARDED 2 /* it came from one tunnel into the next already: into no other */

static long flood_member(__u32 i, void *arg)
{
	struct flood *f = arg;
	struct __sk_buff *skb = f->skb;
	struct weft_member m;
	if (member_get(f->id, f->kind, i, &m) < 0)
		return 0; /* replaced under our eyes */
	if (m.remote) {
		if (f->forwarded) {
			count_drop(DROP_FORWARDED_BEFORE);
			return 0;
		}
		/* Clones have no redirect_neigh: the helper veth's program encapsulates, told by the mark what for. */
		skb->mark = m.target;
		if (bpf_clone_redirect(skb, cfg_helper_ifindex, 0) < 0)
			count_drop(DROP_REDIRECT_FAILED);
		skb->mark = 0;
		return 0;
	}
	if (m.target == f->in_port)
		return 0;
	__u32 ifindex = m.target;
	if (!bpf_map_lookup_elem(&weft_ports, &ifindex))
		count_drop(DROP_NO_EGRESS_PORT);
	else if (bpf_clone_redirect(skb, ifindex, 0) < 0)
		count_drop(DROP_REDIRECT_FAILED);
	return 0;
}

/* One copy per member, local ones first (the loader orders them so: they are made of the packet as it is). Never by peer: a VM would take
 * a frame for another's MAC as its own. */
__noinline int weft_flood(struct __sk_buff *skb, __u32 id, __u32 kind, __u32 in_port, __u32 flags)
{
	struct weft_member head;
	if (member_get(id, kind, LIST_HEAD, &head) < 0)
		return drop(DROP_NO_LIST);
	__u32 count = head.target;
	if (count > LIST_MAX)
		count = LIST_MAX;
	if (flags & FLOOD_CHARGED) {
		struct weft_budget *b = bpf_map_lookup_elem(&weft_budgets, &in_port);
		if (!b || !gcra(&b->bum, bpf_ktime_get_ns(), cfg_bum_interval * count, cfg_bum_burst))
			return drop(DROP_BUM_BUDGET);
	}
	struct flood f = { .skb = skb, .id = id, .kind = kind, .in_port = in_port, .forwarded = flags & FLOOD_FORWARDED };
	skb->mark = 0;
	bpf_loop(count, flood_member, &f, 0);
	return TC_ACT_SHOT; /* the original; every copy is on its way */
}

#endif
