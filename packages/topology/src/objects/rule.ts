/**
 * A condition and what happens to the packets that it matches. Its place is its index in the chain's `ruleIds`.
 *
 * What a rule names must not vanish under it: then the rule would match more, or less, and the verdict of the chain would
 * change without anybody having changed the chain. So a chain that is jumped to, a port group and an address group cannot be
 * deleted while a rule names them.
 */
import Type, { type Static } from 'typebox';
import { checkCondition, checkConditionNames, completeCondition, conditionFields } from '../condition.ts';
import { id, metadata, ref } from '../fields.ts';
import { defineObject, type ObjectValue, type Violation } from '../spec.ts';

/** What happens to a packet that matches. */
export const RULE_TYPES = ['accept', 'drop', 'reject', 'return', 'jump', 'continue'] as const;

const RuleSchema = Type.Object(
  {
    id: id(),
    chainId: ref('Chain', 'cascade'),
    type: Type.Enum(RULE_TYPES, {
      description:
        'accept: it passes the filter; drop: it is dropped; reject: it is dropped and its sender is told; return: it ' +
        'goes on behind the jump that led here (in the first chain: it passes); jump: it goes through the rules of ' +
        'jumpChainId and, when they decide nothing, on to the next rule; continue: on to the next rule (it is counted)',
    }),
    jumpChainId: Type.Optional(ref('Chain', 'refuse', 'jump: the chain to go through; it cannot be deleted meanwhile')),
    metadata: metadata(),
    ...conditionFields,
  },
  { additionalProperties: false, description: 'A condition and what happens to the packets that match it' },
);
export type Rule = Static<typeof RuleSchema>;

export const RuleSpec = defineObject('Rule', RuleSchema, {
  immutable: ['chainId'],
  complete: completeCondition,
  check: (value) => [...checkJump(value), ...checkCondition(value)],
  checkOthers: checkConditionNames,
});

function checkJump(value: ObjectValue): Violation[] {
  const jumps = value.type === 'jump';
  if (jumps === (value.jumpChainId !== undefined)) return [];
  const message = jumps ? 'is required in a jump rule: the chain to go through' : 'is allowed in a jump rule only';
  return [{ property: 'jumpChainId', message }];
}
