/** Random security groups, and ports that are in them, in a scenario. */
import fc from 'fast-check';
import type { Scenario } from './generate.ts';

type Value = Record<string, unknown>;

/** What a group may say; the remote groups are the scenario's. */
const RULES: readonly ((groups: readonly string[]) => Value)[] = [
  () => ({ direction: 'egress' }),
  () => ({ direction: 'egress', etherType: 'ipv6' }),
  () => ({ direction: 'ingress', protocol: 'tcp', portMin: 80, portMax: 81 }),
  () => ({ direction: 'ingress', protocol: 'udp', remotePrefix: '10.0.1.0/24' }),
  ([first]) => ({ direction: 'ingress', remoteGroupId: first }),
  ([, second]) => ({ direction: 'ingress', etherType: 'ipv6', remoteGroupId: second }),
  ([first]) => ({ direction: 'egress', protocol: 'tcp', remoteGroupId: first }),
  () => ({ direction: 'ingress', protocol: 'icmp' }),
];

export const portSecurityPlan = fc.record({
  vm: fc.nat({ max: 1000 }),
  enabled: fc.constantFrom(true, true, true, false),
  /** Bits: own address, own IPv6 address, that of the next VM, a pair that allows a prefix, one with another MAC address. */
  addresses: fc.oneof(fc.constant(3), fc.nat({ max: 31 })),
  ownMac: fc.constantFrom(true, true, true, false),
  /** Bits. */
  groups: fc.nat({ max: 3 }),
});
export type PortSecurityPlan = typeof portSecurityPlan extends fc.Arbitrary<infer T> ? T : never;

/** Bits: rules of each of two groups. */
const rulesPlan = fc.oneof(fc.constant(0xff), fc.nat({ max: 0xff }));

export const securityPlan = fc.record({
  groups: fc.tuple(rulesPlan, rulesPlan),
  ports: fc.array(portSecurityPlan, { minLength: 1, maxLength: 6 }),
});
export type SecurityPlan = typeof securityPlan extends fc.Arbitrary<infer T> ? T : never;

export const securityChange = fc.oneof(
  fc.record({ port: portSecurityPlan }),
  fc.record({ group: fc.nat({ max: 1 }), rules: rulesPlan }),
);
export type SecurityChange = typeof securityChange extends fc.Arbitrary<infer T> ? T : never;

const at = <T>(items: readonly T[], i: number): T => items[i % items.length];

/** Two security groups, and ports of the scenario's VMs in them. @returns ids of the groups */
export function addSecurity(s: Scenario, plan: SecurityPlan): string[] {
  const groups = plan.groups.map(() => s.world.put('SecurityGroup', { rules: [] }));
  plan.groups.forEach((rules, group) => void applySecurityChange(s, groups, { group, rules }));
  for (const port of plan.ports) applySecurityChange(s, groups, { port });
  return groups;
}

/** Says in words what it did, or undefined if there was nothing to change. */
export function applySecurityChange(
  s: Scenario,
  groups: readonly string[],
  change: SecurityChange,
): string | undefined {
  if ('rules' in change) {
    const rules = RULES.filter((_, i) => change.rules & (1 << i)).map((rule) => rule(groups));
    s.world.patch('SecurityGroup', groups[change.group], { rules });
    return 'rules of a security group';
  }
  if (s.vms.length === 0) return undefined;
  const { vm, enabled, addresses, ownMac, groups: memberOf } = change.port;
  const [own, other] = [at(s.vms, vm), at(s.vms, vm + 1)];
  const pairs = [{ ipAddress: '10.0.0.0/23' }, { ipAddress: other.ip4, macAddress: other.mac }];
  const allowedAddressPairs = pairs.filter((_, i) => addresses & (8 << i));
  s.world.patch('Port', own.port, {
    portSecurityEnabled: enabled,
    macAddress: (ownMac ? own : other).mac,
    fixedIps: [...new Set([own.ip4, own.ip6, other.ip4].filter((_, i) => addresses & (1 << i)))],
    allowedAddressPairs,
    securityGroupIds: groups.filter((_, i) => memberOf & (1 << i)),
  });
  return 'security of a port';
}
