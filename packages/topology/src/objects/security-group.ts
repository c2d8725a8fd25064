/**
 * What may reach ports, and what they may send: rules that allow. Everything else is dropped, and answers to what was allowed
 * pass. A convenience over chains and address groups, which derive from it (`security-group-chains.ts`).
 */
import Type, { type Static } from 'typebox';
import { formatted, id, name, refs, tenantId, uuid } from '../fields.ts';
import { parseCidr } from '../ip.ts';
import { defineObject, type ObjectValue, type Violation } from '../spec.ts';
import { isIcmp, type SecurityGroupRule, securityGroupObjects } from './security-group-chains.ts';

const MAX_RULES = 1000;

const port = (description: string) => Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535, description }));

const SecurityGroupRuleSchema = Type.Object(
  {
    direction: Type.Enum(['ingress', 'egress'], { description: 'To the ports of the group, or from them' }),
    etherType: Type.Optional(Type.Enum(['ipv4', 'ipv6'], { default: 'ipv4', description: 'IP version' })),
    protocol: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 255,
        description: 'IP protocol; tcp, udp, sctp, icmp and icmpv6 are understood as well. Absent: any',
      }),
    ),
    portMin: port('First destination port; ICMP and ICMPv6: type. Absent: any'),
    portMax: port('Last destination port, portMin when absent; ICMP and ICMPv6: code, any when absent'),
    remotePrefix: Type.Optional(formatted('subnet', { description: 'Prefix of the other end' })),
    remoteGroupId: Type.Optional(
      uuid({ description: 'Security group that the other end is in', 'x-weft-weak-ref': 'SecurityGroup' }),
    ),
  },
  { additionalProperties: false, description: 'What is allowed' },
);

const SecurityGroupSchema = Type.Object(
  {
    id: id(),
    tenantId: Type.Optional(tenantId()),
    name: Type.Optional(name()),
    rules: Type.Array(SecurityGroupRuleSchema, {
      maxItems: MAX_RULES,
      description: 'What is allowed; absent on creation: to send anything, IPv4 and IPv6',
    }),
    remoteGroupIds: Type.Optional(
      refs('SecurityGroup', 'refuse', {
        maxItems: MAX_RULES,
        uniqueItems: true,
        readOnly: true,
        description: 'Groups that the rules name; they cannot be deleted meanwhile',
      }),
    ),
  },
  { additionalProperties: false, description: 'What may reach ports, and what they may send' },
);
export type SecurityGroup = Omit<Static<typeof SecurityGroupSchema>, 'rules'> & { rules: SecurityGroupRule[] };

export const SecurityGroupSpec = defineObject('SecurityGroup', SecurityGroupSchema, {
  complete(value) {
    value.rules ??= [
      { direction: 'egress', etherType: 'ipv4' },
      { direction: 'egress', etherType: 'ipv6' },
    ];
    if (Array.isArray(value.rules)) value.rules = value.rules.map(completeRule);
    const named = remoteGroups(value.rules);
    if (named.length > 0) value.remoteGroupIds = named;
    else delete value.remoteGroupIds;
  },
  check: (value) => checkRules(value.rules as SecurityGroupRule[]),
  derive: securityGroupObjects,
});

const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;
const SCTP = 132;

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: TCP, udp: UDP, sctp: SCTP, icmp: ICMP, icmpv6: ICMPV6 };
const WITH_PORTS: readonly (number | undefined)[] = [TCP, UDP, SCTP];

/** What is no rule is left to the schema. */
function completeRule(rule: unknown): unknown {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule)) return rule;
  const completed: ObjectValue = { ...rule };
  const { protocol } = completed;
  if (typeof protocol === 'string') completed.protocol = PROTOCOLS[protocol.toLowerCase()] ?? protocol;
  // Who says icmp of IPv6 means its own.
  if (completed.protocol === ICMP && completed.etherType === 'ipv6') completed.protocol = ICMPV6;
  if (WITH_PORTS.includes(completed.protocol as number)) {
    if (completed.portMin !== undefined) completed.portMax ??= completed.portMin;
  }
  return completed;
}

function remoteGroups(rules: unknown): unknown[] {
  if (!Array.isArray(rules)) return [];
  return [...new Set(rules.map((rule: ObjectValue | null) => rule?.remoteGroupId))].filter((one) => one !== undefined);
}

function checkRules(rules: readonly SecurityGroupRule[]): Violation[] {
  const violations: Violation[] = [];
  const seen = new Map<string, number>();
  for (const [i, rule] of rules.entries()) {
    const refuse = (field: string, message: string) => {
      violations.push({ property: field === '' ? `rules.${i}` : `rules.${i}.${field}`, message });
    };
    checkRule(rule, refuse);
    const { direction, etherType, protocol, portMin, portMax, remotePrefix, remoteGroupId } = rule;
    const content = [direction, etherType, protocol, portMin, portMax, remotePrefix, remoteGroupId].join(' ');
    const first = seen.get(content);
    if (first !== undefined) refuse('', `repeats rules.${first}`);
    else seen.set(content, i);
  }
  return violations;
}

function checkRule(rule: SecurityGroupRule, refuse: (field: string, message: string) => void): void {
  const { etherType, protocol, portMin, portMax, remotePrefix, remoteGroupId } = rule;
  if (protocol === ICMPV6 && etherType === 'ipv4') refuse('protocol', 'icmpv6 is a protocol of IPv6');
  if (remotePrefix !== undefined) {
    if (remoteGroupId !== undefined) refuse('remoteGroupId', 'excludes remotePrefix: make two rules');
    if (`ipv${parseCidr(remotePrefix)!.family}` !== etherType) refuse('remotePrefix', `must be of ${etherType}`);
  }
  if (portMin === undefined) {
    if (portMax !== undefined) refuse('portMin', 'is required where portMax is set');
    return;
  }
  if (isIcmp(protocol)) {
    if (portMin > 255) refuse('portMin', 'must be an ICMP type, at most 255');
    if (portMax !== undefined && portMax > 255) refuse('portMax', 'must be an ICMP code, at most 255');
  } else if (!WITH_PORTS.includes(protocol)) {
    refuse('portMin', 'needs a protocol that has ports: tcp, udp, sctp, or icmp, icmpv6 for types');
  } else if (portMin > portMax!) refuse('portMax', 'must not be less than portMin');
}
