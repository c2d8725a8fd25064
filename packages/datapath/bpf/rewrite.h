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

/* The bytes from off on, n of them (constant), for direct access; 0 if they are not linear. */
static __always_inline void *linear(struct __sk_buff *skb, __u32 off, const __u32 n)
{
	opaque(off);
	if (off > 512)
		return 0;
	void *at = pkt_data(skb) + off;
	return at + n <= pkt_end(skb) ? at : 0;
}

/* RFC 1624: the complement of the old sum, of the words that go, and the words that come. */
static __always_inline int rewrite_ipv4(struct __sk_buff *skb, const struct weft_pkt *p, const struct weft_action *a)
{
	__u8 *h = linear(skb, p->l3, 20);
	if (!h)
		return -1;
	__u64 sum = (__u16)~get16(h + 10);
	if (a->rewrite & RW_DSCP) {
		__u16 old = get16(h), new = (old & 0x03ff) | (__u16)(a->tos & 0xfc) << 8;
		put16(h, new);
		sum += (__u16)~old + (__u64)new;
	}
	if (a->rewrite & RW_TTL) {
		__u16 old = get16(h + 8), new = (old & 0xff00) | (__u8)(old - a->ttl_dec);
		put16(h + 8, new);
		sum += (__u16)~old + (__u64)new;
	}
	if (a->rewrite & RW_IP_SRC) {
		__u32 new = get32(a->ip_src + 12);
		sum += (__u32)~get32(h + 12) + (__u64)new;
		put32(h + 12, new);
	}
	if (a->rewrite & RW_IP_DST) {
		__u32 new = get32(a->ip_dst + 12);
		sum += (__u32)~get32(h + 16) + (__u64)new;
		put32(h + 16, new);
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(h + 10, ~((sum & 0xffff) + (sum >> 16)));
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

/* Two bytes of the transport header. Directly where nothing but the transport checksum has to know. */
static __always_inline int store_l4(struct __sk_buff *skb, __u32 at, const __be16 *value, __u64 flags)
{
	__u8 *h = flags ? 0 : linear(skb, at, 2);
	if (!h)
		return bpf_skb_store_bytes(skb, at, value, 2, flags);
	put16(h, *value);
	return 0;
}

/* `check`: the checksum field as it stands at `at`. */
static __always_inline int rewrite_l4(struct __sk_buff *skb, const struct weft_pkt *p, const struct weft_action *a,
				      __u32 at, __u16 check)
{
	__u8 proto = p->key.ip_proto;
	int udp = proto == PROTO_UDP || proto == PROTO_UDPLITE;
	__u64 zero = udp ? BPF_F_MARK_MANGLED_0 : 0; /* 0: "no checksum"; stays 0 and never arises */
	/* Without a checksum field nothing makes up for the new bytes in a sum over the packet. */
	int none = udp && !check;
	__u64 store = none ? BPF_F_RECOMPUTE_CSUM : 0;
	if (!none && a->csum_pseudo && proto != PROTO_ICMP) {
		__u64 family = p->family == 6 && cfg_have_csum_ipv6 ? CSUM_F_IPV6 : 0;
		if (bpf_l4_csum_replace(skb, at, 0, a->csum_pseudo, BPF_F_PSEUDO_HDR | zero | family) < 0)
			return -1;
	}
	if (!none && a->csum_payload && bpf_l4_csum_replace(skb, at, 0, a->csum_payload, zero) < 0)
		return -1;
	if ((a->rewrite & RW_TP_SRC) && store_l4(skb, p->l4, &a->tp_src, store) < 0)
		return -1;
	if ((a->rewrite & RW_TP_DST) && store_l4(skb, p->l4 + 2, &a->tp_dst, store) < 0)
		return -1;
	if ((a->rewrite & RW_ICMP_ID) && store_l4(skb, p->l4 + 4, &a->icmp_id, store) < 0)
		return -1;
	return 0;
}

static __always_inline int rewrite_ip(struct __sk_buff *skb, struct weft_pkt *p, const struct weft_action *a)
{
	__u32 at = csum_at(p);
	__u16 check = 0;
	int l4 = at && (a->rewrite & (RW_ADDRESSES | RW_L4));
	if (l4 && pkt_load(skb, at, &check, 2) < 0)
		return -1;
	/* Without BPF_F_IPV6 the helper adjusts the packet's sum for the pseudo-header, so the addresses must as well. */
	if (p->family == 4) {
		if ((a->rewrite & (RW_DSCP | RW_TTL | RW_ADDRESSES)) && rewrite_ipv4(skb, p, a) < 0)
			return -1;
	} else if (rewrite_ipv6(skb, p, a, l4 && a->csum_pseudo && cfg_have_csum_ipv6) < 0) {
		return -1;
	}
	return l4 ? rewrite_l4(skb, p, a, at, check) : 0;
}

/* The action's MACs are aligned to 2. */
static __always_inline void put_mac(__u8 *to, const __u8 *from)
{
#pragma unroll
	for (int i = 0; i < 6; i += 2)
		put16(to + i, get16(from + i));
}

static __always_inline int rewrite_macs(struct __sk_buff *skb, const struct weft_action *a)
{
	__u8 *eth = pkt_data(skb);
	if ((void *)eth + ETH_LEN > pkt_end(skb))
		return -1;
	if (a->rewrite & RW_ETH_DST)
		put_mac(eth, a->eth_dst);
	if (a->rewrite & RW_ETH_SRC)
		put_mac(eth + 6, a->eth_src);
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
