/* Drops are counted, never silent. */
#ifndef WEFT_DROP_H
#define WEFT_DROP_H

#include "maps.h"

static __always_inline void count_drop(__u32 reason)
{
	if (reason >= DROP_REASONS_COUNT)
		reason = DROP_FLOW_DROP;
	__u64 *n = bpf_map_lookup_elem(&weft_drops, &reason);
	if (n)
		*n += 1;
}

/* Verdict of a packet that ends here. Our programs never say TC_ACT_OK for a VM's frame: that would be the host's stack. */
static __always_inline int drop(__u32 reason)
{
	count_drop(reason);
	return TC_ACT_SHOT;
}

#endif
