/* What the programs know of the packet in hand, and access to its bytes. */
#ifndef WEFT_PACKET_H
#define WEFT_PACKET_H

#include "config.h"

struct weft_pkt {
	struct weft_key key __attribute__((aligned(8))); /* of the packet as it arrived */
	__u8 l3; /* offsets in the skb's bytes */
	__u8 fragment; /* of a fragment over IPv6: words from l3 to its fragment header, 0: too many; else not set */
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

/* Loads and stores at any address of the packet in one instruction (what is not on the stack may be unaligned): the compiler's own
 * copies of bytes go byte by byte, and words read from such bytes stall. */
static __always_inline __u16 get16(const void *at)
{
	return *(const __u16 *)at;
}

static __always_inline __u32 get32(const void *at)
{
	return *(const __u32 *)at;
}

static __always_inline __u64 get64(const void *at)
{
	return *(const __u64 *)at;
}

static __always_inline void put16(void *at, __u16 value)
{
	*(__u16 *)at = value;
}

static __always_inline void put32(void *at, __u32 value)
{
	*(__u32 *)at = value;
}

static __always_inline void put64(void *at, __u64 value)
{
	*(__u64 *)at = value;
}

/* Copies n (constant) bytes by words. What is on the stack must be aligned to 8. */
static __always_inline void copy_words(void *to, const void *from, const __u32 n)
{
	__u32 i = 0;
#pragma unroll
	for (; i + 8 <= n; i += 8)
		put64(to + i, get64(from + i));
	if (i + 4 <= n) {
		put32(to + i, get32(from + i));
		i += 4;
	}
	if (i + 2 <= n) {
		put16(to + i, get16(from + i));
		i += 2;
	}
	if (i < n)
		*(__u8 *)(to + i) = *(const __u8 *)(from + i);
}

/* Copies n (constant) bytes at off: directly where they are linear, else by helper. `to` aligned as copy_words wants. 0 or negative. */
static __always_inline int pkt_load(struct __sk_buff *skb, __u32 off, void *to, const __u32 n)
{
	if (off <= 512) {
		__u8 *at = pkt_data(skb) + off;
		if ((void *)at + n <= pkt_end(skb)) {
			copy_words(to, at, n);
			return 0;
		}
	}
	return bpf_skb_load_bytes(skb, off, to, n);
}

/* Room for n bytes of the packet that pkt_load may fill. */
#define PKT_BYTES(name, n) __u8 name[n] __attribute__((aligned(8)))

#endif
