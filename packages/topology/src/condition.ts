/**
 * What a rule looks at. All fields are optional and ANDed; an absent field matches, and its inversion flag is ignored.
 * Deliberately flat: the fields are properties of the rule itself.
 */
import Type, { type Static, type TProperties } from 'typebox';
import { formatted, ref, uuid } from './fields.ts';
import { parseCidr } from './ip.ts';
import type { Lookup, ObjectValue, Problem, Violation } from './spec.ts';

const inversion = (field: string) =>
  Type.Optional(Type.Boolean({ description: `true: match what ${field} does not; absent means false` }));

/**
 * Ports are named, but not held: a deleted port stays in the list and simply never matches again. Removing it would
 * widen the rule (an emptied list no longer says "only these").
 */
const ports = (description: string) =>
  Type.Optional(
    Type.Array(uuid(), { minItems: 1, maxItems: 10_000, uniqueItems: true, description, 'x-weft-weak-ref': 'Port' }),
  );

/** A group that a rule names cannot be deleted: without it the rule would match something else. */
const group = (target: 'PortGroup' | 'IpAddrGroup', description: string) =>
  Type.Optional(ref(target, 'refuse', description));

const range = (description: string) =>
  Type.Optional(
    Type.Object(
      {
        start: Type.Integer({ minimum: 0, maximum: 65_535 }),
        end: Type.Integer({ minimum: 0, maximum: 65_535 }),
      },
      { additionalProperties: false, description },
    ),
  );

/** Fragment policies: all; later fragments; first fragments and whole packets; whole packets. */
export const FRAGMENT_POLICIES = ['any', 'nonheader', 'header', 'unfragmented'] as const;

export const conditionFields = {
  conjunctionInv: Type.Optional(
    Type.Boolean({ description: 'true: match what the other fields together do not; fragmentPolicy stays outside' }),
  ),
  matchForwardFlow: Type.Optional(
    Type.Boolean({
      description:
        'true: the packet belongs to no connection that is known, or goes the way of the packet that opened it',
    }),
  ),
  matchReturnFlow: Type.Optional(
    Type.Boolean({
      description: 'true: the packet answers within a connection that is known, or is an ICMP error about one',
    }),
  ),
  inPorts: ports('Ports by which the packet entered the device'),
  invInPorts: inversion('inPorts'),
  outPorts: ports('Ports by which the packet leaves the device'),
  invOutPorts: inversion('outPorts'),
  portGroup: group('PortGroup', 'Group of the port by which the packet entered the virtual network'),
  invPortGroup: inversion('portGroup'),
  inPortGroup: group('PortGroup', 'Group of the port by which the packet entered the device'),
  invInPortGroup: inversion('inPortGroup'),
  outPortGroup: group('PortGroup', 'Group of the port by which the packet leaves the device'),
  invOutPortGroup: inversion('outPortGroup'),
  traversedDevice: Type.Optional(
    uuid({
      description: 'Bridge, router or port that the packet has come to on its way so far, the present one included',
      'x-weft-weak-ref': 'Bridge, Router or Port',
    }),
  ),
  invTraversedDevice: inversion('traversedDevice'),
  dlType: Type.Optional(Type.Integer({ minimum: 0x600, maximum: 0xffff, description: 'Ethertype' })),
  invDlType: inversion('dlType'),
  dlSrc: Type.Optional(formatted('mac', { description: 'Source MAC address' })),
  dlSrcMask: Type.Optional(formatted('mac', { description: 'Bits of dlSrc that count; absent: all' })),
  invDlSrc: inversion('dlSrc'),
  dlDst: Type.Optional(formatted('mac', { description: 'Destination MAC address' })),
  dlDstMask: Type.Optional(formatted('mac', { description: 'Bits of dlDst that count; absent: all' })),
  invDlDst: inversion('dlDst'),
  vlan: Type.Optional(Type.Integer({ minimum: 1, maximum: 4094, description: 'VLAN of a tagged frame' })),
  noVlan: Type.Optional(Type.Boolean({ description: 'true: untagged frames only' })),
  nwProto: Type.Optional(Type.Integer({ minimum: 0, maximum: 255, description: 'IP protocol' })),
  invNwProto: inversion('nwProto'),
  nwTos: Type.Optional(Type.Integer({ minimum: 0, maximum: 255, description: 'TOS or traffic class octet' })),
  invNwTos: inversion('nwTos'),
  nwSrc: Type.Optional(formatted('subnet', { description: 'Source prefix, IPv4 or IPv6' })),
  invNwSrc: inversion('nwSrc'),
  nwDst: Type.Optional(formatted('subnet', { description: 'Destination prefix, IPv4 or IPv6' })),
  invNwDst: inversion('nwDst'),
  matchNwDstRewritten: Type.Optional(
    Type.Boolean({ description: 'true: the destination address is no longer the one that the packet came with' }),
  ),
  ipAddrGroupSrc: group('IpAddrGroup', 'Group that has the source address'),
  invIpAddrGroupSrc: inversion('ipAddrGroupSrc'),
  ipAddrGroupDst: group('IpAddrGroup', 'Group that has the destination address'),
  invIpAddrGroupDst: inversion('ipAddrGroupDst'),
  icmpDataSrcIp: Type.Optional(
    formatted('subnet', { description: 'Source prefix of the packet that an ICMP or ICMPv6 error quotes' }),
  ),
  invIcmpDataSrcIp: inversion('icmpDataSrcIp'),
  icmpDataDstIp: Type.Optional(
    formatted('subnet', { description: 'Destination prefix of the packet that an ICMP or ICMPv6 error quotes' }),
  ),
  invIcmpDataDstIp: inversion('icmpDataDstIp'),
  tpSrc: range('Source ports, both ends included; ICMP and ICMPv6: types'),
  invTpSrc: inversion('tpSrc'),
  tpDst: range('Destination ports, both ends included; ICMP and ICMPv6: codes'),
  invTpDst: inversion('tpDst'),
  fragmentPolicy: Type.Enum(FRAGMENT_POLICIES, {
    description:
      'any: every packet; nonheader: later fragments; header: whole packets and first fragments; unfragmented: whole ' +
      'packets. Where a transport field is matched, any lets later fragments match by the ports of their first fragment, ' +
      'as far as it is known. When absent on creation: header where a transport field is matched and the type does not ' +
      'translate, else any',
  }),
} satisfies TProperties;

