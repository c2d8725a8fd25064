/** An ordered list of rules that devices and ports use as a filter. One chain may serve many. */
import Type, { type Static } from 'typebox';
import { id, metadata, name, ref, refs, tenantId } from '../fields.ts';
import { defineObject, type Problem } from '../spec.ts';

const ChainSchema = Type.Object(
  {
    id: id(),
    tenantId: Type.Optional(tenantId()),
    name: Type.Optional(name()),
    ruleIds: refs('Rule', 'clear', {
      default: [],
      uniqueItems: true,
      description: 'The rules in the order of their evaluation',
    }),
    metadata: metadata(),
    securityGroupId: Type.Optional(
      ref('SecurityGroup', 'cascade', 'Security group that the chain derives from: it changes with it alone'),
    ),
    securityPortId: Type.Optional(
      ref(
        'Port',
        'cascade',
        'Port whose security the chain carries out: it changes with it alone. Such chains are computed, not stored; what a ' +
          'store of an earlier version holds of them goes with its port',
      ),
    ),
  },
  { additionalProperties: false, description: 'An ordered list of rules' },
);
export type Chain = Static<typeof ChainSchema>;

export const ChainSpec = defineObject('Chain', ChainSchema, {
  immutable: ['securityGroupId', 'securityPortId'],
  async checkOthers(value, lookup, previous): Promise<Problem[]> {
    const known = new Set((previous?.ruleIds ?? []) as string[]);
    for (const ruleId of value.ruleIds as string[]) {
      if (known.has(ruleId)) continue;
      const rule = await lookup.get('Rule', ruleId);
      if (rule && rule.chainId !== value.id) {
        const message = `rule ${ruleId} belongs to chain ${rule.chainId}, not to ${value.id}`;
        return [{ code: 'WEFT_RULE_NOT_IN_CHAIN', property: 'ruleIds', message }];
      }
    }
    return [];
  },
});
