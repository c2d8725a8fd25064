/* What the programs know of the packet in hand, and access to its bytes. */
#ifndef WEFT_PACKET_H
#define WEFT_PACKET_H

#include "config.h"

struct weft_pkt {
	struct weft_key key; /* of the packet as it arrived */
	__u16 l3; /* offsets in the skb's bytes */
	__u16 l4; /* 0: no transport header (not IP, a later fragment) */
	__u16 tag; /* TCI | VLAN_PRESENT, 0: untagged */
	__u8 family; /* 4, 6, 0: not IP */
	__u8 exec; /* executed for user space, not looked up */
};

static __always_inline void *pkt_data(struct __sk_buff *skb)
{
	return (void *)(long)skb->data;
}

static __always_inline void *pkt_end(struct __sk_buff *skb)
{
	return (void *)(long)skb->data_end;
}

/* Copies n (constant) bytes at off: directly where they are linear, else by helper. 0 or negative. */
static __always_inline int pkt_load(struct __sk_buff *skb, __u32 off, void *to, const __u32 n)
{
	if (off <= 512) {
		__u8 *at = pkt_data(skb) + off;
		if ((void *)at + n <= pkt_end(skb)) {
			__builtin_memcpy(to, at, n);
			return 0;
		}
	}
	return bpf_skb_load_bytes(skb, off, to, n);
}

#endif
