/**
 * What each rule has matched: packets, bytes, and when last. Rows are found by the rule's handle. Of a rule that nobody has
 * heard of for long the row is given up when there are too many.
 */
import { ACTIONS } from '@weft/simulator';

/** What one rule has matched. `lastAt`: ms of the agent's steady clock. */
export interface RuleTotal {
  readonly packets: number;
  readonly bytes: number;
  readonly lastAt: number;
}

/** Rules counted at most; beyond, a quarter of them goes, those that matched longest ago. */
const MAX_RULES = 65_536;

export class RuleTotals {
  /** Matches by what the rule did (ACTION_…). */
  readonly byAction = new Float64Array(ACTIONS);
  private readonly rows = new Map<number, { packets: number; bytes: number; lastAt: number }>();
  private readonly capacity: number;

  constructor(capacity = MAX_RULES) {
    this.capacity = capacity;
  }

  get size(): number {
    return this.rows.size;
  }

  /** Adds matches of a rule. `action`: what it did. */
  add(rule: number, action: number, packets: number, bytes: number, lastAt: number): void {
    this.byAction[action] += packets;
    this.restore(rule, packets, bytes, lastAt);
  }

  /** Adds what an earlier process counted. */
  restore(rule: number, packets: number, bytes: number, lastAt: number): void {
    let row = this.rows.get(rule);
    if (row === undefined) {
      if (this.rows.size >= this.capacity) this.makeRoom();
      this.rows.set(rule, (row = { packets: 0, bytes: 0, lastAt }));
    }
    row.packets += packets;
    row.bytes += bytes;
    row.lastAt = Math.max(row.lastAt, lastAt);
  }

  get(rule: number): RuleTotal | undefined {
    return this.rows.get(rule);
  }

  /** Starts a rule again at 0. */
  clear(rule: number): void {
    this.rows.delete(rule);
  }

  clearAll(): void {
    this.rows.clear();
  }

  forEach(visit: (rule: number, total: RuleTotal) => void): void {
    for (const [rule, total] of this.rows) visit(rule, total);
  }

  private makeRoom(): void {
    const oldest = [...this.rows].sort(([, a], [, b]) => a.lastAt - b.lastAt);
    for (const [rule] of oldest.slice(0, Math.ceil(this.capacity / 4))) this.rows.delete(rule);
  }
}
