/* Key -> action. Hash elements are recycled without a grace period: between finding a value and reading it, it may have
 * become another flow's. So: copy once, compare both ids and the owner, look once more, else give up. */
#ifndef WEFT_LOOKUP_H
#define WEFT_LOOKUP_H

#include "drop.h"
#include "packet.h"

#define LOOKUP_MISS 0
#define LOOKUP_HIT 1
#define LOOKUP_RACED 2

static __always_inline int owned(const struct weft_action *a, __u32 in_port, __u32 class)
{
#ifdef WEFT_NO_OWNER_CHECK
	return 1; /* for the test that shows what the check is for */
#else
	return a->id_head == a->id_tail && a->owner_port == in_port && a->owner_class == class;
#endif
}

static __always_inline void copy_action(struct weft_action *to, const struct weft_action *from)
{
	__builtin_memcpy(to, from, sizeof(*to));
	barrier(); /* what is checked below is the copy */
}

static __always_inline int take(const struct weft_key *masked, const struct weft_action *found, struct weft_action *a)
{
	copy_action(a, found);
	if (owned(a, masked->in_port, masked->mask_class))
		return LOOKUP_HIT;
	found = bpf_map_lookup_elem(&weft_flows, masked);
	if (!found)
		return LOOKUP_RACED;
	copy_action(a, found);
	return owned(a, masked->in_port, masked->mask_class) ? LOOKUP_HIT : LOOKUP_RACED;
}

/* Masks are nested, and the hash of a masked key is a sum over its words: a class adds to the one before what it masks less. */
static __always_inline __u32 filter_sum(const struct weft_key *key, const int class)
{
	const __u32 *k = (const __u32 *)key, *m = (const __u32 *)weft_masks[class];
	__u32 sum = 0;
#pragma unroll
	for (int i = 0; i < WEFT_KEY_SIZE / 4; i++) {
		__u32 more = class ? m[i] & ~((const __u32 *)weft_masks[class - 1])[i] : m[i];
		if (more)
			sum += (k[i] & more) * (0x9e3779b1 + i * 0x85ebca6a);
	}
	return sum;
}

static __always_inline int filter_has(const struct weft_filter *f, const int class, __u32 sum)
{
	__u32 bit = ((sum ^ sum >> 15) * 0x2c1b3c6d) >> 23;
	return f->bits[class][bit >> 5] >> (bit & 31) & 1;
}

/* Probes the ingress port's classes from the most general on. A function of its own: its masked key and the stack of
 * what follows a hit do not fit 512 bytes together. */
__noinline int weft_lookup(const struct weft_pkt *p, struct weft_action *a)
{
	if (!p || !a)
		return LOOKUP_MISS;
	struct weft_key masked __attribute__((aligned(8)));
	const struct weft_action *found = 0;
	__u32 row = p->key.in_port % FILTER_ROWS, sum = 0;
	const struct weft_filter *f = bpf_map_lookup_elem(&weft_filters, &row);
	if (!f)
		return LOOKUP_MISS;
	__u32 classes = f->classes;
	int several = classes & (classes - 1);
#pragma unroll
	for (int c = 0; c < WEFT_MASK_CLASSES; c++) {
		if (several)
			sum += filter_sum(&p->key, c);
		if (!found && (classes & (1 << c)) && (!several || filter_has(f, c, sum))) {
			const __u64 *k = (const __u64 *)&p->key, *m = (const __u64 *)weft_masks[c];
			__u64 *out = (__u64 *)&masked;
#pragma unroll
			for (int i = 0; i < WEFT_KEY_SIZE / 8; i++)
				out[i] = k[i] & m[i];
			masked.mask_class = c;
			found = bpf_map_lookup_elem(&weft_flows, &masked);
		}
	}
	return found ? take(&masked, found, a) : LOOKUP_MISS;
}

static __always_inline void count_hit(__u32 slot, __u32 bytes)
{
	if (slot >= cfg_counter_slots)
		return;
	__u32 row = bpf_get_smp_processor_id() * cfg_counter_slots + slot;
	struct weft_counter *c = bpf_map_lookup_elem(&weft_counters, &row);
	if (c) {
		c->packets += 1;
		c->bytes += bytes;
	}
}

#endif
