/** The words of compiled chains: actions, tests, and what a packet must be for them. */

export const ACTION_ACCEPT = 1;
export const ACTION_DROP = 2;
export const ACTION_REJECT = 3;
export const ACTION_RETURN = 4;
export const ACTION_JUMP = 5;
/** It decides nothing. */
export const ACTION_CONTINUE = 6;
/** Too many jumps: no rule says so, and the packet is dropped. */
export const ACTION_LIMIT = 7;
/** Translations: `SimChain.nats` says to what, and word 8 of the rule what follows. */
export const ACTION_SNAT = 8;
export const ACTION_DNAT = 9;
export const ACTION_REV_SNAT = 10;
export const ACTION_REV_DNAT = 11;
export const ACTION_MASQUERADE = 12;
/** Numbers of actions are below this. */
export const ACTIONS = 13;

export const OP_IN_PORT = 1;
export const OP_OUT_PORT = 2;
export const OP_BYTES = 3;
export const OP_RANGE = 4;
export const OP_FRAGMENT = 5;
export const OP_VLAN = 6;
export const OP_UNTAGGED = 7;
/** Groups of the port of entry into the network, into the device, and of departure from it. */
export const OP_PORT_GROUP = 8;
export const OP_IN_PORT_GROUP = 9;
export const OP_OUT_PORT_GROUP = 10;
export const OP_TRAVERSED = 11;
export const OP_ADDRESS_GROUP = 12;
export const OP_DST_REWRITTEN = 13;
/** An address of the packet that an ICMP error quotes; the offset says which: `ICMP_DATA_…`. */
export const OP_ICMP_DATA = 14;
/** Direction within a connection: `a` = 1 an answer, 0 not. */
export const OP_RETURN_FLOW = 15;
export const ICMP_DATA_SRC = 0;
export const ICMP_DATA_DST = 1;

/** What a packet must be for the tested field to exist; without it the test fails (inverted: holds). */
export const NEEDS_NOTHING = 0;
export const NEEDS_IP = 1;
/** IPv4, or ARP, whose protocol addresses count as source and destination. */
export const NEEDS_IPV4 = 2;
export const NEEDS_IPV6 = 3;
/** A transport header with ports, or ICMP's type and code, in this packet. */
export const NEEDS_L4 = 4;
/** IPv4, IPv6 or ARP. */
export const NEEDS_ADDRESSES = 5;
/** As NEEDS_L4, or a later fragment whose first one's ports are known. */
export const NEEDS_FLOW = 6;

/**
 * Words of a rule: action, jump target, first entry of `order`, entries, inverted, fragment classes allowed (bits), handle, 1: connections
 * that it lets begin are to finish, what follows a translation (ACTION_…), index in `nats`.
 */
export const RULE_STRIDE = 10;
/** Indexes of the words that a rule's place in its chain decides. */
export const RULE_FIRST = 2;
export const RULE_NAT = 9;
/** Words of a test: op, inverted, key offset, a, b, the field it is about, needs, fields read before it is carried out. */
export const TEST_STRIDE = 8;
/** Index of word `a`. */
export const TEST_A = 3;

/** Bits of `SimChain.logs`. */
export const LOG_ACCEPT = 1;
export const LOG_DROP = 2;
