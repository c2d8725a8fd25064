/* Frame -> flow key: the same walk as extractKey in packages/flow/src/extract.ts, byte for byte. */
#ifndef WEFT_PARSE_H
#define WEFT_PARSE_H

#include "packet.h"

#define MAX_EXTENSION_HEADERS 8
/* Headers that direct access reaches; deeper ones are read by helper. */
#define LINEAR_BYTES 128

static __always_inline int parse_l4(struct __sk_buff *skb, struct weft_pkt *p, __u8 proto, __u32 l4, __u32 end)
{
	p->key.ip_proto = proto;
	p->l4 = l4;
	/* end <= skb->len was checked; l4 may be behind it. */
	if (proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP || proto == PROTO_UDPLITE) {
		__be16 ports[2];
		if (l4 + 4 > end || pkt_load(skb, l4, ports, 4) < 0)
			return -1;
		p->key.tp_src = ports[0];
		p->key.tp_dst = ports[1];
	} else if (proto == PROTO_ICMP || proto == PROTO_ICMPV6) {
		__u8 h[4];
		if (l4 + 4 > end || pkt_load(skb, l4, h, 4) < 0)
			return -1;
		p->key.tp_src = bpf_htons(h[0]);
		p->key.tp_dst = bpf_htons(h[1]);
		if (proto == PROTO_ICMP ? h[0] == 0 || h[0] == 8 : h[0] == 128 || h[0] == 129) {
			__be16 id;
			if (l4 + 8 > end || pkt_load(skb, l4 + 4, &id, 2) < 0)
				return -1;
			p->key.icmp_id = id;
		}
	}
	return 0;
}

static __always_inline void map_v4(__u8 *to, const void *from)
{
	to[10] = 0xff;
	to[11] = 0xff;
	__builtin_memcpy(to + 12, from, 4);
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct weft_pkt *p, __u32 l3)
{
	__u8 *h = pkt_data(skb) + l3;
	if ((void *)h + 20 > pkt_end(skb) || h[0] >> 4 != 4)
		return -1;
	__u32 ihl = (h[0] & 15) * 4;
	__u32 total = (__u32)h[2] << 8 | h[3];
	if (ihl < 20 || l3 + ihl > skb->len || total < ihl || l3 + total > skb->len)
		return -1;
	p->family = 4;
	p->key.ip_tos = h[1];
	p->key.ip_ttl = h[8];
	map_v4(p->key.ip_src, h + 12);
	map_v4(p->key.ip_dst, h + 16);
	__u32 fragment = (__u32)h[6] << 8 | h[7];
	if (fragment & 0x1fff) {
		p->key.ip_proto = h[9];
		p->key.ip_frag = FRAG_LATER;
		return 0;
	}
	if (fragment & 0x2000)
		p->key.ip_frag = FRAG_FIRST;
	return parse_l4(skb, p, h[9], l3 + ihl, l3 + total);
}

/* On the wire such an address (::ffff:a.b.c.d) would pass for IPv4 in the key. No host may send it (RFC 4942 §2.2). */
static __always_inline int is_v4_mapped(const __u8 *address)
{
	__u32 w[3];
	__builtin_memcpy(w, address, sizeof(w));
	return !w[0] && !w[1] && w[2] == bpf_htonl(0xffff);
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct weft_pkt *p, __u32 l3)
{
	__u8 *h = pkt_data(skb) + l3;
	if ((void *)h + 40 > pkt_end(skb) || h[0] >> 4 != 6)
		return -1;
	__u32 at = l3 + 40;
	__u32 end = at + ((__u32)h[4] << 8 | h[5]);
	if (end > skb->len || is_v4_mapped(h + 8) || is_v4_mapped(h + 24))
		return -1;
	p->family = 6;
	p->key.ip_tos = (h[0] & 15) << 4 | h[1] >> 4;
	p->key.ip_ttl = h[7];
	__builtin_memcpy(p->key.ip_src, h + 8, 32);
	__u8 next = h[6];
	for (int n = 0; n <= MAX_EXTENSION_HEADERS; n++) {
		if (next != 44 && next != 0 && next != 43 && next != 60 && next != 51)
			return parse_l4(skb, p, next, at, end);
		__u8 e[4];
		if (n == MAX_EXTENSION_HEADERS || at + 8 > end || bpf_skb_load_bytes(skb, at, e, 4) < 0)
			return -1;
		if (next == 44) {
			__u32 fragment = (__u32)e[2] << 8 | e[3];
			next = e[0];
			at += 8;
			if (fragment & 0xfff8) {
				p->key.ip_proto = next;
				p->key.ip_frag = FRAG_LATER;
				return 0;
			}
			if (fragment & 1)
				p->key.ip_frag = FRAG_FIRST;
		} else {
			/* RFC 4302 counts AH in words of 4 bytes minus 2, RFC 8200 the others in words of 8 minus 1. */
			at += next == 51 ? ((__u32)e[1] + 2) * 4 : ((__u32)e[1] + 1) * 8;
			next = e[0];
		}
		if (at > end)
			return -1;
	}
	return -1;
}

