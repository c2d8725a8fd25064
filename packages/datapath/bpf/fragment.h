/* Ports for later fragments: only the first one carries them, so it leaves them here. The one table that the programs fill themselves.
 *
 * A key is (ingress port, one of FRAGMENT_SLOTS): whatever a port sends, it can only push out entries of its own, and at most
 * FRAGMENT_SLOTS of the table are its. Which datagram an entry belongs to stands in its value. */
#ifndef WEFT_FRAGMENT_H
#define WEFT_FRAGMENT_H

#include "packet.h"
#include "maps.h"

/* As long as hosts keep fragments (RFC 8200 4.5 allows 60 s, Linux 30). */
#define FRAGMENT_LIFETIME (30ULL * 1000 * 1000 * 1000)

/* Identification of the datagram in host order. 0, or -1: none that could be read. */
static __always_inline int fragment_id(struct __sk_buff *skb, const struct weft_pkt *p, __u32 *id)
{
	__u64 word = 0;
	if (p->family == 4) {
		if (pkt_load(skb, p->l3 + 4, &word, 2) < 0)
			return -1;
		*id = bpf_ntohs(word);
		return 0;
	}
	if (!p->fragment || pkt_load(skb, p->l3 + p->fragment * 4 + 4, &word, 4) < 0)
		return -1;
	*id = bpf_ntohl(word);
	return 0;
}

/* For fragments from a port: the first one's ports are remembered, a later one's key gets them. Consecutive identifications take
 * consecutive slots, so that a sender that counts has its latest FRAGMENT_SLOTS datagrams known. */
__noinline int weft_fragment(struct __sk_buff *skb, struct weft_pkt *p)
{
	if (!p)
		return 0;
	struct weft_fragment f;
	struct weft_fragment_key at;
	const __u32 *k = (const __u32 *)&p->key;
	__u64 *l4 = (__u64 *)&p->key + 7;
	__u32 sum = f.proto = p->key.ip_proto;
	if (fragment_id(skb, p, &f.id) < 0)
		return 0;
#pragma unroll
	for (int i = 0; i < 9; i++) {
		f.datagram[i] = k[4 + i];
		sum += f.datagram[i];
	}
	f.pad = 0;
	at.in_port = p->key.in_port;
	at.slot = ((sum * 0x9e3779b1 >> 24) + f.id) % FRAGMENT_SLOTS;
	if (p->key.ip_frag == FRAG_FIRST) {
		f.l4 = *l4;
		f.time = f.time_tail = bpf_ktime_get_ns();
		bpf_map_update_elem(&weft_fragments, &at, &f, BPF_ANY);
		return 0;
	}
	const volatile struct weft_fragment *found = bpf_map_lookup_elem(&weft_fragments, &at);
	if (!found)
		return 0;
	/* Recycled without a grace period, written from the front: read from the back, it is whole if both ends agree. */
	__u64 tail = found->time_tail, ports = found->l4;
	__u32 other = (found->id ^ f.id) | (found->proto ^ f.proto);
#pragma unroll
	for (int i = 0; i < 9; i++)
		other |= found->datagram[i] ^ f.datagram[i];
	__u64 time = found->time;
	if (other || time != tail || bpf_ktime_get_ns() - time > FRAGMENT_LIFETIME)
		return 0;
	*l4 = ports;
	return 0;
}

#endif
