/**
 * Addresses and prefixes, IPv4 and IPv6, that rules name together. The members are not in the object but in the state
 * table `addresses/<group>`, one persistent entry each: a group may have tens of thousands, and one more costs those who
 * watch it one entry.
 */
import Type, { type Static } from 'typebox';
import { id, name, tenantId } from '../fields.ts';
import { canonicalIp, canonicalSubnet } from '../ip.ts';
import { defineObject } from '../spec.ts';

const IpAddrGroupSchema = Type.Object(
  {
    id: id(),
    tenantId: Type.Optional(tenantId()),
    name: name({ minLength: 1 }),
  },
  { additionalProperties: false, description: 'Addresses and prefixes, IPv4 and IPv6, that rules name together' },
);
export type IpAddrGroup = Static<typeof IpAddrGroupSchema>;

export const IpAddrGroupSpec = defineObject('IpAddrGroup', IpAddrGroupSchema);

/** The state table with the members of a group. Key: see `canonicalGroupMember`; value: free. */
export function groupTable(groupId: string): string {
  return `addresses/${groupId}`;
}

/**
 * The one spelling of a member, or undefined when `text` is none: a single address without a length (`10.0.0.1`, also
 * for `10.0.0.1/32`), a prefix with its host bits cleared (`10.0.0.0/24`).
 */
export function canonicalGroupMember(text: string): string | undefined {
  if (!text.includes('/')) return canonicalIp(text);
  const prefix = canonicalSubnet(text);
  const [address, length] = prefix?.split('/') ?? [];
  return length === (address?.includes(':') ? '128' : '32') ? address : prefix;
}
