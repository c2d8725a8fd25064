/* Into the tunnel: outer headers by bpf_skb_adjust_room, so that the kernel knows inner offsets and can cut super-packets. It takes
 * IPv4 and IPv6 only; every other frame gets complete headers here and goes over the helper veth, whose other end sends it on. */
#ifndef WEFT_ENCAP_H
#define WEFT_ENCAP_H

#include "drop.h"
#include "packet.h"

#define OUTER_TTL 64
#define EALREADY_ 114

static __always_inline int tunnel_get(__u32 peer, struct weft_tunnel *t)
{
	struct weft_tunnel *found = bpf_map_lookup_elem(&weft_tunnels, &peer);
	if (!found)
		return -1;
	copy_words(t, found, sizeof(*t));
	barrier();
	return t->peer == peer && t->peer_tail == peer && t->count ? 0 : -1;
}

/* Hash of the inner flow: addresses and protocol, ports unless it is a fragment (all fragments of a packet must take one path). A sum of
 * products, which do not wait for each other. */
static __always_inline __u32 flow_hash(const struct weft_pkt *p)
{
	const __u64 *k = (const __u64 *)&p->key;
	__u64 h;
	if (!p->family) {
		h = (k[0] >> 32) * 0x9e3779b185ebca87ULL + k[1] * 0xc2b2ae3d27d4eb4fULL + k[2] * 0x165667b19e3779f9ULL;
	} else {
		h = k[2] * 0x9e3779b185ebca87ULL + k[3] * 0xc2b2ae3d27d4eb4fULL + k[4] * 0x165667b19e3779f9ULL +
		    k[5] * 0x85ebca77c2b2ae63ULL + (k[6] & 0xffffffffffULL) * 0x27d4eb2f165667c5ULL;
		if (p->key.ip_frag == FRAG_NONE)
			h += (k[7] & 0xffffffff) * 0xd6e8feb86659fd93ULL;
	}
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93ULL;
	return h >> 32;
}

/* Number of the way that a packet of this hash takes (see struct weft_hop). */
static __always_inline __u32 tunnel_hop(const struct weft_tunnel *t, __u32 hash)
{
	__u32 n = hash >> 20;
	n = t->count == 1 ? 0 : t->count == 2 ? n & 1 : t->count == 3 ? n % 3 : n & 3;
	return t->peer << 2 | n;
}

/* `family` and the address behind it as in struct bpf_redir_neigh. */
static __always_inline int redirect_neigh(__u32 ifindex, __u32 *family)
{
	if (!*family)
		return bpf_redirect_neigh(ifindex, 0, 0, 0);
	return bpf_redirect_neigh(ifindex, (struct bpf_redir_neigh *)family, sizeof(struct bpf_redir_neigh), 0);
}

/* Sends a frame with complete outer headers; the neighbour's MAC is filled in by the kernel. */
static __always_inline int send_to_hop(__u32 number)
{
	struct weft_hop hop, *found = bpf_map_lookup_elem(&weft_hops, &number);
	if (!found)
		return drop(DROP_NO_TUNNEL);
	copy_words(&hop, found, sizeof(hop));
	barrier();
	if (hop.number != number || hop.number_tail != number)
		return drop(DROP_NO_TUNNEL);
	return redirect_neigh(hop.ifindex, &hop.family);
}

struct outer {
	__u64 eth[2]; /* inner Ethernet header (14 bytes), its tag taken out */
	__be16 tag_proto; /* 0: no tag */
	__be16 tag_tci;
	__u8 ecn;
	__u8 pad;
	__u32 hash;
	__u32 key;
};

static __always_inline void put_ipv4(__u8 *h, const struct weft_tunnel *t, __u8 ecn, __u8 proto, __u32 total)
{
	__u32 local = get32(t->local + 12), remote = get32(t->remote + 12);
	__u16 first = bpf_htons(0x4500 | ecn), length = bpf_htons(total), ttl = bpf_htons(OUTER_TTL << 8 | proto);
	__u64 sum = (__u64)first + length + bpf_htons(0x4000) + ttl + local + remote;
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put32(h, first | (__u32)length << 16);
	put32(h + 4, (__u32)bpf_htons(0x4000) << 16);
	put32(h + 8, ttl | (__u32)(__u16)~sum << 16);
	put32(h + 12, local);
	put32(h + 16, remote);
}

