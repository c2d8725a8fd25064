/** Filters in a recording: which rules were asked, which one decided, and which one missed by the least. */

import { K_ETHER_TYPE, readU16 } from '@weft/flow';
import { KIND_SNAT, TUPLE_PORTS, TUPLE_WORDS, tupleOfKey } from '@weft/flowstate';
import type { NatTarget } from '@weft/topology';
import { ACTION_UNTRANSLATED } from '../simulate/chain.ts';
import * as S from '../simulate/steps.ts';
import { ACTION_DROP, ACTION_LIMIT, ACTION_REJECT } from '../view/chain.ts';
import { actionWords } from './action-words.ts';
import { type ConditionJudge, conditionWords, type FilterContext } from './conditions.ts';
import type { NearestRule, RuleInWords } from './explanation.ts';
import type { Names } from './names.ts';
import type { StepRecorder } from './step-recorder.ts';

/** Rules whose parts are judged one by one, per explanation: bounds its time. */
const MAX_JUDGED = 4096;

/** The packet as a whole, beside what steps hold. */
export interface PacketContext {
  readonly original: Uint8Array;
  readonly frame: Uint8Array;
  readonly length: number;
  readonly origin: number;
}

/** One evaluation of a filter: steps `first` to `last` (exclusive). */
interface Filter {
  readonly first: number;
  readonly last: number;
  readonly inPort: number;
  readonly outPort: number;
  readonly passed: readonly number[];
}

const WITHIN: ReadonlySet<number> = new Set([
  S.STEP_PASSED,
  S.STEP_RULE,
  S.STEP_JUMP,
  S.STEP_CHAIN,
  S.STEP_MISSING,
  S.STEP_STATE,
  S.STEP_STATE_CREATE,
  S.STEP_DIRECTION,
  S.STEP_TRANSLATE,
  S.STEP_KEPT,
]);

/** The filters that the packet was run through, in order. */
export function filtersOf(rec: StepRecorder): Filter[] {
  const filters: Filter[] = [];
  for (let n = 0; n < rec.count; n++) {
    if (rec.kind[n] !== S.STEP_FILTER) continue;
    const passed: number[] = [];
    let last = n + 1;
    for (; last < rec.count && WITHIN.has(rec.kind[last]); last++) {
      if (rec.kind[last] === S.STEP_PASSED) passed.push(rec.at[last]);
    }
    filters.push({ first: n, last, inPort: rec.a[n], outPort: rec.b[n], passed });
    n = last - 1;
  }
  return filters;
}

/** What the filter's rule at step `n` saw. */
export function contextAt(rec: StepRecorder, filter: Filter, n: number, packet: PacketContext): FilterContext {
  return {
    ...packet,
    key: rec.key(n),
    inPort: filter.inPort,
    outPort: filter.outPort,
    passed: filter.passed,
    direction: directionAt(rec, n),
  };
}

/** What had been found of the packet's direction on the device before step `n`; 0: nobody had asked. */
function directionAt(rec: StepRecorder, n: number): number {
  for (let i = n; i >= 0 && rec.kind[i] !== S.STEP_INGRESS; i--) if (rec.kind[i] === S.STEP_DIRECTION) return rec.a[i];
  return 0;
}

export function ruleInWords(handle: number, names: Names): RuleInWords {
  const rule = names.ref(handle);
  const value = names.object('Rule', rule.id) ?? {};
  return {
    rule,
    chain: names.of(String(value.chainId ?? '')),
    number: names.ruleNumber(rule.id),
    action: String(value.type ?? 'drop'),
    effect: actionWords(value),
    condition: conditionWords(value, names),
  };
}

const DROPPING: ReadonlySet<number> = new Set([ACTION_DROP, ACTION_REJECT, ACTION_LIMIT, ACTION_UNTRANSLATED]);

/** Step at which a rule of the filter dropped, rejected or could not translate, and the rule; null if none did. */
export function decisionIn(rec: StepRecorder, { first, last }: Filter): { step: number; rule: number } | null {
  // Innermost first: a jump that ends in a drop is told behind the drop itself.
  for (let n = first; n < last; n++) {
    if (rec.kind[n] === S.STEP_CHAIN && DROPPING.has(rec.a[n]) && rec.b[n] !== 0) return { step: n, rule: rec.b[n] };
  }
  return null;
}

/** The filter that ends right before step `n` (a drop, perhaps behind the answer to it). */
export function filterBefore(filters: readonly Filter[], rec: StepRecorder, n: number): Filter | null {
  let at = n;
  while (at > 0 && rec.kind[at - 1] === S.STEP_GENERATE) at--;
  return filters.find(({ last }) => last === at) ?? null;
}

/**
 * The rule that missed by the least among those which would have done otherwise. `wanted`: the rules that count.
 * @param until step before which rules count, per filter
 */
export function nearestRule(
  rec: StepRecorder,
  filters: readonly Filter[],
  until: (filter: Filter) => number,
  wanted: (value: Value, context: FilterContext) => boolean,
  packet: PacketContext,
  judge: ConditionJudge,
  names: Names,
): NearestRule | null {
  let best: NearestRule | null = null;
  let judged = 0;
  for (const filter of filters) {
    let depth = 0;
    for (let n = filter.first; n < until(filter); n++) {
      if (rec.kind[n] === S.STEP_JUMP && rec.b[n] === 0) depth++;
      else if (rec.kind[n] === S.STEP_CHAIN) depth--;
      if (rec.kind[n] !== S.STEP_RULE || rec.a[n] === 1) continue;
      const value = names.object('Rule', names.ref(rec.at[n]).id);
      // A return lets the packet through only in the filter's own chain.
      const returns = value?.type === 'return' || value?.flowAction === 'return';
      if (value === undefined || (returns && depth > 0)) continue;
      const context = contextAt(rec, filter, n, packet);
      if (!wanted(value, context)) continue;
      if (++judged > MAX_JUDGED) return best;
      const misses = judge.misses(value, context, names);
      if (misses.length === 0 || (best !== null && misses.length >= best.misses.length)) continue;
      best = { ...ruleInWords(rec.at[n], names), misses };
    }
  }
  return best;
}

type Value = Record<string, unknown>;

/** A rule that would let the packet through: accepts it, returns, or translates it and then does so. */
export function letsThrough(value: Value, context: FilterContext): boolean {
  const { type, flowAction } = value;
  if (type === 'accept' || type === 'return') return true;
  return flowAction !== 'continue' && canTranslate(value, context);
}

/** Reverse rules need a connection that is known: no condition makes up for that. */
function canTranslate({ type, natTargets }: Value, { key, outPort }: FilterContext): boolean {
  const etherType = readU16(key, K_ETHER_TYPE);
  if (etherType !== 0x0800 && etherType !== 0x86dd) return false;
  if (type === 'masquerade') return outPort !== 0 && isNattable(key);
  const [first, ...more] = (natTargets as readonly NatTarget[] | undefined) ?? [];
  if (first === undefined || first.addressFrom.includes(':') !== (etherType === 0x86dd)) return false;
  return (more.length === 0 && first.portTo === 0 && first.addressTo === first.addressFrom) || isNattable(key);
}

/** It has ports, or the identifier of an echo. */
function isNattable(key: Uint8Array): boolean {
  return tupleOfKey(key, 0, KIND_SNAT, 1, scratch, 0) === TUPLE_PORTS;
}
const scratch = new Int32Array(TUPLE_WORDS);

export function stops({ type }: Value): boolean {
  return type === 'drop' || type === 'reject';
}
