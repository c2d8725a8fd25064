/* What this kernel's helpers know, asked by a test run on an IPv6 frame. A bit per feature in the return value. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PROBE_CSUM_IPV6 1
#define PROBE_DECAP_L3 2

char probe_license[] SEC("license") = "GPL";

SEC("tc")
int weft_probe(struct __sk_buff *skb)
{
	int have = 0;
	if (bpf_l4_csum_replace(skb, 14 + 40 + 6, 0, 1, BPF_F_PSEUDO_HDR | (1ULL << 7)) == 0)
		have |= PROBE_CSUM_IPV6;
	if (bpf_skb_adjust_room(skb, -40, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | (1ULL << 8)) == 0)
		have |= PROBE_DECAP_L3;
	return have;
}
