/* The header rewrite of an action. Checksums take two deltas: a partial checksum holds only the pseudo-header's sum, so
 * addresses must be folded into it and ports must not. */
#ifndef WEFT_REWRITE_H
#define WEFT_REWRITE_H

#include "packet.h"

#define RW_ADDRESSES (RW_IP_SRC | RW_IP_DST)
#define RW_L4 (RW_TP_SRC | RW_TP_DST | RW_ICMP_ID)

/* Offset of the transport checksum, 0: none that we keep. */
static __always_inline __u32 csum_at(const struct weft_pkt *p)
{
	if (!p->l4)
		return 0;
	switch (p->key.ip_proto) {
	case PROTO_TCP:
		return p->l4 + 16;
	case PROTO_UDP:
	case PROTO_UDPLITE:
		return p->l4 + 6;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		return p->l4 + 2;
	}
	return 0;
}

static __always_inline int rewrite_ipv4(struct __sk_buff *skb, const struct weft_pkt *p, const struct weft_action *a)
{
	__u32 l3 = p->l3;
	opaque(l3);
	if (l3 > ETH_LEN + TAG_LEN)
		return -1;
	__u8 *h = pkt_data(skb) + l3;
	if ((void *)h + 20 > pkt_end(skb))
		return -1;
	__u32 old[5], new[5];
	__builtin_memcpy(old, h, 20);
	__builtin_memcpy(new, h, 20);
	__u8 *n = (__u8 *)new;
	if (a->rewrite & RW_DSCP)
		n[1] = (n[1] & 3) | (a->tos & 0xfc);
	if (a->rewrite & RW_TTL)
		n[8] -= a->ttl_dec;
	if (a->rewrite & RW_IP_SRC)
		__builtin_memcpy(&new[3], a->ip_src + 12, 4);
	if (a->rewrite & RW_IP_DST)
		__builtin_memcpy(&new[4], a->ip_dst + 12, 4);
	__u16 check = *(__u16 *)(n + 10);
	__u64 sum = (__u32)bpf_csum_diff(old, 20, new, 20, 0);
	sum += (__u32)~(__u32)check;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(__u16 *)(n + 10) = ~sum;
	__builtin_memcpy(h, new, 20);
	return 0;
}

/* IPv6 has no header checksum that would make up for a change: a NIC's sum over the packet (CHECKSUM_COMPLETE) must follow, except for
 * addresses whose change the transport checksum takes up. */
static __always_inline int rewrite_ipv6(struct __sk_buff *skb, const struct weft_pkt *p, const struct weft_action *a,
					int compensated)
{
	__u64 flags = compensated ? 0 : BPF_F_RECOMPUTE_CSUM;
	if (a->rewrite & (RW_DSCP | RW_TTL)) {
		__u8 h[8];
		if (bpf_skb_load_bytes(skb, p->l3, h, 8) < 0)
			return -1;
		if (a->rewrite & RW_DSCP) {
			__u8 tos = (p->key.ip_tos & 3) | (a->tos & 0xfc);
			h[0] = (h[0] & 0xf0) | tos >> 4;
			h[1] = (h[1] & 0x0f) | tos << 4;
		}
		if (a->rewrite & RW_TTL)
			h[7] -= a->ttl_dec;
		if (bpf_skb_store_bytes(skb, p->l3, h, 8, BPF_F_RECOMPUTE_CSUM) < 0)
			return -1;
	}
	if ((a->rewrite & RW_IP_SRC) && bpf_skb_store_bytes(skb, p->l3 + 8, a->ip_src, 16, flags) < 0)
		return -1;
	if ((a->rewrite & RW_IP_DST) && bpf_skb_store_bytes(skb, p->l3 + 24, a->ip_dst, 16, flags) < 0)
		return -1;
	return 0;
}

