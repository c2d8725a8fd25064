/** Hosts that reach each other over the underlay, and how they encapsulate. */
import Type, { type Static } from 'typebox';
import { id, name } from '../fields.ts';
import { defineObject, type Problem } from '../spec.ts';

const TunnelZoneSchema = Type.Object(
  {
    id: id(),
    name: name({ minLength: 1, description: 'Unique name' }),
    type: Type.Enum(['gre', 'vxlan'], { default: 'vxlan', description: 'Encapsulation between the members' }),
  },
  { additionalProperties: false, description: 'Hosts that tunnel to each other' },
);
export type TunnelZone = Static<typeof TunnelZoneSchema>;

export const TunnelZoneSpec = defineObject('TunnelZone', TunnelZoneSchema, {
  unique: [{ fields: ['name'] }],
  // Members would disagree on the wire format until the last of them has heard of the change.
  async checkOthers(value, lookup, previous): Promise<Problem[]> {
    if (!previous || previous.type === value.type) return [];
    const members = await lookup.referrers('TunnelZoneHost', 'tunnelZoneId', value.id as string);
    if (members.length === 0) return [];
    return [
      {
        code: 'WEFT_ZONE_TYPE_IN_USE',
        property: 'type',
        message: `tunnel zone ${value.id} has ${members.length} member(s), so its type cannot change; remove them first`,
      },
    ];
  },
});