static __always_inline void put_ipv6(__u8 *h, const struct weft_tunnel *t, __u8 ecn, __u8 proto, __u32 payload)
{
	put32(h, bpf_htonl(0x60000000 | (__u32)ecn << 20));
	put32(h + 4, bpf_htons(payload) | (__u32)proto << 16 | (__u32)OUTER_TTL << 24);
	copy_words(h + 8, t->local, 16);
	copy_words(h + 24, t->remote, 16);
}

/* Writes everything from the outer Ethernet header to the inner one's end. */
static __always_inline int put_outer(struct __sk_buff *skb, const struct weft_tunnel *t, const struct outer *o,
				     const int ipv6, const int vxlan)
{
	const __u32 l3 = ipv6 ? 40 : 20, l4 = vxlan ? 16 : 8;
	__u8 *h = pkt_data(skb);
	if ((void *)h + ETH_LEN + l3 + l4 + ETH_LEN + TAG_LEN > pkt_end(skb))
		return -1;
	__u32 length = skb->len - ETH_LEN;
	/* redirect_neigh fills the addresses in, but drops a frame whose old ones (the inner frame's) are multicast. */
	put64(h, 0);
	put32(h + 8, 0);
	put16(h + 12, ipv6 ? P_IPV6 : P_IP);
	h += ETH_LEN;
	if (ipv6)
		put_ipv6(h, t, o->ecn, vxlan ? PROTO_UDP : PROTO_GRE, length - l3);
	else
		put_ipv4(h, t, o->ecn, vxlan ? PROTO_UDP : PROTO_GRE, length);
	h += l3;
	if (vxlan) {
		put32(h, bpf_htons(49152 | (o->hash & 0x3fff)) | (__u32)bpf_htons(cfg_vxlan_port) << 16);
		put32(h + 4, bpf_htons(length - l3));
		put32(h + 8, bpf_htonl(0x08000000));
		put32(h + 12, bpf_htonl(o->key << 8 | o->key >> 24));
	} else {
		put32(h, bpf_htonl(0x20006558));
		put32(h + 4, bpf_htonl(o->key));
	}
	h += l4;
	put64(h, o->eth[0]);
	put32(h + 8, o->eth[1]);
	if (o->tag_proto) {
		put16(h + 12, o->tag_proto);
		put16(h + 14, o->tag_tci);
		h += TAG_LEN;
	}
	put16(h + 12, o->eth[1] >> 32);
	return 0;
}

static __always_inline int write_outer(struct __sk_buff *skb, const struct weft_tunnel *t, const struct outer *o)
{
	if (cfg_encap == ENCAP_VXLAN)
		return t->ipv6 ? put_outer(skb, t, o, 1, 1) : put_outer(skb, t, o, 0, 1);
	return t->ipv6 ? put_outer(skb, t, o, 1, 0) : put_outer(skb, t, o, 0, 0);
}

static __always_inline __u32 outer_bytes(const struct weft_tunnel *t)
{
	return (t->ipv6 ? 40 : 20) + (cfg_encap == ENCAP_VXLAN ? 16 : 8);
}

static __always_inline __u64 encap_flags(const struct weft_tunnel *t, __u32 l2)
{
	return (t->ipv6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4) |
	       (cfg_encap == ENCAP_VXLAN ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : BPF_F_ADJ_ROOM_ENCAP_L4_GRE) |
	       BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_ENCAP_L2(l2) | BPF_F_ADJ_ROOM_FIXED_GSO;
}

/* Takes the tag out of the frame (beside the bytes or, in test runs, in them) and remembers it: a frame must never leave for the
 * underlay with a tag beside its bytes, it would land on the outer header. */
