/** Random rules over everything that a rule may match or do, and the groups that they name. */
import fc from 'fast-check';
import type { Scenario } from './generate.ts';

type Value = Record<string, unknown>;

const index = fc.nat({ max: 1000 });

/** Kinds of conditions below. */
const CONDITIONS = 26;
/** Types of rules; those with state last. */
const TYPES = [
  'accept',
  'drop',
  'reject',
  'jump',
  'return',
  'continue',
  'accept',
  'drop',
  'snat',
  'dnat',
  'rev_snat',
  'rev_dnat',
  'masquerade',
];

/** What is translated to: with state, one to one, to one of several. */
const SOURCES: readonly Value[][] = [
  [{ addressFrom: '10.7.0.1', portFrom: 1024, portTo: 65_535 }],
  [{ addressFrom: '10.0.1.77' }],
  [
    { addressFrom: '10.7.0.2', addressTo: '10.7.0.3' },
    { addressFrom: '10.0.2.11', portFrom: 5000, portTo: 5001 },
  ],
];
const DESTINATIONS: readonly Value[][] = [
  [{ addressFrom: '10.0.2.11', portFrom: 80 }],
  [{ addressFrom: '10.0.1.10' }],
  [{ addressFrom: '10.0.1.10', addressTo: '10.0.2.12' }],
];
const SOURCES6: readonly Value[][] = [
  [{ addressFrom: 'fd00:7::1', portFrom: 1024, portTo: 65_535 }],
  [{ addressFrom: 'fd00:1::77' }],
];
const DESTINATIONS6: readonly Value[][] = [
  [{ addressFrom: 'fd00:2::b', portFrom: 80 }],
  [{ addressFrom: 'fd00:1::a' }],
];

export const rulePlan = fc.record({
  condition: fc.nat({ max: CONDITIONS - 1 }),
  action: fc.nat({ max: TYPES.length - 1 }),
  inverted: fc.boolean(),
  pick: index,
});
export type RulePlan = typeof rulePlan extends fc.Arbitrary<infer T> ? T : never;

/** Which of these are in the scenario's address groups, and which ports in its port groups: bits. */
export const groupPlan = fc.record({ members: fc.nat({ max: 0xffff }), ports: fc.nat({ max: 0xffff }) });
export type GroupPlan = typeof groupPlan extends fc.Arbitrary<infer T> ? T : never;

/** Members that address groups may have: addresses of VMs, prefixes around them, everything. */
export const MEMBERS = [
  '10.0.1.10',
  '10.0.2.11',
  '10.0.1.11',
  '10.0.2.12',
  '10.0.2.0/24',
  'fd00:1::a',
  'fd00:1::b',
  '::/0',
];

/** Two address groups and two port groups. Called before there are rules. */
export function addGroups(s: Scenario, plan: GroupPlan): void {
  const { world } = s;
  for (let g = 0; g < 2; g++) {
    const group = world.put('IpAddrGroup', { name: `addresses${g}` });
    s.addressGroups.push(group);
    MEMBERS.forEach((member, i) => {
      if ((plan.members >> (g * 8)) & (1 << i)) world.entry(`addresses/${group}`, member, '');
    });
    s.portGroups.push(world.put('PortGroup', {}));
  }
  s.ports.forEach((port, i) => {
    const portGroupIds = s.portGroups.filter((_, g) => (plan.ports >> (g * 8)) & (1 << (i % 8)));
    if (portGroupIds.length > 0) world.patch('Port', port, { portGroupIds });
  });
}

const hex = (n: number) => n.toString(16).padStart(2, '0');
const at = <T>(items: readonly T[], i: number): T => items[i % items.length];

