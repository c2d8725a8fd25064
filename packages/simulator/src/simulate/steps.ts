/** What a recorder is told. `at` is a device or port handle; the meaning of `a` and `b` stands beside each step. */

/** A packet enters by port `at`. */
export const STEP_INGRESS = 1;
/** Chain `at` decided `a` (ACTION_…); `b`: the deciding rule, 0: the end of the chain. */
export const STEP_CHAIN = 2;
/** Rule `at` did (`a` = 1) or did not match; `b`: the key field bit at which it failed, 0: none. */
export const STEP_RULE = 3;
/** Bridge `at` handles the frame under VLAN `a`. */
export const STEP_BRIDGE = 4;
/** Bridge `at` learns the source at port `a`. */
export const STEP_LEARN = 5;
/** Bridge `at` finds the destination at port `a`; 0: nowhere. */
export const STEP_MAC = 6;
/** Bridge `at` floods. */
export const STEP_FLOOD = 7;
/** Bridge `at` knows the address asked for; `a`: port of the router that owns it, 0: from the table. */
export const STEP_SUPPRESS = 8;
/** Router `at` handles the packet. */
export const STEP_ROUTER = 9;
/** Router `at` chose route `a`; `b`: routes of equal cost. `a` = 0: no route. */
export const STEP_ROUTE = 10;
/** Router port `at` leads to the next hop; `a`: 1 known, 2 being asked for, 3 does not answer. */
export const STEP_NEIGHBOUR = 11;
/** The packet leaves a device by port `at`. */
export const STEP_EGRESS = 12;
/** The packet leaves the virtual network by port `at`; `a`: bridge whose flood it is, 0: none. */
export const STEP_OUTPUT = 13;
/** Dropped at `at`; `a`: index of DROP_REASONS. */
export const STEP_DROP = 14;
/** Port `at` sends a frame of its own; `a`: GENERATED_…. */
export const STEP_GENERATE = 15;
/** Something of object `at` is not cached. */
export const STEP_MISSING = 16;
/** Router port `at` learns a neighbour. */
export const STEP_LEARN_NEIGHBOUR = 17;
/** Rule `at` jumps to chain `a`; `b` = 1: which is being evaluated already, so that nothing comes of it. */
export const STEP_JUMP = 18;
/** A filter begins, by chain `at`; `a`: port by which the packet entered the device, `b`: by which it leaves (0: none, not known). */
export const STEP_FILTER = 19;
/** Behind STEP_FILTER, once per port or device `at` that the packet has come to on its way. */
export const STEP_PASSED = 20;

/**
 * Device `at` looks a connection of kind `a` up; `b`: 0 not found, 1 the packet goes in its forward direction, 2 it is an answer. The key
 * is that of a packet with the tuple that is looked up: for an ICMP error of an answer to what it quotes.
 */
export const STEP_STATE = 21;
/** A connection of kind `a` begins on device `at`; `b`: its place in the result's `created`. */
export const STEP_STATE_CREATE = 22;
/** Device `at` has translated source (`a` = 1) or destination. */
export const STEP_TRANSLATE = 23;
/** Filter `at` lets a connection finish that a rule of it once let begin. */
export const STEP_KEPT = 24;
/** On device `at` the packet goes in direction `a`: 1 it opens a connection, or is part of none; 2 it is an answer. */
export const STEP_DIRECTION = 25;

export const NEIGHBOUR_KNOWN = 1;
export const NEIGHBOUR_UNRESOLVED = 2;
export const NEIGHBOUR_FAILED = 3;