const ConditionSchema = Type.Object(conditionFields);
export type Condition = Static<typeof ConditionSchema>;

const PREFIX_PAIRS = [
  ['nwSrc', 'nwDst'],
  ['icmpDataSrcIp', 'icmpDataDstIp'],
] as const;

/** Fields that only a packet with a transport header has. */
function matchesTransport(value: ObjectValue): boolean {
  return value.tpSrc !== undefined || value.tpDst !== undefined;
}

/** @param translates all fragments of a packet must be translated, or none can be put together again */
export function completeCondition(value: ObjectValue, translates: boolean): void {
  value.fragmentPolicy ??= matchesTransport(value) && !translates ? 'header' : 'any';
}

export function checkCondition(value: ObjectValue): Violation[] {
  const violations: Violation[] = [];
  const refuse = (property: string, message: string) => violations.push({ property, message });
  for (const field of ['tpSrc', 'tpDst']) {
    const ends = value[field] as { start: number; end: number } | undefined;
    if (ends && ends.start > ends.end) refuse(`${field}.end`, 'must not be less than start');
  }
  if (matchesTransport(value) && value.fragmentPolicy === 'nonheader') {
    refuse('fragmentPolicy', 'must not be nonheader where tpSrc or tpDst is set: later fragments have no ports');
  }
  if (value.matchForwardFlow === true && value.matchReturnFlow === true) {
    refuse('matchReturnFlow', 'contradicts matchForwardFlow');
  }
  if (value.noVlan === true && value.vlan !== undefined) refuse('vlan', 'contradicts noVlan');
  for (const field of ['dlSrc', 'dlDst']) {
    if (value[`${field}Mask`] !== undefined && value[field] === undefined) {
      refuse(`${field}Mask`, `means nothing without ${field}`);
    }
  }
  for (const [source, destination] of PREFIX_PAIRS) {
    const [from, to] = [value[source], value[destination]] as (string | undefined)[];
    if (from === undefined || to === undefined || parseCidr(from)!.family === parseCidr(to)!.family) continue;
    refuse(destination, `must be of the same IP version as ${source}`);
  }
  return violations;
}

/** Ports and devices must exist when they are named. */
export async function checkConditionNames(
  value: ObjectValue,
  lookup: Lookup,
  previous: ObjectValue | undefined,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const field of ['inPorts', 'outPorts']) {
    const known = new Set((previous?.[field] ?? []) as string[]);
    for (const id of (value[field] ?? []) as string[]) {
      if (known.has(id) || (await lookup.get('Port', id))) continue;
      problems.push({ code: 'WEFT_DANGLING', property: field, message: `there is no port ${id}` });
    }
  }
  const device = value.traversedDevice as string | undefined;
  if (device !== undefined && device !== previous?.traversedDevice && !(await isDevice(device, lookup))) {
    const message = `there is no bridge, router or port ${device}`;
    problems.push({ code: 'WEFT_DANGLING', property: 'traversedDevice', message });
  }
  return problems;
}

async function isDevice(id: string, lookup: Lookup): Promise<boolean> {
  for (const type of ['Bridge', 'Router', 'Port']) if (await lookup.get(type, id)) return true;
  return false;
}
