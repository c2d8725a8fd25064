/* Out of the tunnel. Arrivals are validated from the outside in; every failure has its own counter. */
#ifndef WEFT_DECAP_H
#define WEFT_DECAP_H

#include "output.h"
#include "upcall.h"

#define ECN_CE 3

/* What the outer headers said. */
struct arrival {
	__u32 l4; /* offset of GRE or UDP */
	__u32 end; /* offset behind the outer packet */
	__u32 key; /* KEY_FORWARDED beside it */
	__u32 peer;
	__u32 inner; /* offset of the inner Ethernet header */
	__u8 ecn;
	__u8 ipv6;
	__be16 type; /* inner ethertype */
};

static __always_inline int peer_of(const struct weft_address *source, __u32 *peer)
{
	__u32 *found = bpf_map_lookup_elem(&weft_peers, source);
	if (!found)
		return -1;
	*peer = *found;
	return 0;
}

/* GRE or VXLAN header at a->l4. 0, or the counter of what is wrong. */
static __always_inline int tunnel_header(struct __sk_buff *skb, struct arrival *a)
{
	__be32 h[4] __attribute__((aligned(8)));
	if (cfg_encap == ENCAP_VXLAN) {
		if (a->l4 + 16 > a->end || pkt_load(skb, a->l4, h, 16) < 0)
			return DROP_OUTER_LENGTH;
		if ((bpf_ntohl(h[1]) >> 16) != a->end - a->l4)
			return DROP_OUTER_LENGTH;
		__u32 word = bpf_ntohl(h[3]);
		if (h[2] != bpf_htonl(0x08000000) || (word & 0xff & ~(KEY_FORWARDED >> 24)))
			return DROP_OUTER_FLAGS;
		a->key = word >> 8 | word << 24;
		a->inner = a->l4 + 16;
	} else {
		if (a->l4 + 4 > a->end || pkt_load(skb, a->l4, h, 4) < 0)
			return DROP_OUTER_LENGTH;
		if (h[0] != bpf_htonl(0x20006558))
			return DROP_OUTER_FLAGS;
		if (a->l4 + 8 > a->end || pkt_load(skb, a->l4 + 4, &h[1], 4) < 0)
			return DROP_OUTER_LENGTH;
		a->key = bpf_ntohl(h[1]);
		a->inner = a->l4 + 8;
	}
	return 0;
}

/* Finds the inner L3 header, behind a tag if there is one. -1 if the tag is cut, or an IP packet in its fixed header: nobody could use such a
 * frame, and the kernel refuses to strip some of them. */
static __always_inline int inner_l3(struct __sk_buff *skb, const struct arrival *a, __u32 *l3, __be16 *type)
{
	__u32 at = a->inner + ETH_LEN;
	__be16 t = a->type;
	if (t == P_8021Q || t == P_8021AD) {
		PKT_BYTES(tag, TAG_LEN);
		if (at + TAG_LEN > a->end || pkt_load(skb, at, tag, TAG_LEN) < 0)
			return -1;
		t = get16(tag + 2);
		at += TAG_LEN;
	}
	*l3 = at;
	*type = t;
	return at + (t == P_IP ? 20 : t == P_IPV6 ? 40 : 0) > a->end ? -1 : 0;
}

/* RFC 6040, the egress side: what the network marked outside must not be lost inside. 0, or a counter. */
static __always_inline int combine_ecn(struct __sk_buff *skb, const struct arrival *a, __u32 l3, __be16 type)
{
	if (!a->ecn || (type != P_IP && type != P_IPV6))
		return 0;
	__be16 head, next;
	if (bpf_skb_load_bytes(skb, l3, &head, 2) < 0)
		return 0;
	__u32 word = bpf_ntohs(head);
	__u32 shift = type == P_IP ? 0 : 4;
	__u32 inner = word >> shift & 3;
	__u32 out = inner;
	if (a->ecn == ECN_CE) {
		if (!inner)
			return DROP_DECAP_FAILED;
		out = ECN_CE;
	} else if (a->ecn == 1 && inner == 2) {
		out = 1;
	}
	if (out == inner)
		return 0;
	next = bpf_htons((word & ~(3u << shift)) | out << shift);
	if (type == P_IP && bpf_l3_csum_replace(skb, l3 + 10, head, next, 2) < 0)
		return DROP_DECAP_FAILED;
	if (bpf_skb_store_bytes(skb, l3, &next, 2, type == P_IP ? 0 : BPF_F_RECOMPUTE_CSUM) < 0)
		return DROP_DECAP_FAILED;
	return 0;
}

