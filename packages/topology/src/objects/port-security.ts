/**
 * Port security of a bridge port: only its own addresses may send, and security groups say what else passes. It is carried
 * out by chains that follow from the port alone, some 30 rules in all. Nobody stores them: whoever needs them asks
 * `portSecurityChains`.
 *
 * - *in* (from what is attached): the addresses (a chain of its own, which returns what is not spoofed), then what every
 *   machine needs to have an address at all, answers, and the groups' egress rules;
 * - *out* (to it): the same with the groups' ingress rules.
 *
 * The simulator passes *in* before the port's own inbound filter, *out* after its outbound filter.
 */
import Type from 'typebox';
import { formatted, refs } from '../fields.ts';
import { derivedUuid } from '../ids.ts';
import { formatIp, isAssignableIp, parseIp } from '../ip.ts';
import { isAssignableMac, linkLocalOf } from '../mac.ts';
import type { ObjectValue, TableKey } from '../spec.ts';
import { chainOf, type DerivedChain, type RuleFields } from './derived-chain.ts';
import { groupTable } from './ip-addr-group.ts';
import { securityGroupAddressesId, securityGroupChainId } from './security-group-chains.ts';

/** Addresses of a port, and of its pairs: what a port sends is compared with each of them. */
const MAX_ADDRESSES = 32;
const MAX_GROUPS = 32;

export interface AllowedAddressPair {
  readonly ipAddress: string;
  readonly macAddress?: string;
}

export const portSecurityFields = {
  portSecurityEnabled: Type.Optional(
    Type.Boolean({
      description:
        'Bridge port: true: what is attached sends from macAddress, fixedIps and allowedAddressPairs only, and what else ' +
        'passes is up to the security groups, which without rules let nothing pass but answers. Absent means false',
    }),
  ),
  securityGroupIds: Type.Optional(
    refs('SecurityGroup', 'refuse', {
      maxItems: MAX_GROUPS,
      uniqueItems: true,
      description: 'Security groups of the port; they count while portSecurityEnabled is true',
    }),
  ),
  macAddress: Type.Optional(formatted('mac', { description: 'Bridge port: MAC address of what is attached' })),
  fixedIps: Type.Optional(
    Type.Array(formatted('ip'), {
      maxItems: MAX_ADDRESSES,
      uniqueItems: true,
      description: 'Bridge port: addresses of what is attached, IPv4 and IPv6',
    }),
  ),
  allowedAddressPairs: Type.Optional(
    Type.Array(
      Type.Object(
        {
          ipAddress: formatted('address-or-prefix', { description: 'Address or prefix that it may send from' }),
          macAddress: Type.Optional(formatted('mac', { description: "With this MAC address; absent: the port's" })),
        },
        { additionalProperties: false },
      ),
      { maxItems: MAX_ADDRESSES, description: 'Bridge port: further addresses that what is attached may send from' },
    ),
  ),
};

export const PORT_SECURITY_FIELDS = Object.keys(portSecurityFields);

/** Do the chains of port security apply? */
export function hasPortSecurity(port: {
  readonly deviceType?: unknown;
  readonly portSecurityEnabled?: unknown;
}): boolean {
  return port.deviceType === 'bridge' && port.portSecurityEnabled === true;
}

/** Chain for packets from what is attached; see `hasPortSecurity`. */
export function securityInChainId(portId: string): string {
  return derivedUuid('port-security-in', portId);
}

/** Chain for packets to what is attached; see `hasPortSecurity`. */
export function securityOutChainId(portId: string): string {
  return derivedUuid('port-security-out', portId);
}

export function checkPortSecurity(port: ObjectValue, refuse: (property: string, message: string) => void): void {
  const mac = port.macAddress as string | undefined;
  if (mac === undefined) {
    if (hasPortSecurity(port)) refuse('macAddress', 'is required where portSecurityEnabled is true');
  } else if (!isAssignableMac(mac)) refuse('macAddress', 'must be a unicast MAC address other than zero');
  for (const [i, address] of ((port.fixedIps ?? []) as string[]).entries()) {
    if (!isAssignableIp(parseIp(address)!)) refuse(`fixedIps.${i}`, 'must be an address that an interface can own');
  }
  for (const [i, { macAddress }] of ((port.allowedAddressPairs ?? []) as AllowedAddressPair[]).entries()) {
    if (macAddress === undefined || isAssignableMac(macAddress)) continue;
    refuse(`allowedAddressPairs.${i}.macAddress`, 'must be a unicast MAC address other than zero');
  }
}

/** The port's addresses are members of its security groups' address groups. */
export function securityGroupMembers(port: ObjectValue): TableKey[] {
  if (!hasPortSecurity(port)) return [];
  const pairs = (port.allowedAddressPairs ?? []) as AllowedAddressPair[];
  const addresses = new Set([...((port.fixedIps ?? []) as string[]), ...pairs.map(({ ipAddress }) => ipAddress)]);
  return ((port.securityGroupIds ?? []) as string[]).flatMap((groupId) => {
    const table = groupTable(securityGroupAddressesId(groupId));
    return [...addresses].map((key) => ({ table, key }));
  });
}

