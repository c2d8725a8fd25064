/** What the parts of the packet worker share: one object, made once. */
import type { Datapath } from '@weft/datapath';
import { DROP_REASONS, type DropReason, dropReason } from '@weft/flow';
import type { PacketSimulator, VirtualTopologyView } from '@weft/simulator';
import type { AgentLimits } from '../config.ts';
import type { RuleCounts } from '../flows/rule-counts.ts';
import type { Bindings } from './bindings.ts';
import type { Connections } from './connections/connections.ts';
import type { Effects } from './effects.ts';
import type { ExecutionQueue } from './execution-queue.ts';
import type { Installer } from './installer.ts';
import type { LearnedMacs } from './learned-macs.ts';
import type { ReplicateLists } from './lists.ts';
import type { Moves } from './moves.ts';
import type { Neighbours } from './neighbours.ts';
import type { RuleLogger } from './rule-logger.ts';
import type { Translator } from './translate.ts';
import type { Tunnels } from './tunnels.ts';
import type { WaitingRoom } from './waiting-room.ts';

export interface Core {
  readonly hostId: string;
  readonly limits: AgentLimits;
  readonly datapath: Datapath;
  readonly view: VirtualTopologyView;
  readonly simulator: PacketSimulator;
  readonly effects: Effects;
  readonly bindings: Bindings;
  readonly tunnels: Tunnels;
  readonly lists: ReplicateLists;
  readonly macs: LearnedMacs;
  readonly neighbours: Neighbours;
  readonly installer: Installer;
  readonly rules: RuleCounts;
  readonly ruleLogger: RuleLogger;
  readonly connections: Connections;
  readonly moves: Moves;
  readonly translator: Translator;
  readonly waiting: WaitingRoom;
  /** Frames that leave before the flows that they made are installed: most. */
  readonly queue: ExecutionQueue;
  /** Frames that leave once their flows are installed: segments that open a TCP connection (see `opening-segment.ts`). */
  readonly openings: ExecutionQueue;
  readonly counters: WorkerCounters;
  /** Scratch: counters of consecutive slots, as many as are read at a time. */
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
  /** Interests that this worker asked for and has not given back. */
  readonly interests: Set<string>;
}

/** Counters of the worker; read by the metrics endpoint. */
export interface WorkerCounters {
  /** Packets dropped by the worker, by index of DROP_REASONS. */
  readonly drops: Float64Array;
  upcalls: number;
  /** Upcalls that found their flow installed already. */
  lateHits: number;
  simulations: number;
  postponed: number;
  generated: number;
  icmpSuppressed: number;
  revalidated: number;
  evicted: number;
  expired: number;
  errors: number;
}

export function newWorkerCounters(): WorkerCounters {
  return {
    drops: new Float64Array(DROP_REASONS.length),
    upcalls: 0,
    lateHits: 0,
    simulations: 0,
    postponed: 0,
    generated: 0,
    icmpSuppressed: 0,
    revalidated: 0,
    evicted: 0,
    expired: 0,
    errors: 0,
  };
}

export function countDrop(counters: WorkerCounters, reason: DropReason): void {
  counters.drops[dropReason(reason)]++;
}

/** Asks for interests that are not subscribed yet. */
export function want(core: Core, interests: readonly string[]): void {
  const fresh = interests.filter((i) => !core.interests.has(i));
  if (fresh.length === 0) return;
  for (const i of fresh) core.interests.add(i);
  core.effects.addInterests(fresh);
}
