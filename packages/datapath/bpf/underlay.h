/* What arrives by an underlay interface: ours is taken, the rest is the host's. */
#ifndef WEFT_UNDERLAY_H
#define WEFT_UNDERLAY_H

#include "pathmtu.h"

/* True if the source is nobody's tunnel: then GRE is the host's own business. Counted: an intruder's looks the same. */
static __always_inline int foreign_gre(const struct weft_address *source)
{
	if (bpf_map_lookup_elem(&weft_peers, source))
		return 0;
	count_drop(DROP_FOREIGN_GRE);
	return 1;
}

static __always_inline int is_vxlan(struct __sk_buff *skb, __u32 l4)
{
	__be16 ports[2] __attribute__((aligned(8)));
	return pkt_load(skb, l4, ports, 4) == 0 && ports[1] == bpf_htons(cfg_vxlan_port);
}

static __always_inline void put_v4(struct weft_address *to, __u32 address)
{
	put64(to, 0);
	put64(to->bytes + 8, bpf_htonl(0xffff) | (__u64)address << 32);
}

static __always_inline int underlay_ipv4(struct __sk_buff *skb)
{
	PKT_BYTES(h, 20);
	if (pkt_load(skb, ETH_LEN, h, 20) < 0)
		return TCX_NEXT;
	__u8 proto = h[9];
	if (proto != PROTO_ICMP && proto != (cfg_encap == ENCAP_VXLAN ? PROTO_UDP : PROTO_GRE))
		return TCX_NEXT;
	__u32 fragment = ((__u32)h[6] << 8 | h[7]) & 0x3fff;
	__u32 ihl = (h[0] & 15) * 4;
	__u32 l4 = ETH_LEN + (ihl < 20 ? 20 : ihl);
	if (proto == PROTO_UDP && ((fragment & 0x1fff) || !is_vxlan(skb, l4)))
		return TCX_NEXT;
	struct weft_address source, local;
	put_v4(&source, get32(h + 12));
	put_v4(&local, get32(h + 16));
	if (!is_local(&local))
		return TCX_NEXT;
	if (proto == PROTO_ICMP) {
		PKT_BYTES(m, 8);
		if (fragment || pkt_load(skb, l4, m, 8) < 0 || m[0] != 3 || m[1] != 4)
			return TCX_NEXT;
		return path_mtu(skb, l4 + 8, (__u32)m[6] << 8 | m[7], 0);
	}
	if (proto == PROTO_GRE && foreign_gre(&source))
		return TCX_NEXT;
	if (fragment)
		return drop(DROP_OUTER_FRAGMENT);
	__u32 end = ETH_LEN + ((__u32)h[2] << 8 | h[3]);
	if (h[0] >> 4 != 4 || ihl < 20 || end > skb->len || l4 > end)
		return drop(DROP_OUTER_LENGTH);
	struct arrival a = { .l4 = l4, .end = end, .ecn = h[1] & 3 };
	return decapsulate(skb, &a, &source);
}

static __always_inline int underlay_ipv6(struct __sk_buff *skb)
{
	PKT_BYTES(h, 40);
	if (pkt_load(skb, ETH_LEN, h, 40) < 0)
		return TCX_NEXT;
	__u8 proto = h[6];
	if (proto != PROTO_ICMPV6 && proto != 44 && proto != (cfg_encap == ENCAP_VXLAN ? PROTO_UDP : PROTO_GRE))
		return TCX_NEXT;
	__u32 l4 = ETH_LEN + 40;
	if (proto == PROTO_UDP && !is_vxlan(skb, l4))
		return TCX_NEXT;
	struct weft_address source, local;
	copy_words(&source, h + 8, 16);
	copy_words(&local, h + 24, 16);
	if (!is_local(&local))
		return TCX_NEXT;
	if (proto == 44)
		return TCX_NEXT; /* extension headers before ours: the host's */
	if (proto == PROTO_ICMPV6) {
		PKT_BYTES(m, 8);
		if (pkt_load(skb, l4, m, 8) < 0 || m[0] != 2 || m[4] || m[5])
			return TCX_NEXT;
		return path_mtu(skb, l4 + 8, (__u32)m[6] << 8 | m[7], 1);
	}
	if (proto == PROTO_GRE && foreign_gre(&source))
		return TCX_NEXT;
	__u32 end = l4 + ((__u32)h[4] << 8 | h[5]);
	if (h[0] >> 4 != 6 || end > skb->len)
		return drop(DROP_OUTER_LENGTH);
	struct arrival a = { .l4 = l4, .end = end, .ecn = h[1] >> 4 & 3, .ipv6 = 1 };
	return decapsulate(skb, &a, &source);
}

#endif
