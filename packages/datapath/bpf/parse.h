/* Frame -> flow key: the same walk as extractKey in packages/flow/src/extract.ts, byte for byte. */
#ifndef WEFT_PARSE_H
#define WEFT_PARSE_H

#include "packet.h"

#define MAX_EXTENSION_HEADERS 8

/* The key as eight words, so that it is written and masked without partial stores. struct weft_key says what is where:
 *   0 in_port, eth_src (4)      4 ip_src (last 4), ip_dst (first 4)
 *   1 eth_src (2), eth_dst      5 ip_dst
 *   2 ether_type, vlan, ip_src  6 ip_dst (last 4), proto, tos, ttl, fragment
 *   3 ip_src                    7 tp_src, tp_dst, icmp_id, arp_op, mask_class
 */
#define KEY_WORDS(p) ((__u64 *)&(p)->key)
#define V4_MAPPED_WORD 0xffff000000000000ULL

static __always_inline __u64 word6(__u32 address, __u8 proto, __u8 tos, __u8 ttl, __u8 fragment)
{
	return address | (__u64)proto << 32 | (__u64)tos << 40 | (__u64)ttl << 48 | (__u64)fragment << 56;
}

/* The packet's bytes, the first n of them for direct access if there are so many. Never more than headers: payload that is pulled out
 * of the pages it lies in is copied here, lies unaligned for the receiver, and keeps TCP there from joining packets. */
static __always_inline __u8 *head_bytes(struct __sk_buff *skb, __u32 n)
{
	if (pkt_data(skb) + n > pkt_end(skb) && n <= skb->len)
		bpf_skb_pull_data(skb, n);
	void *at = pkt_data(skb);
	opaque(at); /* or the compiler adds to it in 32 bits, and the verifier no longer knows a pointer */
	return at;
}

/* Writes the key's last word. */
static __always_inline int parse_l4(struct __sk_buff *skb, struct weft_pkt *p, __u8 proto, __u32 l4, __u32 end)
{
	p->l4 = l4;
	KEY_WORDS(p)[7] = 0;
	/* end <= skb->len was checked; l4 may be behind it. */
	if (proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP || proto == PROTO_UDPLITE) {
		__u32 ports;
		if (l4 + 4 > end || pkt_load(skb, l4, &ports, 4) < 0)
			return -1;
		KEY_WORDS(p)[7] = ports;
	} else if (proto == PROTO_ICMP || proto == PROTO_ICMPV6) {
		__u32 head;
		if (l4 + 4 > end || pkt_load(skb, l4, &head, 4) < 0)
			return -1;
		__u64 type = head & 0xff, code = head >> 8 & 0xff, id = 0;
		if (proto == PROTO_ICMP ? type == 0 || type == 8 : type == 128 || type == 129) {
			__u16 word;
			if (l4 + 8 > end || pkt_load(skb, l4 + 4, &word, 2) < 0)
				return -1;
			id = word;
		}
		KEY_WORDS(p)[7] = type << 8 | code << 24 | id << 32;
	}
	return 0;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct weft_pkt *p, __u32 l3)
{
	__u64 *k = KEY_WORDS(p);
	__u8 *h = head_bytes(skb, l3 + 20) + l3;
	if ((void *)h + 20 > pkt_end(skb) || h[0] >> 4 != 4)
		return -1;
	__u32 ihl = (h[0] & 15) * 4;
	__u32 total = bpf_ntohs(get16(h + 2));
	if (ihl < 20 || l3 + ihl > skb->len || total < ihl || l3 + total > skb->len)
		return -1;
	p->family = 4;
	__u32 fragment = bpf_ntohs(get16(h + 6));
	__u8 class = fragment & 0x1fff ? FRAG_LATER : fragment & 0x2000 ? FRAG_FIRST : FRAG_NONE;
	__u8 proto = h[9];
	k[3] = V4_MAPPED_WORD;
	k[4] = get32(h + 12);
	k[5] = V4_MAPPED_WORD;
	k[6] = word6(get32(h + 16), proto, h[1], h[8], class);
	if (class == FRAG_LATER) {
		k[7] = 0;
		return 0;
	}
	return parse_l4(skb, p, proto, l3 + ihl, l3 + total);
}

