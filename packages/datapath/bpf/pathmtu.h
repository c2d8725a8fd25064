/* "Packet too big" from a router of the underlay about one of our own tunnel packets. Nobody owns a socket for them, so the host's
 * stack would learn nothing. */
#ifndef WEFT_PATHMTU_H
#define WEFT_PATHMTU_H

#include "decap.h"

#define LEAST_INNER_MTU 1280

static __always_inline int is_local(const struct weft_address *a)
{
	return bpf_map_lookup_elem(&weft_locals, a) != 0;
}

/* `quote`: offset of the quoted outer IP header; `mtu` as reported. The host gets the message as well. */
static __noinline int path_mtu(struct __sk_buff *skb, __u32 quote, __u32 mtu, __u32 ipv6)
{
	struct weft_address local = {}, remote = {};
	__u32 l4, peer, overhead;
	__u8 proto;
	if (ipv6) {
		__u8 h[40];
		if (bpf_skb_load_bytes(skb, quote, h, 40) < 0 || h[0] >> 4 != 6)
			return TCX_NEXT;
		__builtin_memcpy(local.bytes, h + 8, 16);
		__builtin_memcpy(remote.bytes, h + 24, 16);
		proto = h[6];
		l4 = quote + 40;
		overhead = 40 + ETH_LEN;
	} else {
		__u8 h[20];
		if (bpf_skb_load_bytes(skb, quote, h, 20) < 0 || h[0] != 0x45)
			return TCX_NEXT;
		local.bytes[10] = local.bytes[11] = remote.bytes[10] = remote.bytes[11] = 0xff;
		__builtin_memcpy(local.bytes + 12, h + 12, 4);
		__builtin_memcpy(remote.bytes + 12, h + 16, 4);
		proto = h[9];
		l4 = quote + 20;
		overhead = 20 + ETH_LEN;
	}
	__be16 w[2];
	if (bpf_skb_load_bytes(skb, l4, w, 4) < 0)
		return TCX_NEXT;
	if (cfg_encap == ENCAP_VXLAN) {
		if (proto != PROTO_UDP || w[1] != bpf_htons(cfg_vxlan_port) || bpf_ntohs(w[0]) < 49152)
			return TCX_NEXT;
		overhead += 16;
	} else {
		if (proto != PROTO_GRE || w[0] != bpf_htons(0x2000) || w[1] != bpf_htons(0x6558))
			return TCX_NEXT;
		overhead += 8;
	}
	if (!is_local(&local) || peer_of(&remote, &peer) < 0)
		return TCX_NEXT;
	__u32 inner = mtu > overhead + LEAST_INNER_MTU ? mtu - overhead : LEAST_INNER_MTU;
	struct weft_pkt p = {};
	p.l3 = ETH_LEN;
	weft_upcall(skb, &p, UPCALL_PATH_MTU, peer, inner);
	return TCX_NEXT;
}

#endif
