/**
 * Counts what rules match. The datapath counts packets per flow, user space knows which rules each flow has passed. A flow's
 * count goes to its rules whenever it is read, and before they change: a packet counts for the rules that it was decided by.
 * Packets that the agent carries itself are counted here.
 */
import type { Datapath } from '@weft/datapath';
import { RULE_HIT_WORDS, type Simulation } from '@weft/simulator';
import { NO_RULES, RuleSets } from './rule-sets.ts';
import { RuleTotals } from './rule-totals.ts';

/** An adopted flow has passed rules that are not known until it has been simulated; its count waits for them. */
const UNKNOWN = -2;

export class RuleCounts {
  readonly totals = new RuleTotals();
  readonly sets = new RuleSets(this.totals);
  /** Per slot: when its counter was last seen to move; ms. */
  readonly activeAt: Float64Array;
  /** Something was counted since this was last set to false. */
  changed = false;
  private readonly datapath: Datapath;
  private readonly clock: () => number;
  /**
   * The datapath's counters of each slot, as far as they have been given to rules. Of a flow without rules the bytes are not kept
   * up. Memory of slots that were never used is never touched, and so takes no room.
   */
  private readonly seenPackets: Float64Array;
  private readonly seenBytes: Float64Array;
  /** List of each slot, plus one: 0 is NO_RULES. */
  private readonly setPlusOne: Int32Array;

  constructor(datapath: Datapath, clock: () => number) {
    const capacity = datapath.options.maxFlows;
    this.datapath = datapath;
    this.clock = clock;
    this.activeAt = new Float64Array(capacity);
    this.seenPackets = new Float64Array(capacity);
    this.seenBytes = new Float64Array(capacity);
    this.setPlusOne = new Int32Array(capacity);
  }

  /** An adopted flow: what it counts from now on waits until `assign` says which rules it has passed. */
  adopt(slot: number): void {
    this.setPlusOne[slot] = UNKNOWN + 1;
    this.datapath.readCounter(slot, this.seenPackets, this.seenBytes);
  }

  /** What an adopted flow had counted already when an earlier process wrote it down. */
  restore(slot: number, packets: number, bytes: number): void {
    if (this.of(slot) !== UNKNOWN || packets > this.seenPackets[slot] || bytes > this.seenBytes[slot]) return;
    this.seenPackets[slot] = packets;
    this.seenBytes[slot] = bytes;
  }

  /** The list of rules that a simulation has passed; held until `release`. */
  intern(sim: Simulation): number {
    return this.sets.intern(sim.ruleHits, sim.ruleHitCount);
  }

  release(set: number): void {
    this.sets.release(set);
  }

  hold(set: number): void {
    this.sets.hold(set);
  }

  /** List of a flow; negative: none, or not known yet. */
  of(slot: number): number {
    return this.setPlusOne[slot] - 1;
  }

  /** True of an adopted flow whose rules are not known yet. */
  isUnknown(slot: number): boolean {
    return this.of(slot) === UNKNOWN;
  }

  /** From now on the flow's packets count for this list, of which the flow gets a hold of its own. */
  assign(slot: number, set: number): void {
    const before = this.of(slot);
    if (before === set) return;
    if (before !== UNKNOWN) this.read(slot);
    this.sets.hold(set);
    this.setPlusOne[slot] = set + 1;
    this.sets.release(before);
  }

  /** The flow is gone from the datapath: what it has counted since it was last read is its last. */
  vacate(slot: number): void {
    this.read(slot);
    this.sets.release(this.of(slot));
    this.setPlusOne[slot] = 0;
  }

  /** A packet that a flow would have taken was carried by the agent. */
  carried(slot: number, bytes: number): void {
    const set = this.of(slot);
    if (set < 0) return;
    this.sets.count(set, 1, bytes, this.clock());
    this.changed = true;
  }

  /** A packet was simulated and carried out. */
  simulated(sim: Simulation, bytes: number, now: number): void {
    const { ruleHits, ruleHitCount } = sim;
    if (ruleHitCount === 0) return;
    this.changed = true;
    for (let i = 0; i < ruleHitCount * RULE_HIT_WORDS; i += RULE_HIT_WORDS) {
      this.totals.add(ruleHits[i], ruleHits[i + 1], 1, bytes, now);
    }
  }

  /** Takes a slot's counters as they were just read. `packets`, `bytes`: the slot's. */
  take(slot: number, packets: number, bytes: number, now: number): void {
    const more = packets - this.seenPackets[slot];
    if (more === 0) return;
    this.activeAt[slot] = now;
    const set = this.of(slot);
    if (set === UNKNOWN) return;
    this.seenPackets[slot] = packets;
    if (set < 0) return;
    this.sets.count(set, more, bytes - this.seenBytes[slot], now);
    this.changed = true;
    this.seenBytes[slot] = bytes;
  }

  private read(slot: number): void {
    const { seenPackets, seenBytes } = this;
    const packets = seenPackets[slot];
    const bytes = seenBytes[slot];
    this.datapath.readCounter(slot, seenPackets, seenBytes);
    const more = seenPackets[slot] - packets;
    if (more === 0) return;
    const now = this.clock();
    this.activeAt[slot] = now;
    const set = this.of(slot);
    if (set < 0) return;
    this.sets.count(set, more, seenBytes[slot] - bytes, now);
    this.changed = true;
  }

  /** Visits where the flows that pass rules stand. */
  forEachFlow(visit: (slot: number, packets: number, bytes: number) => void): void {
    for (let slot = 0; slot < this.setPlusOne.length; slot++) {
      if (this.of(slot) !== NO_RULES) visit(slot, this.seenPackets[slot], this.seenBytes[slot]);
    }
  }
}
