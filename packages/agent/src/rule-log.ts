/** Lines of the rule log: which rule decided about the first packet of a flow. */

/** A decision. Written as one JSON object, with `time` (ms since 1970) and `host`. */
export interface RuleDecision {
  readonly event: 'rule.decided';
  readonly chain: { readonly id: string; readonly name: string; readonly metadata?: Metadata };
  /** Position from 1; 0: the chain does not have the rule any more. */
  readonly rule: { readonly id: string; readonly position: number; readonly metadata?: Metadata };
  /** Tenant of the chain; '' if it has none. */
  readonly tenant: string;
  /** What the rule did: accept, return, drop, reject; jump: what the chain did that it led to. */
  readonly verdict: string;
  /** Port of this host by which the packet came. */
  readonly port: { readonly id: string; readonly interface: string };
  /** `first`: the flow is new; `changed`: other rules decide about a flow that was there already. */
  readonly flow: 'first' | 'changed';
  readonly srcMac: string;
  readonly dstMac: string;
  /** As a number: 2048 is IPv4, 34525 IPv6, 2054 ARP. */
  readonly ethertype: number;
  /** VLAN id of a tagged frame. */
  readonly vlan?: number;
  /** Of IP packets, and the addresses of ARP. */
  readonly src?: string;
  readonly dst?: string;
  readonly protocol?: number;
  /** Of TCP, UDP and SCTP. */
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
}

/** Decisions that were not written, since the line of this kind before. */
export interface RuleSuppression {
  readonly event: 'rule.suppressed';
  readonly suppressed: number;
}

export type RuleLogLine = RuleDecision | RuleSuppression;

type Metadata = Readonly<Record<string, string>>;
