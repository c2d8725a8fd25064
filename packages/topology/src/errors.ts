/** Codes of the constraints that the object model enforces; what each means and what to do. */
export const ERRORS = {
  WEFT_IMMUTABLE: 'This field cannot change after creation. Delete the object and create a new one.',
  WEFT_HOST_NOT_IN_TUNNEL_ZONE:
    'A port can be bound only to a host that is in a tunnel zone. Add the host to one first.',
  WEFT_INTERFACE_IN_USE:
    'Another port is bound to this interface of the host. Unbind that port or name another interface.',
  WEFT_PORT_BOUND: 'The port is bound to a host interface, so it cannot be linked. Unbind it first.',
  WEFT_PORT_LINKED: 'The port is linked to a peer. Unlink it first.',
  WEFT_PORT_NOT_BOUND: 'The port is bound to no host, so it cannot move. Bind it where it is to be.',
  WEFT_PORT_NOT_MOVING:
    'No move of the port is prepared. Prepare one first, or bind the port to the other host at once.',
  WEFT_LINK_NOT_ALLOWED:
    'These two ports cannot be linked. Link ports of different devices; of two bridge ports exactly one has a vlanId.',
  WEFT_SUBNET_OVERLAP:
    'Another port of the router has an address in this subnet. Choose a subnet that does not overlap.',
  WEFT_ROUTE_PORT_ON_OTHER_ROUTER: 'The next-hop port belongs to another device. Name a port of the same router.',
  WEFT_ZONE_TYPE_IN_USE: 'The type of a tunnel zone with members cannot change. Remove its members first.',
  WEFT_RULE_NOT_IN_CHAIN: 'The chain lists a rule that belongs to another chain. List the rules of this chain only.',
  WEFT_RULE_POSITION:
    'A rule is put between position 1, the first, and one past the last of its chain. Correct the position.',
  WEFT_DANGLING: 'The object names another one that does not exist. Create that one first, or correct the id.',
} as const;

export type TopologyErrorCode = keyof typeof ERRORS;

/** A refusal of the object model. */
export class TopologyError extends Error {
  readonly code: TopologyErrorCode;
  readonly violations: readonly { readonly property: string; readonly message: string }[];

  constructor(
    code: TopologyErrorCode,
    message: string,
    violations: readonly { readonly property: string; readonly message: string }[] = [],
  ) {
    super(message);
    this.name = 'TopologyError';
    this.code = code;
    this.violations = violations;
  }
}