static __always_inline int rewrite_l4(struct __sk_buff *skb, const struct weft_pkt *p, const struct weft_action *a,
				      __u32 at)
{
	__u8 proto = p->key.ip_proto;
	int udp = proto == PROTO_UDP || proto == PROTO_UDPLITE;
	__u64 zero = udp ? BPF_F_MARK_MANGLED_0 : 0; /* 0: "no checksum"; stays 0 and never arises */
	/* Without a checksum field nothing makes up for the new bytes in a sum over the packet. */
	__u64 store = 0;
	if (udp) {
		__u16 check;
		if (bpf_skb_load_bytes(skb, at, &check, 2) < 0)
			return -1;
		if (!check)
			store = BPF_F_RECOMPUTE_CSUM;
	}
	if (a->csum_pseudo && proto != PROTO_ICMP) {
		__u64 family = p->family == 6 && cfg_have_csum_ipv6 ? CSUM_F_IPV6 : 0;
		if (bpf_l4_csum_replace(skb, at, 0, a->csum_pseudo, BPF_F_PSEUDO_HDR | zero | family) < 0)
			return -1;
	}
	if (a->csum_payload && bpf_l4_csum_replace(skb, at, 0, a->csum_payload, zero) < 0)
		return -1;
	if ((a->rewrite & RW_TP_SRC) && bpf_skb_store_bytes(skb, p->l4, &a->tp_src, 2, store) < 0)
		return -1;
	if ((a->rewrite & RW_TP_DST) && bpf_skb_store_bytes(skb, p->l4 + 2, &a->tp_dst, 2, store) < 0)
		return -1;
	if ((a->rewrite & RW_ICMP_ID) && bpf_skb_store_bytes(skb, p->l4 + 4, &a->icmp_id, 2, store) < 0)
		return -1;
	return 0;
}

static __always_inline int rewrite_ip(struct __sk_buff *skb, struct weft_pkt *p, const struct weft_action *a)
{
	__u32 at = csum_at(p);
	int l4 = at && (a->rewrite & (RW_ADDRESSES | RW_L4));
	if (l4) {
		__u16 probe;
		if (bpf_skb_load_bytes(skb, at, &probe, 2) < 0)
			return -1;
	}
	/* Without BPF_F_IPV6 the helper adjusts the packet's sum for the pseudo-header, so the addresses must as well. */
	if (p->family == 4) {
		if ((a->rewrite & (RW_DSCP | RW_TTL | RW_ADDRESSES)) && rewrite_ipv4(skb, p, a) < 0)
			return -1;
	} else if (rewrite_ipv6(skb, p, a, l4 && a->csum_pseudo && cfg_have_csum_ipv6) < 0) {
		return -1;
	}
	return l4 ? rewrite_l4(skb, p, a, at) : 0;
}

static __always_inline int rewrite_macs(struct __sk_buff *skb, const struct weft_action *a)
{
	__u8 *eth = pkt_data(skb);
	if ((void *)eth + ETH_LEN > pkt_end(skb))
		return -1;
	if (a->rewrite & RW_ETH_DST)
		__builtin_memcpy(eth, a->eth_dst, 6);
	if (a->rewrite & RW_ETH_SRC)
		__builtin_memcpy(eth + 6, a->eth_src, 6);
	return 0;
}

static __always_inline int rewrite_vlan(struct __sk_buff *skb, const struct weft_action *a)
{
	if ((a->rewrite & RW_VLAN_POP) && bpf_skb_vlan_pop(skb) < 0)
		return -1;
	if ((a->rewrite & RW_VLAN_PUSH) && bpf_skb_vlan_push(skb, P_8021Q, a->vlan_tci) < 0)
		return -1;
	return 0;
}

/* 0, or -1: the packet is to be dropped (it may be half rewritten). p's offsets are void afterwards if the tag moved. */
static __always_inline int weft_rewrite(struct __sk_buff *skb, struct weft_pkt *p, const struct weft_action *a)
{
	if ((a->rewrite & (RW_ETH_DST | RW_ETH_SRC)) && rewrite_macs(skb, a) < 0)
		return -1;
	if (p->family && (a->rewrite & (RW_DSCP | RW_TTL | RW_ADDRESSES | RW_L4)) && rewrite_ip(skb, p, a) < 0)
		return -1;
	if ((a->rewrite & (RW_VLAN_POP | RW_VLAN_PUSH)) && rewrite_vlan(skb, a) < 0)
		return -1;
	return 0;
}

#endif
