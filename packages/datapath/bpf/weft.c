/* The programs. Each is a few lines over the building blocks:
 *
 *   weft_port      tcx ingress of a VM's interface      parse -> lookup -> execute, or upcall
 *   weft_underlay  tcx ingress of an underlay interface  validate -> decapsulate -> deliver
 *   weft_helper    tcx ingress of the helper veth's far end: executes for user space, encapsulates clones, sends on
 *   weft_closed    left on an interface that is unbound, and on the GRO device: nothing enters the host's stack
 */
#include "execute.h"
#include "fragment.h"
#include "lookup.h"
#include "underlay.h"

char weft_license[] SEC("license") = "GPL";

SEC("tc")
int weft_port(struct __sk_buff *skb)
{
	struct weft_pkt p;
	struct weft_action a;
	__u32 in_port = skb->ifindex;
	if (parse_frame(skb, &p, in_port) < 0)
		return drop(DROP_MALFORMED);
	if (p.key.ip_frag)
		weft_fragment(skb, &p);
	int found = weft_lookup(&p, &a);
	if (found == LOOKUP_HIT) {
		count_hit(a.counter_slot, skb->len);
		return execute(skb, &p, &a);
	}
	if (found == LOOKUP_RACED)
		count_drop(DROP_FLOW_RACED);
	if (!bpf_map_lookup_elem(&weft_ports, &in_port))
		return drop(DROP_NO_PORT);
	return upcall_and_end(skb, &p, UPCALL_MISS);
}

SEC("tc")
int weft_underlay(struct __sk_buff *skb)
{
	if (skb->vlan_present)
		return TCX_NEXT;
	if (skb->protocol == P_IP)
		return underlay_ipv4(skb);
	if (skb->protocol == P_IPV6)
		return underlay_ipv6(skb);
	return TCX_NEXT;
}

static __always_inline int execute_for_user(struct __sk_buff *skb, __u32 mark)
{
	struct weft_pkt p;
	struct weft_action a;
	__u32 slot = mark % EXEC_SLOTS;
	struct weft_exec *x = bpf_map_lookup_elem(&weft_execs, &slot);
	if (!x)
		return drop(DROP_EXEC_RACED);
	__builtin_memcpy(&a, &x->action, sizeof(a));
	barrier();
	/* The driver writes the mark into both ids. */
	if (a.id_head != mark || a.id_tail != mark)
		return drop(DROP_EXEC_RACED);
	if (weft_parse(skb, &p, a.owner_port) < 0)
		return drop(DROP_MALFORMED);
	p.exec = 1;
	return execute(skb, &p, &a);
}

static __always_inline int encapsulate_replica(struct __sk_buff *skb, __u32 mark)
{
	struct weft_pkt p;
	struct weft_tunnel t;
	struct weft_replica r, *found;
	__u32 slot = mark % REPLICA_SLOTS;
	found = bpf_map_lookup_elem(&weft_replicas, &slot);
	if (!found)
		return drop(DROP_NO_LIST);
	__builtin_memcpy(&r, found, sizeof(r));
	barrier();
	if (r.mark != mark || r.mark_tail != mark)
		return drop(DROP_NO_LIST);
	if (tunnel_get(r.peer, &t) < 0)
		return drop(DROP_NO_TUNNEL);
	if (weft_parse(skb, &p, 0) < 0)
		return drop(DROP_MALFORMED);
	__u32 mtu = t.mtu - (p.tag ? TAG_LEN : 0);
	if (skb->len - p.l3 > mtu && segment_length(skb, &p) > mtu)
		return drop(DROP_TOO_BIG);
	return weft_encapsulate(skb, &p, &t, r.key);
}

SEC("tc")
int weft_helper(struct __sk_buff *skb)
{
	__u32 mark = skb->mark;
	/* Neither a tenant's namespace nor a policy route may see it. */
	skb->mark = 0;
	if (mark & MARK_EXEC)
		return execute_for_user(skb, mark);
	if ((mark & MARK_KIND) == MARK_REPLICA)
		return encapsulate_replica(skb, mark);
	if ((mark & MARK_KIND) == MARK_NEIGH)
		return send_to_hop(mark & ~MARK_KIND);
	return drop(DROP_PORT_UNBOUND); /* nobody's: the host's stack sending into its end */
}

SEC("tc")
int weft_closed(struct __sk_buff *skb)
{
	return drop(DROP_PORT_UNBOUND);
}