static __always_inline void parse_arp(struct __sk_buff *skb, struct weft_pkt *p, __u32 l3)
{
	__u8 *h = pkt_data(skb) + l3;
	if ((void *)h + 28 > pkt_end(skb))
		return;
	if (h[0] != 0 || h[1] != 1 || h[2] != 8 || h[3] != 0 || h[4] != 6 || h[5] != 4)
		return;
	p->key.arp_op = h[7];
	map_v4(p->key.ip_src, h + 14);
	map_v4(p->key.ip_dst, h + 24);
}

/* Fills p. 0, or -1 if the packet is malformed (p then holds what was read). */
static __always_inline int weft_parse(struct __sk_buff *skb, struct weft_pkt *p, __u32 in_port)
{
	__builtin_memset(p, 0, sizeof(*p));
	p->key.in_port = in_port;
	__u32 want = skb->len;
	if (want > LINEAR_BYTES)
		want = LINEAR_BYTES;
	if (pkt_data(skb) + want > pkt_end(skb))
		bpf_skb_pull_data(skb, want);
	__u8 *eth = pkt_data(skb);
	if ((void *)eth + ETH_LEN > pkt_end(skb))
		return -1;
	__builtin_memcpy(p->key.eth_dst, eth, 6);
	__builtin_memcpy(p->key.eth_src, eth + 6, 6);
	__u32 l3 = ETH_LEN;
	__be16 type;
	__builtin_memcpy(&type, eth + 12, 2);
	__u16 tag = 0;
	if (skb->vlan_present) {
		/* The kernel moves the outer tag out of the bytes before tc sees the frame. */
		tag = skb->vlan_tci | VLAN_PRESENT;
	} else if (type == P_8021Q || type == P_8021AD) {
		if ((void *)eth + ETH_LEN + TAG_LEN > pkt_end(skb))
			return -1;
		tag = ((__u16)eth[14] << 8 | eth[15]) | VLAN_PRESENT;
		__builtin_memcpy(&type, eth + 16, 2);
		l3 = ETH_LEN + TAG_LEN;
	}
	p->tag = tag;
	p->key.vlan = bpf_htons(tag);
	p->key.ether_type = type;
	p->l3 = l3;
	if (type == P_IP)
		return parse_ipv4(skb, p, l3);
	if (type == P_IPV6)
		return parse_ipv6(skb, p, l3);
	if (type == P_ARP)
		parse_arp(skb, p, l3);
	return 0;
}

/* L3 bytes of the largest packet that goes on the wire: of a super-packet its headers and one segment. */
static __always_inline __u32 segment_length(struct __sk_buff *skb, const struct weft_pkt *p)
{
	if (!skb->gso_size || !p->l4)
		return skb->len - p->l3;
	__u32 header = 8;
	if (p->key.ip_proto == PROTO_TCP) {
		__u8 offset;
		if (bpf_skb_load_bytes(skb, p->l4 + 12, &offset, 1) < 0)
			return skb->len - p->l3;
		header = (offset >> 4) * 4;
	}
	return p->l4 - p->l3 + header + skb->gso_size;
}

#endif
