/* To user space. Three constant record sizes: a ring buffer reserves constants only, and a 64 KiB reserve for every ARP
 * request would leave room for 250 records. */
#ifndef WEFT_UPCALL_H
#define WEFT_UPCALL_H

#include "budget.h"
#include "drop.h"
#include "parse.h"

#define SMALL_BYTES 256
#define MEDIUM_BYTES 2048
#define BIG_BYTES 65536

struct weft_record {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	__u32 in_port;
	__u32 length; /* of the whole packet, its tag included */
	__u32 captured; /* bytes in data */
	__u32 segment; /* L3 bytes of the largest packet on the wire */
	__u32 peer;
	__u16 mtu;
	__u8 reason;
	__u8 needs_csum; /* the checksum field holds the pseudo-header's sum only */
	__u16 csum_start; /* offset in data */
	__u16 csum_offset; /* from csum_start */
	__u16 gso_size;
	__u16 gso_segs;
	__u8 gso_type; /* VIRTIO_NET_HDR_GSO_… */
	__u8 pad[7];
	__u8 key[WEFT_KEY_SIZE];
	__u8 data[0];
};
_Static_assert(sizeof(struct weft_record) == 112, "weft_record");

/* As much of the kernel's own structure as is read; offsets are relocated at load (CO-RE). */
struct sk_buff {
	unsigned char *head;
	unsigned char *data;
	__u16 csum_start;
	__u16 csum_offset;
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *) __ksym;

#define CHECKSUM_IS_PARTIAL 3
#define GSO_TCPV4 1
#define GSO_TCPV6 4
#define GSO_UDP_L4 5
#define GSO_ECN 0x80

static __always_inline void record_offloads(struct __sk_buff *skb, const struct weft_pkt *p, struct weft_record *r,
					    __u32 tag)
{
	struct sk_buff *k = bpf_cast_to_kern_ctx(skb);
	r->gso_size = skb->gso_size;
	r->gso_segs = skb->gso_segs;
	r->gso_type = 0;
	if (r->gso_size) {
		if (p->key.ip_proto == PROTO_UDP) {
			r->gso_type = GSO_UDP_L4;
		} else {
			__u8 flags = 0;
			bpf_skb_load_bytes(skb, p->l4 + 13, &flags, 1);
			r->gso_type = (p->family == 6 ? GSO_TCPV6 : GSO_TCPV4) | (flags & 0x80 ? GSO_ECN : 0);
		}
	}
	r->needs_csum = 0;
	r->csum_start = 0;
	r->csum_offset = 0;
	if (BPF_CORE_READ_BITFIELD(k, ip_summed) == CHECKSUM_IS_PARTIAL) {
		__u32 headroom = (__u64)k->data - (__u64)k->head;
		r->needs_csum = 1;
		r->csum_start = k->csum_start - headroom + tag;
		r->csum_offset = k->csum_offset;
	}
}

/* Copies the frame behind the record, its tag back in the bytes. Bytes copied, 0 on failure. */
static __always_inline __u32 record_frame(struct __sk_buff *skb, struct weft_record *r, __u32 tag, const __u32 room)
{
	__u32 n = skb->len;
	if (tag) {
		if (n > room - TAG_LEN)
			n = room - TAG_LEN;
		n -= 12;
		opaque(n);
		if (n < 1 || n > room - 16 || bpf_skb_load_bytes(skb, 0, r->data, 12) < 0)
			return 0;
		*(__be16 *)(r->data + 12) = (__be16)skb->vlan_proto;
		*(__be16 *)(r->data + 14) = bpf_htons(skb->vlan_tci);
		if (bpf_skb_load_bytes(skb, 12, r->data + 16, n) < 0)
			return 0;
		return n + 16;
	}
	if (n > room)
		n = room;
	opaque(n);
	if (n < 1 || n > room || bpf_skb_load_bytes(skb, 0, r->data, n) < 0)
		return 0;
	return n;
}

