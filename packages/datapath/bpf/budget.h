/* Budgets: the generic cell rate algorithm on one 64-bit word, moved by compare-and-exchange (no lock, no refill timer). */
#ifndef WEFT_BUDGET_H
#define WEFT_BUDGET_H

#include "maps.h"

/* True if `cost` ns fit: the theoretical arrival time may run ahead of the clock by at most `burst` ns. */
static __always_inline int gcra(__u64 *tat, __u64 now, __u64 cost, __u64 burst)
{
	for (int i = 0; i < 4; i++) {
		__u64 old = *(volatile __u64 *)tat;
		__u64 from = old > now ? old : now;
		if (from - now + cost > burst)
			return 0;
		if (__sync_val_compare_and_swap(tat, old, from + cost) == old)
			return 1;
	}
	return 0;
}

static __always_inline int global_budget(__u32 index, __u64 interval, __u64 burst)
{
	__u64 *tat = bpf_map_lookup_elem(&weft_global_budgets, &index);
	return tat && gcra(tat, bpf_ktime_get_ns(), interval, burst);
}

#endif
