/* A compiled action on a packet, in the order that SEMANTICS.md lays down. */
#ifndef WEFT_EXECUTE_H
#define WEFT_EXECUTE_H

#include "output.h"
#include "rewrite.h"
#include "upcall.h"

#define TCP_FIN_RST 5

static __always_inline int leaves_tagged(const struct weft_pkt *p, const struct weft_action *a)
{
	return (a->rewrite & RW_VLAN_PUSH) || (p->tag && !(a->rewrite & RW_VLAN_POP));
}

static __always_inline int is_too_big(struct __sk_buff *skb, const struct weft_pkt *p, const struct weft_action *a,
				      const struct weft_tunnel *t)
{
	__u32 mtu = a->mtu ? a->mtu : 0xffffffff;
	if (a->output == OUT_TUNNEL) {
		__u32 room = t->mtu - (leaves_tagged(p, a) ? TAG_LEN : 0);
		if (room < mtu)
			mtu = room;
	}
	/* Almost every packet is small enough as a whole. */
	return skb->len - p->l3 > mtu && segment_length(skb, p) > mtu;
}

static __always_inline void report_tcp_flags(struct __sk_buff *skb, struct weft_pkt *p)
{
	__u8 flags = 0;
	if (p->key.ip_proto != PROTO_TCP || !p->l4 || bpf_skb_load_bytes(skb, p->l4 + 13, &flags, 1) < 0)
		return;
	if (flags & TCP_FIN_RST)
		weft_upcall(skb, p, UPCALL_TCP_FLAGS, 0, 0);
}

static __always_inline int execute(struct __sk_buff *skb, struct weft_pkt *p, struct weft_action *a)
{
	struct weft_tunnel t;
	if (a->output == OUT_UPCALL)
		return upcall_and_end(skb, p, UPCALL_ACTION);
	/* Before a drop too: a router on the way to it answers what is too old. */
	if ((a->rewrite & RW_TTL) && p->key.ip_ttl <= a->ttl_dec)
		return upcall_and_end(skb, p, UPCALL_TTL);
	if (a->output == OUT_DROP)
		return drop(a->reason ? a->reason : DROP_FLOW_DROP);
	if (a->output == OUT_TUNNEL && tunnel_get(a->out_port, &t) < 0) {
		t.mtu = 0xffff;
		return is_too_big(skb, p, a, &t) ? upcall_and_end(skb, p, UPCALL_TOO_BIG) : drop(DROP_NO_TUNNEL);
	}
	if ((a->mtu || a->output == OUT_TUNNEL) && is_too_big(skb, p, a, &t))
		return upcall_and_end(skb, p, UPCALL_TOO_BIG);
	if (a->flags & AF_REPORT_TCP_FLAGS)
		report_tcp_flags(skb, p);
	if (a->rewrite && weft_rewrite(skb, p, a) < 0)
		return drop(DROP_REWRITE_FAILED);
	switch (a->output) {
	case OUT_PORT:
		return deliver(skb, a->out_port, a->flags & AF_PEER);
	case OUT_TUNNEL:
		return weft_encapsulate(skb, p, &t, a->tunnel_key);
	case OUT_LIST:
		/* An executed frame was paid for when it came up. */
		return weft_flood(skb, a->out_port, LIST_FLOOD, p->key.in_port, p->exec ? 0 : FLOOD_CHARGED);
	}
	return drop(DROP_REDIRECT_FAILED);
}

#endif
