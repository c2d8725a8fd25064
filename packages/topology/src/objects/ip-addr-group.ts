/**
 * Addresses and prefixes, IPv4 and IPv6, that rules name together. The members are not in the object but in the state
 * table `addresses/<group>`, one persistent entry each: a group may have tens of thousands, and one more costs those who
 * watch it one entry.
 */
import Type, { type Static } from 'typebox';
import { id, name, ref, tenantId } from '../fields.ts';
import { defineObject } from '../spec.ts';

const IpAddrGroupSchema = Type.Object(
  {
    id: id(),
    tenantId: Type.Optional(tenantId()),
    name: name({ minLength: 1 }),
    securityGroupId: Type.Optional(
      ref(
        'SecurityGroup',
        'cascade',
        "Security group whose ports' addresses are the members: they change with these alone",
      ),
    ),
  },
  { additionalProperties: false, description: 'Addresses and prefixes, IPv4 and IPv6, that rules name together' },
);
export type IpAddrGroup = Static<typeof IpAddrGroupSchema>;

export const IpAddrGroupSpec = defineObject('IpAddrGroup', IpAddrGroupSchema, { immutable: ['securityGroupId'] });

/** The state table with the members of a group. Key: see `canonicalGroupMember`; value: free. */
export function groupTable(groupId: string): string {
  return `addresses/${groupId}`;
}

/** The one spelling of a member, or undefined when the text is none. */
export { canonicalAddressOrPrefix as canonicalGroupMember } from '../ip.ts';
