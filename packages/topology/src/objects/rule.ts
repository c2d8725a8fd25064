/** A condition and what happens to the packets that it matches. Its place is its index in the chain's `ruleIds`. */
import Type, { type Static } from 'typebox';
import { checkCondition, checkConditionPorts, completeCondition, conditionFields } from '../condition.ts';
import { id, ref } from '../fields.ts';
import { defineObject } from '../spec.ts';

const RuleSchema = Type.Object(
  {
    id: id(),
    chainId: ref('Chain', 'cascade'),
    type: Type.Enum(['accept', 'drop'], { description: 'What happens to a packet that matches' }),
    ...conditionFields,
  },
  { additionalProperties: false, description: 'A condition and what happens to the packets that match it' },
);
export type Rule = Static<typeof RuleSchema>;

export const RuleSpec = defineObject('Rule', RuleSchema, {
  immutable: ['chainId'],
  complete: completeCondition,
  check: checkCondition,
  checkOthers: checkConditionPorts,
});