const IPV4 = 0x0800;
const ARP = 0x0806;
const IPV6 = 0x86dd;
const UDP = 17;
const ICMPV6 = 58;

const range = (start: number, end = start) => ({ start, end });
const udp = (dlType: number, from: number, to: number): RuleFields => ({
  dlType,
  nwProto: UDP,
  tpSrc: range(from),
  tpDst: range(to),
});
/** ICMPv6 types (RFC 4861, RFC 3810): 130 to 132 listener queries and reports, 133 to 136 neighbour discovery, 143 MLDv2. */
const icmpv6 = (first: number, last = first): RuleFields => ({
  dlType: IPV6,
  nwProto: ICMPV6,
  tpSrc: range(first, last),
});
const ROUTER_ADVERTISEMENT = 134;

/** DHCP (RFC 2131) and DHCPv6 (RFC 8415). */
const TO_DHCP_SERVER = [udp(IPV4, 68, 67), udp(IPV6, 546, 547)];
const FROM_DHCP_SERVER = [udp(IPV4, 67, 68), udp(IPV6, 547, 546)];

/**
 * The chains that carry out the security of a port (a complete value): *in*, the addresses that *in* jumps to, *out*. None where
 * `hasPortSecurity` is false. They jump to the chains of the port's security groups.
 */
export function portSecurityChains(port: ObjectValue): DerivedChain[] {
  if (!hasPortSecurity(port)) return [];
  const id = port.id as string;
  const spoofing = derivedUuid('port-security-addresses', id);
  const groups = (port.securityGroupIds ?? []) as string[];
  const accept = (fields: RuleFields): RuleFields => ({ type: 'accept', ...fields });
  const jumps = (direction: 'ingress' | 'egress') =>
    groups.map((groupId) => ({ type: 'jump', jumpChainId: securityGroupChainId(groupId, direction) }));

  const inbound: RuleFields[] = [
    { type: 'jump', jumpChainId: spoofing },
    accept({ dlType: ARP }),
    ...[icmpv6(131, 136), icmpv6(143), ...TO_DHCP_SERVER].map(accept),
    accept({ matchReturnFlow: true }),
    ...jumps('egress'),
    { type: 'drop' },
  ];
  const outbound: RuleFields[] = [
    accept({ dlType: ARP }),
    ...[icmpv6(130, 136), ...FROM_DHCP_SERVER].map(accept),
    accept({ matchReturnFlow: true }),
    ...jumps('ingress'),
    { type: 'drop' },
  ];
  const chain = (chainId: string, what: string, rules: readonly RuleFields[]) =>
    chainOf({ id: chainId, name: `port security of ${id}: ${what}`, securityPortId: id }, rules);
  return [
    chain(securityInChainId(id), 'in', inbound),
    chain(spoofing, 'addresses', addressRules(port)),
    chain(securityOutChainId(id), 'out', outbound),
  ];
}

/** Returns what comes from the port's own addresses, drops everything else. An address is matched in ARP too. */
function addressRules(port: ObjectValue): RuleFields[] {
  const own = port.macAddress as string;
  const pairs = (port.allowedAddressPairs ?? []) as AllowedAddressPair[];
  const allowed = (fields: RuleFields): RuleFields => ({ type: 'return', dlSrc: own, ...fields });
  const rules: RuleFields[] = [
    ...[icmpv6(ROUTER_ADVERTISEMENT), ...FROM_DHCP_SERVER].map((fields) => ({ type: 'drop', ...fields })),
    ...((port.fixedIps ?? []) as string[]).map((address) => allowed({ nwSrc: prefixOf(address) })),
    ...pairs.map(({ ipAddress, macAddress = own }) => allowed({ dlSrc: macAddress, nwSrc: prefixOf(ipAddress) })),
  ];
  for (const mac of new Set([own, ...pairs.map(({ macAddress = own }) => macAddress)])) {
    rules.push(allowed({ dlSrc: mac, nwSrc: prefixOf(formatIp(linkLocalOf(mac))) }));
  }
  rules.push(
    // Before it has an address: DHCP, ARP probes (RFC 5227), neighbour discovery of duplicates, MLD (RFC 3590).
    allowed({ nwSrc: '0.0.0.0/32', nwDst: '255.255.255.255/32', ...TO_DHCP_SERVER[0] }),
    allowed({ dlType: ARP, nwSrc: '0.0.0.0/32' }),
    allowed({ nwSrc: '::/128', ...icmpv6(131, 135) }),
    allowed({ nwSrc: '::/128', ...icmpv6(143) }),
    { type: 'drop' },
  );
  return rules;
}

/** An address as the prefix that holds it alone. */
function prefixOf(member: string): string {
  if (member.includes('/')) return member;
  return `${member}/${member.includes(':') ? 128 : 32}`;
}