static __always_inline int take_tag(struct __sk_buff *skb, struct outer *o)
{
	o->tag_proto = 0;
	o->tag_tci = 0;
	if (skb->vlan_present) {
		o->tag_proto = (__be16)skb->vlan_proto;
		o->tag_tci = bpf_htons(skb->vlan_tci);
	} else if (skb->protocol == P_8021Q || skb->protocol == P_8021AD) {
		__be16 tag[2];
		if (bpf_skb_load_bytes(skb, 12, tag, 4) < 0)
			return -1;
		o->tag_proto = tag[0];
		o->tag_tci = tag[1];
	} else {
		return 0;
	}
	if (bpf_skb_vlan_pop(skb) < 0)
		return -1;
	/* Popping one tag moves the next from the bytes to beside them: put it back. */
	if (skb->vlan_present) {
		__u16 tci = skb->vlan_tci;
		__be16 inner[2] = { (__be16)skb->vlan_proto, bpf_htons(tci) };
		__u8 macs[12];
		if (bpf_skb_load_bytes(skb, 0, macs, 12) < 0 || bpf_skb_vlan_pop(skb) < 0 ||
		    bpf_skb_change_head(skb, TAG_LEN, 0) < 0 || bpf_skb_store_bytes(skb, 0, macs, 12, 0) < 0 ||
		    bpf_skb_store_bytes(skb, 12, inner, 4, 0) < 0)
			return -1;
	}
	return 0;
}

/* Encapsulates and sends to `t` under `key`. The frame must have passed its MTU check. p is void afterwards. */
__noinline int weft_encapsulate(struct __sk_buff *skb, struct weft_pkt *p, struct weft_tunnel *t, __u32 key)
{
	if (!p || !t)
		return TC_ACT_SHOT;
	__u32 hash = flow_hash(p);
	__u8 ecn = p->family ? p->key.ip_tos & 3 : 0;
	/* Nobody needs the key any more: its room is used again, 512 bytes of stack are all there is. */
	struct outer *o = (struct outer *)&p->key;
	_Static_assert(sizeof(*o) <= sizeof(p->key), "outer");
	barrier();
	o->hash = hash;
	o->key = key;
	o->ecn = ecn;
	if (take_tag(skb, o) < 0 || pkt_load(skb, 0, o->eth, ETH_LEN) < 0)
		return drop(DROP_ENCAP_FAILED);
	__u32 l2 = o->tag_proto ? ETH_LEN + TAG_LEN : ETH_LEN;
	__u32 grow = outer_bytes(t) + l2;
	if (skb->len + grow - ETH_LEN > 65535)
		return drop(DROP_LENGTH_OVERFLOW);
	__u32 hop = tunnel_hop(t, o->hash);
	__be16 type = o->eth[1] >> 32;
	int again = 0;
	if ((type == P_IP || type == P_IPV6) && skb->protocol == type) {
		long err = bpf_skb_adjust_room(skb, grow, BPF_ADJ_ROOM_MAC, encap_flags(t, l2));
		if (err == -EALREADY_) {
			/* It came out of a tunnel (a VM that forwards): its inner offsets are stale, but right for the
			 * same kind of outer header. The protocol is not adjusted then: other family, other way. */
			again = 1;
			if ((type == P_IPV6) == !!t->ipv6)
				err = bpf_skb_adjust_room(skb, grow, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
		}
		if (!err) {
			if (write_outer(skb, t, o) < 0)
				return drop(DROP_ENCAP_FAILED);
			return t->count == 1 ? redirect_neigh(t->ifindex, &t->family) : send_to_hop(hop);
		}
		if (!again)
			return drop(DROP_ENCAP_FAILED);
	}
	/* Offsets for cutting a super-packet exist only if it was encapsulated before. */
	if (skb->gso_size && !again)
		return drop(DROP_ENCAP_FAILED);
	if (bpf_skb_change_head(skb, grow, 0) < 0 || write_outer(skb, t, o) < 0)
		return drop(DROP_ENCAP_FAILED);
	skb->mark = MARK_NEIGH | hop;
	return bpf_redirect(cfg_helper_ifindex, 0);
}

#endif
