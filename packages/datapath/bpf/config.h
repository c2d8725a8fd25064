/* What the loader sets before the programs are verified: read-only, so dead branches vanish from the JITed code. */
#ifndef WEFT_CONFIG_H
#define WEFT_CONFIG_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#include "generated/weft_flow.h"

#define ENCAP_GRE 0
#define ENCAP_VXLAN 1

/* One encapsulation per host: an skb that was decapsulated keeps the inner offsets of its kind. */
const volatile __u32 cfg_encap = ENCAP_VXLAN;
const volatile __u32 cfg_vxlan_port = 4789;
/* Rows of the counter array: [cpu][slot]. */
const volatile __u32 cfg_counter_slots = 1;
/* The end of the helper veth into which frames are sent. */
const volatile __u32 cfg_helper_ifindex = 0;
/* Kernel knows BPF_F_ADJ_ROOM_DECAP_L3_IPV4/6 (6.3). */
const volatile __u32 cfg_have_decap_l3 = 0;
/* Kernel knows BPF_F_IPV6 in bpf_l4_csum_replace (6.16 and stable trees). */
const volatile __u32 cfg_have_csum_ipv6 = 0;
/* bpf_redirect_peer may be used at all. */
const volatile __u32 cfg_use_peer = 1;
/* Copies per second that one port may make of flooded frames, and the burst, as GCRA times in ns. */
const volatile __u64 cfg_bum_interval = 20000;
const volatile __u64 cfg_bum_burst = 200000000;

#define TCX_NEXT -1

#define ETH_LEN 14
#define TAG_LEN 4
#define P_IP bpf_htons(0x0800)
#define P_IPV6 bpf_htons(0x86dd)
#define P_ARP bpf_htons(0x0806)
#define P_8021Q bpf_htons(0x8100)
#define P_8021AD bpf_htons(0x88a8)

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_GRE 47
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132
#define PROTO_UDPLITE 136

/* Newer than the installed headers. */
#define ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#define CSUM_F_IPV6 (1ULL << 7)

#define barrier() asm volatile("" ::: "memory")
/* Keeps the compiler from reasoning about v, so that the bound that follows is the one the verifier sees. */
#define opaque(v) asm volatile("" : "+r"(v))

#endif
