/** What a security group is to the simulator: a chain for each direction, and a group with its members' addresses. */
import { derivedUuid } from '../ids.ts';
import type { DerivedObject, ObjectValue } from '../spec.ts';
import { chainOf, objectsOf, type RuleFields } from './derived-chain.ts';

type Direction = 'ingress' | 'egress';

/** A rule of a group as it is stored: complete. */
export interface SecurityGroupRule {
  readonly direction: Direction;
  readonly etherType: 'ipv4' | 'ipv6';
  readonly protocol?: number;
  readonly portMin?: number;
  readonly portMax?: number;
  readonly remotePrefix?: string;
  readonly remoteGroupId?: string;
}

/** Chain with the rules of one direction; ports of the group jump to it. */
export function securityGroupChainId(groupId: string, direction: Direction): string {
  return derivedUuid('security-group', groupId, direction);
}

/** Address group with the addresses of the ports that are in the group. */
export function securityGroupAddressesId(groupId: string): string {
  return derivedUuid('security-group', groupId, 'addresses');
}

export function securityGroupObjects(group: ObjectValue): DerivedObject[] {
  const id = group.id as string;
  const name = `security group ${group.name ?? id}`;
  const rules = group.rules as SecurityGroupRule[];
  const chain = (direction: Direction) =>
    objectsOf(
      chainOf(
        { id: securityGroupChainId(id, direction), name: `${name}: ${direction}`, securityGroupId: id },
        rules.filter((rule) => rule.direction === direction).map(conditionOf),
      ),
    );
  const addresses = { id: securityGroupAddressesId(id), name: name.slice(0, 255), securityGroupId: id };
  return [...chain('ingress'), ...chain('egress'), { type: 'IpAddrGroup', value: addresses }];
}

const ETHERTYPES = { ipv4: 0x0800, ipv6: 0x86dd };

/** Accepts what the rule names. The remote end is the source of what comes in and the destination of what goes out. */
function conditionOf(rule: SecurityGroupRule): RuleFields {
  const { direction, etherType, protocol, portMin, portMax, remotePrefix, remoteGroupId } = rule;
  const fields: RuleFields = { type: 'accept', dlType: ETHERTYPES[etherType] };
  const [prefix, group] = direction === 'ingress' ? ['nwSrc', 'ipAddrGroupSrc'] : ['nwDst', 'ipAddrGroupDst'];
  if (remotePrefix !== undefined) fields[prefix!] = remotePrefix;
  if (remoteGroupId !== undefined) fields[group!] = securityGroupAddressesId(remoteGroupId);
  if (protocol !== undefined) fields.nwProto = protocol;
  if (portMin === undefined) return fields;
  if (isIcmp(protocol)) {
    fields.tpSrc = { start: portMin, end: portMin };
    if (portMax !== undefined) fields.tpDst = { start: portMax, end: portMax };
  } else fields.tpDst = { start: portMin, end: portMax };
  // Later fragments pass with their first one.
  return { ...fields, fragmentPolicy: 'any' };
}

const ICMP = 1;
const ICMPV6 = 58;

export function isIcmp(protocol: number | undefined): boolean {
  return protocol === ICMP || protocol === ICMPV6;
}
