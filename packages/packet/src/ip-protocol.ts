/* IP protocol numbers (IANA), one space for IPv4's protocol and IPv6's next header. */

export const IPPROTO_HOPOPTS = 0;
export const IPPROTO_ICMP = 1;
export const IPPROTO_IGMP = 2;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPPROTO_DCCP = 33;
export const IPPROTO_ROUTING = 43;
export const IPPROTO_FRAGMENT = 44;
export const IPPROTO_GRE = 47;
export const IPPROTO_ESP = 50;
export const IPPROTO_AH = 51;
export const IPPROTO_ICMPV6 = 58;
/** IPv6: nothing follows. */
export const IPPROTO_NONE = 59;
export const IPPROTO_DSTOPTS = 60;
export const IPPROTO_OSPF = 89;
export const IPPROTO_VRRP = 112;
export const IPPROTO_SCTP = 132;
export const IPPROTO_UDPLITE = 136;

const NAMES: Readonly<Record<number, string>> = {
  [IPPROTO_ICMP]: 'icmp',
  [IPPROTO_IGMP]: 'igmp',
  [IPPROTO_TCP]: 'tcp',
  [IPPROTO_UDP]: 'udp',
  [IPPROTO_DCCP]: 'dccp',
  [IPPROTO_GRE]: 'gre',
  [IPPROTO_ESP]: 'esp',
  [IPPROTO_AH]: 'ah',
  [IPPROTO_ICMPV6]: 'icmp6',
  [IPPROTO_NONE]: 'no-next',
  [IPPROTO_OSPF]: 'ospf',
  [IPPROTO_VRRP]: 'vrrp',
  [IPPROTO_SCTP]: 'sctp',
  [IPPROTO_UDPLITE]: 'udplite',
};

/** Name of a protocol number, or 'proto N'. */
export function ipProtocolName(protocol: number): string {
  return NAMES[protocol] ?? `proto ${protocol}`;
}

/** Whole packet, or an IPv6 atomic fragment (RFC 6946). */
export const FRAGMENT_NONE = 0;
/** First fragment: the L4 header is here. */
export const FRAGMENT_FIRST = 1;
/** Later fragment: what follows is not an L4 header. */
export const FRAGMENT_LATER = 2;