export function ruleOf(s: Scenario, plan: RulePlan): Value {
  const { inverted, pick } = plan;
  const port = s.ports.length > 0 ? at(s.ports, pick) : undefined;
  const devices = [...s.bridges, ...s.routers, ...s.ports];
  const conditions: Value[] = [
    { nwProto: 17, invNwProto: inverted },
    { nwProto: 6, tpDst: { start: 80, end: 81 }, invTpDst: inverted },
    { nwDst: '10.0.1.0/24', invNwDst: inverted },
    { nwSrc: 'fd00:1::/64', invNwSrc: inverted },
    { dlType: 0x0806, invDlType: inverted },
    { dlSrc: `02:00:00:00:00:${hex((pick % 6) + 1)}`, invDlSrc: inverted },
    { dlDst: '02:00:00:00:00:00', dlDstMask: '03:00:00:00:00:01', invDlDst: inverted },
    { tpSrc: { start: 1000, end: 1001 }, conjunctionInv: inverted },
    { fragmentPolicy: inverted ? 'nonheader' : 'unfragmented' },
    { nwTos: 4, invNwTos: inverted },
    port === undefined ? {} : { inPorts: [port], invInPorts: inverted },
    port === undefined ? {} : { outPorts: [port], invOutPorts: inverted },
    inverted ? { noVlan: true } : { vlan: 1 },
    { portGroup: at(s.portGroups, pick), invPortGroup: inverted },
    { inPortGroup: at(s.portGroups, pick), invInPortGroup: inverted },
    { outPortGroup: at(s.portGroups, pick), invOutPortGroup: inverted },
    { ipAddrGroupSrc: at(s.addressGroups, pick), invIpAddrGroupSrc: inverted },
    { ipAddrGroupDst: at(s.addressGroups, pick), invIpAddrGroupDst: inverted },
    { icmpDataSrcIp: '10.0.1.0/24', invIcmpDataSrcIp: inverted },
    { icmpDataDstIp: 'fd00:1::/64', invIcmpDataDstIp: inverted },
    { traversedDevice: at(devices, pick), invTraversedDevice: inverted },
    { matchNwDstRewritten: true, conjunctionInv: inverted },
    { matchReturnFlow: true, conjunctionInv: inverted },
    { matchForwardFlow: true },
    { matchForwardFlow: true, nwProto: 17, invNwProto: inverted },
    {},
  ];
  if (conditions.length !== CONDITIONS) throw new Error(`there are ${conditions.length} conditions`);
  const condition = conditions[plan.condition];
  const type = at(TYPES, plan.action);
  const onChange = pick % 3 === 2 && KEEPS.has(type) ? { onChange: 'finish' } : {};
  if (type === 'jump') return { type, jumpChainId: at(s.chains, pick), ...condition };
  if (!type.includes('nat') && type !== 'masquerade') return { type, ...onChange, ...condition };
  const flowAction = at(['accept', 'continue', 'return'], pick);
  if (type !== 'snat' && type !== 'dnat') return { type, flowAction, ...onChange, ...condition };
  // A condition of one IP version, or of ARP, leaves no choice.
  const v6 = condition.nwSrc === 'fd00:1::/64' || (condition.nwDst === undefined && pick % 5 === 4);
  if (condition.dlType !== undefined) condition.dlType = v6 ? 0x86dd : 0x0800;
  const targets = type === 'snat' ? (v6 ? SOURCES6 : SOURCES) : v6 ? DESTINATIONS6 : DESTINATIONS;
  return { type, natTargets: at(targets, pick >> 1), flowAction, ...onChange, ...condition };
}

const KEEPS: ReadonlySet<string> = new Set(['accept', 'return', 'snat', 'dnat', 'masquerade']);

/** Whether a rule looks connections up, or may begin one. */
export function isStateful(rule: Value): boolean {
  if (rule.matchForwardFlow === true || rule.matchReturnFlow === true) return true;
  const { type, natTargets } = rule as { type: string; natTargets?: readonly Value[] };
  if (type !== 'snat' && type !== 'dnat') return type.startsWith('rev_') || type === 'masquerade';
  const [{ addressFrom, addressTo, portTo }, ...more] = natTargets!;
  return more.length > 0 || portTo !== 0 || addressTo !== addressFrom;
}