/* On the wire such an address (::ffff:a.b.c.d) would pass for IPv4 in the key. No host may send it (RFC 4942 §2.2). */
static __always_inline int is_v4_mapped(const __u8 *address)
{
	return !get64(address) && get32(address + 8) == bpf_htonl(0xffff);
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct weft_pkt *p, __u32 l3)
{
	__u8 *h = head_bytes(skb, l3 + 40) + l3;
	if ((void *)h + 40 > pkt_end(skb) || h[0] >> 4 != 6)
		return -1;
	__u32 at = l3 + 40;
	__u32 end = at + ((__u32)h[4] << 8 | h[5]);
	if (end > skb->len || is_v4_mapped(h + 8) || is_v4_mapped(h + 24))
		return -1;
	p->family = 6;
	__u64 *k = KEY_WORDS(p);
	__u8 tos = (h[0] & 15) << 4 | h[1] >> 4, ttl = h[7], class = FRAG_NONE;
	__u32 dst_tail = get32(h + 36);
	k[2] |= (__u64)get32(h + 8) << 32;
	k[3] = get64(h + 12);
	k[4] = get64(h + 20);
	k[5] = get64(h + 28);
	__u8 next = h[6];
	for (int n = 0; n <= MAX_EXTENSION_HEADERS; n++) {
		if (next != 44 && next != 0 && next != 43 && next != 60 && next != 51) {
			k[6] = word6(dst_tail, next, tos, ttl, class);
			return parse_l4(skb, p, next, at, end);
		}
		__u8 e[4];
		if (n == MAX_EXTENSION_HEADERS || at + 8 > end || bpf_skb_load_bytes(skb, at, e, 4) < 0)
			return -1;
		if (next == 44) {
			__u32 fragment = (__u32)e[2] << 8 | e[3];
			/* Of several the last one counts; an atomic one (RFC 6946) is none. */
			if (fragment & 0xfff9)
				p->fragment = at - l3 <= 1020 ? (at - l3) / 4 : 0;
			next = e[0];
			at += 8;
			if (fragment & 0xfff8) {
				k[6] = word6(dst_tail, next, tos, ttl, FRAG_LATER);
				k[7] = 0;
				return 0;
			}
			if (fragment & 1)
				class = FRAG_FIRST;
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
	__u64 *k = KEY_WORDS(p);
	__u8 *h = head_bytes(skb, l3 + 28) + l3;
	if ((void *)h + 28 > pkt_end(skb))
		return;
	/* Ethernet, IPv4, addresses of 6 and 4 bytes. */
	if (get32(h) != bpf_htonl(0x00010800) || get16(h + 4) != bpf_htons(0x0604))
		return;
	k[3] = V4_MAPPED_WORD;
	k[4] = get32(h + 14);
	k[5] = V4_MAPPED_WORD;
	k[6] = get32(h + 24);
	k[7] = (__u64)h[7] << 48;
}

/* Fills p. 0, or -1 if the packet is malformed (p then holds what was read). Part of the program where every packet passes; elsewhere
 * weft_parse, which costs a call and spares the verifier a good part of its work. */
static __always_inline int parse_frame(struct __sk_buff *skb, struct weft_pkt *p, __u32 in_port)
{
	__u64 *k = KEY_WORDS(p);
	/* IP frames are longer; of the others the tag may be the end. */
	__u8 *eth = head_bytes(skb, skb->len < ETH_LEN + TAG_LEN ? ETH_LEN : ETH_LEN + TAG_LEN);
	if ((void *)eth + ETH_LEN > pkt_end(skb))
		return -1;
	__u32 l3 = ETH_LEN;
	__be16 type = get16(eth + 12);
	__u16 tag = 0;
	/* Destination stands first on the wire, source first in the key. */
	k[0] = in_port | (__u64)get32(eth + 6) << 32;
	k[1] = get16(eth + 10) | (__u64)get32(eth) << 16 | (__u64)get16(eth + 4) << 48;
	if (skb->vlan_present) {
		/* The kernel moves the outer tag out of the bytes before tc sees the frame. */
		tag = skb->vlan_tci | VLAN_PRESENT;
	} else if (type == P_8021Q || type == P_8021AD) {
		if ((void *)eth + ETH_LEN + TAG_LEN > pkt_end(skb))
			return -1;
		tag = bpf_ntohs(get16(eth + 14)) | VLAN_PRESENT;
		type = get16(eth + 16);
		l3 = ETH_LEN + TAG_LEN;
	}
	k[2] = type | (__u32)bpf_htons(tag) << 16;
	p->l3 = l3;
	p->l4 = 0;
	p->tag = tag;
	p->family = 0;
	p->exec = 0;
	if (type == P_IP)
		return parse_ipv4(skb, p, l3);
	if (type == P_IPV6)
		return parse_ipv6(skb, p, l3);
	k[3] = k[4] = k[5] = k[6] = k[7] = 0;
	if (type == P_ARP)
		parse_arp(skb, p, l3);
	return 0;
}

__noinline int weft_parse(struct __sk_buff *skb, struct weft_pkt *p, __u32 in_port)
{
	return p ? parse_frame(skb, p, in_port) : -1;
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