/* Before Linux 6.3 adjust_room leaves the outer family's protocol on the packet, and super-packets would be cut as that. Changing the family of
 * the outer header, which nobody needs any more, sets the protocol. It grows or shrinks by the difference: bytes moved. */
static __always_inline __s32 adopt_family(struct __sk_buff *skb, const struct arrival *a)
{
	if (!a->ipv6 && a->type == P_IPV6 && bpf_skb_change_proto(skb, P_IPV6, 0) == 0)
		return 20;
	if (a->ipv6 && a->type == P_IP && bpf_skb_change_proto(skb, P_IP, 0) == 0)
		return -20;
	return 0;
}

/* Removes the outer headers. FIXED_GSO: without it every segment would grow by what is removed. */
static __always_inline int strip(struct __sk_buff *skb, const struct arrival *a)
{
	PKT_BYTES(eth, ETH_LEN);
	if (bpf_skb_load_bytes(skb, a->inner, eth, ETH_LEN) < 0)
		return -1;
	/* A frame's trailer is nobody's payload. */
	if (skb->len > a->end && bpf_skb_change_tail(skb, a->end, 0) < 0)
		return -1;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	__s32 moved = 0;
	if (cfg_have_decap_l3) {
		if (a->type == P_IP)
			flags |= ADJ_ROOM_DECAP_L3_IPV4;
		if (a->type == P_IPV6)
			flags |= ADJ_ROOM_DECAP_L3_IPV6;
	} else {
		moved = adopt_family(skb, a);
	}
	/* What remains must hold the outer family's header (or the inner's, by flag) as far as adjust_room knows. */
	__u32 rest = a->end - a->inner - ETH_LEN;
	__u32 least = a->type == P_IPV6 || (a->ipv6 && a->type != P_IP) ? 40 : 20;
	if (a->ipv6 && !cfg_have_decap_l3 && !moved)
		least = 40;
	__u32 padded = rest < least ? a->end + moved + least - rest : 0;
	if (padded && bpf_skb_change_tail(skb, padded, 0) < 0)
		return -1;
	if (bpf_skb_adjust_room(skb, -(__s32)(a->inner + moved), BPF_ADJ_ROOM_MAC, flags) < 0)
		return -1;
	if (padded && bpf_skb_change_tail(skb, ETH_LEN + rest, 0) < 0)
		return -1;
	return bpf_skb_store_bytes(skb, 0, eth, ETH_LEN, 0);
}

static __always_inline int flow_state(struct __sk_buff *skb, const struct arrival *a)
{
	struct weft_pkt p;
	if (strip(skb, a) < 0)
		return drop(DROP_DECAP_FAILED);
	if (weft_parse(skb, &p, 0) < 0)
		return drop(DROP_INNER_MALFORMED);
	return upcall_and_end(skb, &p, UPCALL_FLOW_STATE);
}

static __noinline int decapsulate(struct __sk_buff *skb, struct arrival *a, struct weft_address *source)
{
	int bad = tunnel_header(skb, a);
	if (bad)
		return drop(bad);
	if (peer_of(source, &a->peer) < 0)
		return drop(DROP_OUTER_UNKNOWN_PEER);
	if (a->inner + ETH_LEN > a->end || bpf_skb_load_bytes(skb, a->inner + 12, &a->type, 2) < 0)
		return drop(DROP_INNER_MALFORMED);
	__u32 l3;
	__be16 type;
	if (inner_l3(skb, a, &l3, &type) < 0)
		return drop(DROP_INNER_MALFORMED);
	bad = combine_ecn(skb, a, l3, type);
	if (bad)
		return drop(bad);
	if (a->key == FLOW_STATE_KEY)
		return flow_state(skb, a);
	__u32 key = a->key & ~KEY_FORWARDED;
	__u32 forwarded = a->key & KEY_FORWARDED ? FLOOD_FORWARDED : 0;
	struct weft_egress e, *found = bpf_map_lookup_elem(&weft_egress, &key);
	if (!found)
		return drop(DROP_OUTER_UNKNOWN_KEY);
	__builtin_memcpy(&e, found, sizeof(e));
	barrier();
	if (e.key != key || e.key_tail != key)
		return drop(DROP_OUTER_UNKNOWN_KEY);
	if (strip(skb, a) < 0)
		return drop(DROP_DECAP_FAILED);
	skb->mark = 0;
	if (!e.port)
		return weft_flood(skb, key, LIST_EGRESS, 0, forwarded);
	return deliver(skb, e.port, 1);
}

#endif
