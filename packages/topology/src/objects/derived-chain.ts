/** Chains that follow from another object, with their rules: ids are computed, so that the same input gives the same. */
import { derivedUuid } from '../ids.ts';
import type { DerivedObject, ObjectValue } from '../spec.ts';
import type { Chain } from './chain.ts';
import type { Rule } from './rule.ts';

/** Type and condition of a rule, in canonical spelling; without id and chain. */
export type RuleFields = ObjectValue;

/** A chain and its rules in the order of their evaluation, complete as if they were stored. */
export interface DerivedChain {
  readonly chain: Chain;
  readonly rules: readonly Rule[];
}

/**
 * A chain and its rules. A rule's id follows from its content: one that stays when others come or go is the same object, and
 * keeps its counters. Of equal rules the first one stands.
 */
export function chainOf(chain: Omit<Chain, 'ruleIds'> & { name: string }, rules: readonly RuleFields[]): DerivedChain {
  const derived = new Map<string, ObjectValue>();
  for (const fields of rules) {
    const rule: ObjectValue = { chainId: chain.id, fragmentPolicy: fragmentPolicyOf(fields), ...fields };
    const id = derivedUuid('rule', chain.id, JSON.stringify(fields));
    if (!derived.has(id)) derived.set(id, { id, ...rule });
  }
  return {
    chain: { ...chain, name: chain.name.slice(0, 255), ruleIds: [...derived.keys()] },
    rules: [...derived.values()] as Rule[],
  };
}

/** The chain and its rules as objects of the store. */
export function objectsOf({ chain, rules }: DerivedChain): DerivedObject[] {
  return [{ type: 'Chain', value: chain }, ...rules.map((value) => ({ type: 'Rule', value }))];
}

function fragmentPolicyOf({ tpSrc, tpDst }: RuleFields): string {
  return tpSrc === undefined && tpDst === undefined ? 'any' : 'header';
}
