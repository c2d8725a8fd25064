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
import { checkNat, completeNat, isNatType, NAT_TYPES, type NatTarget, natFields } from './rule-nat.ts';

/** What happens to a packet that matches. */
export const RULE_TYPES = ['accept', 'drop', 'reject', 'return', 'jump', 'continue', ...NAT_TYPES] as const;

/** What becomes of connections that a rule has established, when rules change. */
export const ON_CHANGE = ['reevaluate', 'finish'] as const;

const RuleSchema = Type.Object(
  {
    id: id(),
    chainId: ref('Chain', 'cascade'),
    type: Type.Enum(RULE_TYPES, {
      description:
        'accept: it passes the filter; drop: it is dropped; reject: it is dropped and its sender is told; return: it ' +
        'goes on behind the jump that led here (in the first chain: it passes); jump: it goes through the rules of ' +
        'jumpChainId and, when they decide nothing, on to the next rule; continue: on to the next rule (it is counted); ' +
        'snat, dnat: its source or destination becomes one of natTargets, for all of its connection; rev_snat, rev_dnat: ' +
        'an answer gets back what snat (or masquerade), or dnat, of its connection has changed; masquerade: its source ' +
        'becomes the address of the port by which it leaves the router, with a port from 1024 to 65535',
    }),
    jumpChainId: Type.Optional(ref('Chain', 'refuse', 'jump: the chain to go through; it cannot be deleted meanwhile')),
    ...natFields,
    onChange: Type.Optional(
      Type.Enum(ON_CHANGE, {
        description:
          'accept, return and the types that translate: what becomes of the connections that this rule has let through ' +
          'or translated, when rules change: reevaluate (default): they are decided anew by the rules as they are then, ' +
          'and end when these refuse them; finish: they go on as they were decided until they are over, also when this ' +
          'rule is gone',
      }),
    ),
    metadata: metadata(),
    ...conditionFields,
  },
  { additionalProperties: false, description: 'A condition and what happens to the packets that match it' },
);
export type Rule = Omit<Static<typeof RuleSchema>, 'natTargets'> & { natTargets?: NatTarget[] };

export const RuleSpec = defineObject('Rule', RuleSchema, {
  immutable: ['chainId'],
  complete(value) {
    completeNat(value);
    completeCondition(value, isNatType(value.type));
  },
  check: (value) => [...checkJump(value), ...checkNat(value), ...checkOnChange(value), ...checkCondition(value)],
  checkOthers: checkConditionNames,
});

function checkJump(value: ObjectValue): Violation[] {
  const jumps = value.type === 'jump';
  if (jumps === (value.jumpChainId !== undefined)) return [];
  const message = jumps ? 'is required in a jump rule: the chain to go through' : 'is allowed in a jump rule only';
  return [{ property: 'jumpChainId', message }];
}

function checkOnChange({ type, onChange }: ObjectValue): Violation[] {
  if (onChange === undefined || type === 'accept' || type === 'return' || isNatType(type)) return [];
  return [{ property: 'onChange', message: `means nothing in a ${type} rule: it establishes no connection` }];
}
