/** Address translation by rules: which types do it, to what, and what must hold of the targets. */
import Type, { type Static } from 'typebox';
import { formatted } from '../fields.ts';
import { type IpFamily, isAssignableIp, parseCidr, parseIp } from '../ip.ts';
import type { ObjectValue, Violation } from '../spec.ts';

/** Types that translate; the reverse ones give answers back what the translation of their connection took. */
export const NAT_TYPES = ['snat', 'dnat', 'rev_snat', 'rev_dnat', 'masquerade'] as const;
export type NatType = (typeof NAT_TYPES)[number];

/** Where a translated packet goes on. */
export const FLOW_ACTIONS = ['accept', 'continue', 'return'] as const;

/** Ports of a dynamic source translation that names none: those below belong to services (RFC 6056, section 3.2). */
const FIRST_DYNAMIC_PORT = 1024;
const LAST_PORT = 65_535;

const port = (description: string) => Type.Optional(Type.Integer({ minimum: 0, maximum: LAST_PORT, description }));

const NatTargetSchema = Type.Object(
  {
    addressFrom: formatted('ip', { description: 'First address, IPv4 or IPv6' }),
    addressTo: Type.Optional(formatted('ip', { description: 'Last address; absent: addressFrom alone' })),
    portFrom: port('First port; absent: 0'),
    portTo: port('Last port; absent: portFrom. Both 0: the port stays'),
  },
  { additionalProperties: false, description: 'Addresses and ports that a packet may be given' },
);

/** A target as it is stored: complete. */
export type NatTarget = Required<Static<typeof NatTargetSchema>>;

export const natFields = {
  natTargets: Type.Optional(
    Type.Array(NatTargetSchema, {
      minItems: 1,
      maxItems: 16,
      description:
        'snat, dnat: what the source or destination becomes; all of one IP version. One address with the ports 0 is ' +
        'static: one to one, the port stays. dnat: of several addresses each connection gets one, and the port stays ' +
        'where the ports are 0. snat: with several addresses the ports 0 mean 1024 to 65535',
    }),
  ),
  flowAction: Type.Optional(
    Type.Enum(FLOW_ACTIONS, {
      description:
        'Types that translate: what becomes of a packet that has been translated: accept (default), on to the next rule ' +
        '(continue) or back to the chain that jumped here (return). A packet that the rule cannot translate goes on to ' +
        'the next rule in any case',
    }),
  ),
};

export function isNatType(type: unknown): type is NatType {
  return (NAT_TYPES as readonly unknown[]).includes(type);
}

/** Fills in the ends of the targets' ranges. The value has not been validated. */
export function completeNat(value: ObjectValue): void {
  if (isNatType(value.type)) value.flowAction ??= 'accept';
  if (!Array.isArray(value.natTargets)) return;
  const { length } = value.natTargets;
  value.natTargets = value.natTargets.map((target) => completeTarget(target, value.type, length));
}

/** What is no target is left to the schema. */
function completeTarget(target: unknown, type: unknown, count: number): unknown {
  if (typeof target !== 'object' || target === null || !('addressFrom' in target)) return target;
  const {
    addressFrom,
    addressTo = addressFrom,
    portFrom = 0,
    portTo = portFrom,
    ...rest
  } = target as Partial<NatTarget>;
  const dynamic = type === 'snat' && (count > 1 || addressFrom !== addressTo);
  const [first, last] =
    dynamic && portFrom === 0 && portTo === 0 ? [FIRST_DYNAMIC_PORT, LAST_PORT] : [portFrom, portTo];
  return { addressFrom, addressTo, portFrom: first, portTo: last, ...rest };
}

export function checkNat(value: ObjectValue): Violation[] {
  const violations: Violation[] = [];
  const refuse = (property: string, message: string) => violations.push({ property, message });
  const { type } = value;
  const targets = value.natTargets as NatTarget[] | undefined;
  if ((type === 'snat' || type === 'dnat') !== (targets !== undefined)) {
    refuse('natTargets', targets ? 'is allowed in snat and dnat rules only' : `is required in a ${type} rule`);
  }
  if (value.flowAction !== undefined && !isNatType(type)) {
    refuse('flowAction', `is allowed in rules of the types ${NAT_TYPES.join(', ')} only`);
  }
  if (!targets) return violations;
  const family = familyOf(targets[0]!.addressFrom);
  for (const [i, target] of targets.entries()) checkTarget(target, `natTargets.${i}`, family, refuse);
  if (violations.length === 0) checkFamily(value, family, refuse);
  return violations;
}

type Refuse = (property: string, message: string) => void;

function familyOf(address: string): IpFamily {
  return address.includes(':') ? 6 : 4;
}

function checkTarget(target: NatTarget, at: string, family: IpFamily, refuse: Refuse): void {
  const { addressFrom, addressTo, portFrom, portTo } = target;
  const ends = { addressFrom, addressTo };
  for (const [field, address] of Object.entries(ends)) {
    if (familyOf(address) !== family) refuse(`${at}.${field}`, `must be an IPv${family} address, as the first is`);
    else if (!isAssignableIp(parseIp(address)!)) {
      refuse(`${at}.${field}`, 'must be an address that an interface can own');
    }
  }
  if (familyOf(addressFrom) === familyOf(addressTo) && Buffer.compare(parseIp(addressFrom)!, parseIp(addressTo)!) > 0) {
    refuse(`${at}.addressTo`, 'must not be less than addressFrom');
  }
  if (portFrom === 0 && portTo !== 0) refuse(`${at}.portFrom`, 'must be 1 or more where portTo is not 0');
  else if (portFrom > portTo) refuse(`${at}.portTo`, 'must not be less than portFrom');
}

const ETHERTYPE: Readonly<Record<IpFamily, number>> = { 4: 0x0800, 6: 0x86dd };

/** A condition of the other IP version would never let a packet come that could be translated. */
function checkFamily(value: ObjectValue, family: IpFamily, refuse: Refuse): void {
  if (value.conjunctionInv === true) return;
  for (const [field, inversion] of [
    ['nwSrc', 'invNwSrc'],
    ['nwDst', 'invNwDst'],
  ] as const) {
    const prefix = value[field] as string | undefined;
    if (prefix === undefined || value[inversion] === true || parseCidr(prefix)!.family === family) continue;
    refuse(field, `must be of IPv${family}, as natTargets is`);
  }
  if (value.dlType !== undefined && value.invDlType !== true && value.dlType !== ETHERTYPE[family]) {
    refuse('dlType', `must be the ethertype of IPv${family}, as natTargets is`);
  }
}
