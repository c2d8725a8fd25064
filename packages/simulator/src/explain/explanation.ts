/** What an explanation consists of: plain data, fit for JSON. docs/AGENT.md documents it. */
import type { Miss } from './conditions.ts';
import type { Ref } from './names.ts';

export type StepKind =
  | 'enters'
  | 'filter'
  | 'rule'
  | 'jump'
  | 'chain'
  | 'bridge'
  | 'learns'
  | 'mac'
  | 'flood'
  | 'answers'
  | 'router'
  | 'route'
  | 'neighbour'
  | 'leaves'
  | 'output'
  | 'drop'
  | 'generates'
  | 'missing'
  | 'learns-neighbour'
  | 'state'
  | 'begins'
  | 'translates'
  | 'kept'
  | 'direction';

/** One decision. */
export interface ExplainedStep {
  readonly step: StepKind;
  /** The thing that decided. */
  readonly at: Ref;
  /** How deep to indent the line: 0 a port, 1 a device, 2 a filter, 3 and more a rule of it. */
  readonly depth: number;
  /** The decision as a sentence without a full stop. */
  readonly text: string;
  /** Of a rule: whether it matched, and what keeps it from matching. */
  readonly matched?: boolean;
  readonly misses?: readonly Miss[];
  /** The other thing involved: where a MAC is, the route, the bridge of a flood. */
  readonly other?: Ref;
  /** Of a route: how many were equally good. */
  readonly equal?: number;
  /** Of a drop: its reason, as in docs/METRICS.md. */
  readonly reason?: string;
}

export type ConnectionKind = 'tracking' | 'snat' | 'dnat';

/** Packets of one direction of a connection. */
export interface ExplainedTuple {
  /** Name, or `proto N`. */
  readonly protocol: string;
  readonly src: string;
  readonly dst: string;
  /** Absent of protocols that have none. */
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** Identifier of an echo; of other ICMP messages 0. */
  readonly id?: number;
}

export interface ExplainedConnection {
  readonly device: Ref;
  readonly kind: ConnectionKind;
  /** `created`: a real packet would begin it. */
  readonly state: 'known' | 'created';
  /** Way of this packet: `forward` as the packet that opens the connection. */
  readonly direction: 'forward' | 'return';
  /** The packet as the device saw it first, and the answer to what left the device. */
  readonly forward: ExplainedTuple;
  readonly return: ExplainedTuple;
}

/** A rule in words. */
export interface RuleInWords {
  readonly rule: Ref;
  readonly chain: Ref;
  /** Place in its chain, from 1. */
  readonly number: number;
  /** The type of the rule: accept, drop, snat … */
  readonly action: string;
  /** The action in words: with what it translates to, and what follows. */
  readonly effect: string;
  readonly condition: string;
}

/**
 * The nearest rule that would have changed the verdict. Of a packet that a rule dropped: among the rules evaluated before that
 * one in the same filter which would have let it through, the one of whose condition the fewest parts do not hold (the first of
 * several). Of a packet that passed: among all rules evaluated that drop or reject, the one that missed by the fewest parts.
 */
export interface NearestRule extends RuleInWords {
  readonly misses: readonly Miss[];
}

export interface Explanation {
  readonly verdict: 'forward' | 'drop' | 'postpone';
  /** Drop reason as in docs/METRICS.md; '' unless dropped. */
  readonly reason: string;
  /** Where it was dropped, or what it waits for. */
  readonly where: Ref | null;
  readonly steps: readonly ExplainedStep[];
  /** Decisions that were too many to be kept. */
  readonly stepsLost: number;
  /** Connections that it belongs to or begins, on each device one of each kind. */
  readonly connections: readonly ExplainedConnection[];
  /** The rule that dropped or rejected the packet, or could not translate it, if one did. */
  readonly decidedBy: RuleInWords | null;
  readonly nearest: NearestRule | null;
  /** The verdict, and what would have changed it, in sentences. */
  readonly summary: readonly string[];
}
