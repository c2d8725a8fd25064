/**
 * Lists of the rules that flows have passed. Flows that took the same way passed the same rules, and there are many of them:
 * a list is kept once, and a flow knows its number. What its flows carry is gathered per list and given to the rules when
 * somebody asks, so that a packet costs the same however many rules it met.
 */
import { RULE_HIT_WORDS } from '@weft/simulator';
import type { RuleTotals } from './rule-totals.ts';

/** The number of no list: no rule was passed, or there is no room for one more list. */
export const NO_RULES = -1;
/** Words of all lists: a tenant's rules must not make the agent grow without bound. 8 MiB. */
const MAX_WORDS = 2 ** 21;

interface RuleSet {
  readonly id: number;
  readonly hash: number;
  /** RULE_HIT_WORDS words per rule: handle and what it did. A rule that was passed twice stands here twice. */
  readonly hits: Int32Array;
  /** Flows with this list, and those who hold it meanwhile. */
  references: number;
  packets: number;
  bytes: number;
  lastAt: number;
}

export class RuleSets {
  /** Flows whose rules are not counted because there was no room for their list. */
  refused = 0;
  private readonly totals: RuleTotals;
  private readonly maxWords: number;
  private readonly sets: (RuleSet | undefined)[] = [];
  private readonly free: number[] = [];
  /** Hash of the words → lists with it; nearly always one. */
  private readonly byHash = new Map<number, RuleSet[]>();
  private words = 0;

  constructor(totals: RuleTotals, maxWords = MAX_WORDS) {
    this.totals = totals;
    this.maxWords = maxWords;
  }

  /** Lists there are. */
  get size(): number {
    return this.sets.length - this.free.length;
  }

  /**
   * Number of the list with the first `count` entries of `hits` (see `Simulation.ruleHits`), made if there is none; NO_RULES
   * if `count` is 0 or there is no room. The caller holds it until `release`.
   */
  intern(hits: Int32Array, count: number): number {
    if (count === 0) return NO_RULES;
    const words = count * RULE_HIT_WORDS;
    let hash = words;
    for (let i = 0; i < words; i++) hash = (Math.imul(hash, 0x01000193) ^ hits[i]) | 0;
    const candidates = this.byHash.get(hash);
    if (candidates !== undefined) {
      for (const set of candidates) {
        if (!sameWords(set.hits, hits, words)) continue;
        set.references++;
        return set.id;
      }
    }
    if (this.words + words > this.maxWords) {
      this.refused++;
      return NO_RULES;
    }
    this.words += words;
    const id = this.free.pop() ?? this.sets.length;
    const set = { id, hash, hits: hits.slice(0, words), references: 1, packets: 0, bytes: 0, lastAt: 0 };
    this.sets[id] = set;
    if (candidates === undefined) this.byHash.set(hash, [set]);
    else candidates.push(set);
    return id;
  }

  hold(id: number): void {
    if (id >= 0) this.sets[id]!.references++;
  }

  release(id: number): void {
    if (id < 0) return;
    const set = this.sets[id]!;
    if (--set.references > 0) return;
    this.fold(set);
    this.sets[id] = undefined;
    this.free.push(id);
    this.words -= set.hits.length;
    const left = this.byHash.get(set.hash)!.filter((one) => one !== set);
    if (left.length === 0) this.byHash.delete(set.hash);
    else this.byHash.set(set.hash, left);
  }

  /** Packets have passed the rules of a list. */
  count(id: number, packets: number, bytes: number, now: number): void {
    if (id < 0) return;
    const set = this.sets[id]!;
    set.packets += packets;
    set.bytes += bytes;
    set.lastAt = now;
  }

  /** Gives the rules what was gathered for them. */
  foldAll(): void {
    for (const set of this.sets) if (set !== undefined) this.fold(set);
  }

  private fold(set: RuleSet): void {
    const { hits, packets, bytes, lastAt } = set;
    if (packets === 0) return;
    for (let i = 0; i < hits.length; i += RULE_HIT_WORDS) {
      this.totals.add(hits[i], hits[i + 1], packets, bytes, lastAt);
    }
    set.packets = 0;
    set.bytes = 0;
  }
}

function sameWords(a: Int32Array, b: Int32Array, count: number): boolean {
  if (a.length !== count) return false;
  for (let i = 0; i < count; i++) if (a[i] !== b[i]) return false;
  return true;
}