#define SEND_RECORD(room)                                                                                          \
	({                                                                                                         \
		int ok_ = 0;                                                                                       \
		struct weft_record *r = bpf_ringbuf_reserve(&weft_ring, sizeof(*r) + (room), 0);                   \
		if (!r) {                                                                                          \
			count_drop(DROP_RING_FULL);                                                                \
		} else {                                                                                           \
			__u32 tag_ = skb->vlan_present ? TAG_LEN : 0;                                              \
			r->time = bpf_ktime_get_ns();                                                              \
			r->in_port = p->key.in_port;                                                               \
			r->length = skb->len + tag_;                                                               \
			r->segment = segment_length(skb, p);                                                       \
			r->peer = peer;                                                                            \
			r->mtu = mtu;                                                                              \
			r->reason = reason;                                                                        \
			__builtin_memcpy(r->key, &p->key, WEFT_KEY_SIZE);                                          \
			record_offloads(skb, p, r, tag_);                                                          \
			r->captured = record_frame(skb, r, tag_, room);                                            \
			ok_ = r->captured != 0;                                                                    \
			if (ok_)                                                                                   \
				bpf_ringbuf_submit(r, 0);                                                          \
			else                                                                                       \
				bpf_ringbuf_discard(r, 0);                                                         \
		}                                                                                                  \
		ok_;                                                                                               \
	})

/* Charges the ingress port. 0: refused, 1: send, 2: only the head of a super-packet. */
static __always_inline int charge_port(const struct weft_pkt *p, __u32 reason, __u32 length)
{
	__u32 ifindex = p->key.in_port;
	struct weft_port *port = bpf_map_lookup_elem(&weft_ports, &ifindex);
	struct weft_budget *b = bpf_map_lookup_elem(&weft_budgets, &ifindex);
	if (!port || !b) /* executed for nobody in particular */
		return global_budget(GLOBAL_HOST, 20 * 1000, 160 * 1000 * 1000);
	__u64 now = bpf_ktime_get_ns();
	__u64 interval = port->upcall_interval, burst = port->upcall_burst;
	__u64 *tat = reason == UPCALL_MISS || reason == UPCALL_ACTION ? &b->miss : &b->notice;
	if (!gcra(tat, now, interval, burst))
		return 0;
	/* A port may send up 1 KiB for each of its upcalls per second, and a burst on top that one super-packet fits. */
	__u64 bytes_burst = burst * 2 + interval * 64;
	if (length + TAG_LEN <= MEDIUM_BYTES)
		return gcra(&b->bytes, now, interval * length >> 10, bytes_burst);
	/* Super-packets: one in sixteen upcalls. Beyond it the head is enough to decide on the flow. */
	if (!gcra(&b->big, now, interval * 16, burst + interval * 16) ||
	    !gcra(&b->bytes, now, interval * length >> 10, bytes_burst))
		return 2;
	return 1;
}

/* Sends the packet up. 1 if it went. The caller ends the packet, or goes on with it. */
__noinline int weft_upcall(struct __sk_buff *skb, struct weft_pkt *p, __u32 reason, __u32 peer, __u32 mtu)
{
	if (!p)
		return 0;
	__u32 length = skb->len;
	int allowed;
	if (reason == UPCALL_FLOW_STATE)
		allowed = global_budget(GLOBAL_FLOW_STATE, 20 * 1000, 160 * 1000 * 1000);
	else if (reason == UPCALL_PATH_MTU)
		allowed = global_budget(GLOBAL_PATH_MTU, 10 * 1000 * 1000, 1000 * 1000 * 1000);
	else
		allowed = charge_port(p, reason, length);
	if (!allowed) {
		count_drop(DROP_UPCALL_BUDGET);
		return 0;
	}
	int ok;
	if (length + TAG_LEN <= SMALL_BYTES || allowed == 2)
		ok = SEND_RECORD(SMALL_BYTES);
	else if (length + TAG_LEN <= MEDIUM_BYTES)
		ok = SEND_RECORD(MEDIUM_BYTES);
	else
		ok = SEND_RECORD(BIG_BYTES);
	if (allowed == 2)
		count_drop(DROP_SUPER_PACKET_CUT);
	if (ok) {
		__u64 *n = bpf_map_lookup_elem(&weft_upcalls, &reason);
		if (n)
			*n += 1;
	}
	return ok;
}

static __always_inline int upcall_and_end(struct __sk_buff *skb, struct weft_pkt *p, __u32 reason)
{
	weft_upcall(skb, p, reason, 0, 0);
	return TC_ACT_SHOT;
}

#endif
