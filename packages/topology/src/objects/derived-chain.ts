/** Chains that exist because of another object, with their rules: ids are computed, so that the same input gives the same. */
import { derivedUuid } from '../ids.ts';
import type { DerivedObject, ObjectValue } from '../spec.ts';

/** Type and condition of a rule, in canonical spelling; without id and chain. */
export type RuleFields = ObjectValue;

/**
 * A chain and its rules. A rule's id follows from its content: one that stays when others come or go is the same object, and
 * keeps its counters. Of equal rules the first one stands.
 */
export function chainOf(
  chain: ObjectValue & { id: string; name: string },
  rules: readonly RuleFields[],
): DerivedObject[] {
  const derived = new Map<string, ObjectValue>();
  for (const fields of rules) {
    const rule: ObjectValue = { chainId: chain.id, fragmentPolicy: fragmentPolicyOf(fields), ...fields };
    const id = derivedUuid('rule', chain.id, JSON.stringify(fields));
    if (!derived.has(id)) derived.set(id, { id, ...rule });
  }
  return [
    { type: 'Chain', value: { ...chain, name: chain.name.slice(0, 255), ruleIds: [...derived.keys()] } },
    ...[...derived.values()].map((value) => ({ type: 'Rule', value })),
  ];
}

function fragmentPolicyOf({ tpSrc, tpDst }: RuleFields): string {
  return tpSrc === undefined && tpDst === undefined ? 'any' : 'header';
}
