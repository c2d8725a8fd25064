/* For measurements: traffic made in the kernel, and a program that does nothing, to subtract what measuring costs. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

char bench_license[] SEC("license") = "GPL";

/* Flows to choose from: a frame carries a number in its MACs, addresses and port. */
const volatile __u32 cfg_flows = 1;
const volatile __u32 cfg_first = 1;

/* Frames are used again and again: whatever a rewrite has changed is written anew. */
SEC("xdp")
int weft_traffic(struct xdp_md *ctx)
{
	__u8 *f = (void *)(long)ctx->data;
	if ((void *)f + 42 > (void *)(long)ctx->data_end)
		return XDP_DROP;
	__u32 n = cfg_first + (cfg_flows > 1 ? bpf_get_prandom_u32() % cfg_flows : 0);
	f[0] = 2, f[5] = 2, f[6] = 2;
	f[1] = f[2] = f[3] = f[4] = f[7] = f[8] = 0;
	f[9] = f[27] = n >> 16;
	f[10] = f[28] = f[34] = n >> 8;
	f[11] = f[29] = f[35] = n;
	f[22] = 64;
	f[24] = f[25] = 0;
	f[26] = 10, f[30] = 10, f[31] = 1, f[32] = 0, f[33] = 2;
	f[36] = 0, f[37] = 53;
	return XDP_PASS;
}

SEC("tc")
int weft_empty(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}
