/** NAT rules → what the simulator translates with. */
import { ipIsV4, ipParse } from '@weft/packet';
import type { Rule } from '@weft/topology';
import { PORT_ROUTER, type SimPort } from '../contract.ts';
import { isLinkLocal6 } from './neighbours.ts';

/** First and last port that masquerading uses: those below are for services of the address itself. */
const MASQUERADE_FROM = 1024;
const MASQUERADE_TO = 65_535;

/** A range of addresses and ports to translate to. */
export interface NatTarget {
  /** Equal for equal ranges: pools of ports are kept by it. */
  readonly key: string;
  /** First and last address, 16 bytes each. */
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** First and last port or echo identifier; both 0: it stays. */
  readonly portFrom: number;
  readonly portTo: number;
}

/** What a rule of a NAT type does. */
export interface SimNat {
  /** It is about the source, else about the destination. */
  readonly source: boolean;
  /** It undoes a translation that is known, and has no targets. */
  readonly reverse: boolean;
  /** One address for another, both ways, without state. */
  readonly isStatic: boolean;
  /** The target is the address of the port by which the packet leaves. */
  readonly masquerade: boolean;
  readonly v6: boolean;
  readonly targets: readonly NatTarget[];
}

const NO_TARGETS: readonly NatTarget[] = [];

/** The NAT part of a rule; undefined if its type is no NAT type. @throws for targets that cannot be read */
export function compileNat(rule: Rule): SimNat | undefined {
  const { type } = rule;
  if (type === 'rev_snat' || type === 'rev_dnat') {
    const source = type === 'rev_snat';
    return { source, reverse: true, isStatic: false, masquerade: false, v6: false, targets: NO_TARGETS };
  }
  if (type === 'masquerade') {
    return { source: true, reverse: false, isStatic: false, masquerade: true, v6: false, targets: NO_TARGETS };
  }
  if (type !== 'snat' && type !== 'dnat') return undefined;
  const targets = (rule.natTargets ?? []).map(({ addressFrom, addressTo, portFrom, portTo }) =>
    natTarget(ipParse(addressFrom), ipParse(addressTo ?? addressFrom), portFrom ?? 0, portTo ?? portFrom ?? 0),
  );
  if (targets.length === 0) throw new RangeError(`a ${type} rule without targets`);
  const [{ from, to, portFrom, portTo }] = targets;
  const single = targets.length === 1 && portFrom === 0 && portTo === 0 && String(from) === String(to);
  return {
    source: type === 'snat',
    reverse: false,
    isStatic: single,
    masquerade: false,
    v6: !ipIsV4(from, 0),
    targets,
  };
}

function natTarget(from: Uint8Array, to: Uint8Array, portFrom: number, portTo: number): NatTarget {
  const key = `${Buffer.from(from).toString('hex')}-${Buffer.from(to).toString('hex')}:${portFrom}-${portTo}`;
  return { key, from, to, portFrom, portTo };
}

/** Whether two rules translate alike. */
export function sameNat(a: SimNat, b: SimNat): boolean {
  return (
    a.source === b.source &&
    a.reverse === b.reverse &&
    a.masquerade === b.masquerade &&
    a.targets.length === b.targets.length &&
    a.targets.every(({ key }, i) => key === b.targets[i].key)
  );
}

const masquerades = new WeakMap<SimPort, { v4: NatTarget | null; v6: NatTarget | null }>();

/** Where masquerading by this port translates to: its first address of the family; null: it has none. */
export function masqueradeTarget(port: SimPort, v6: boolean): NatTarget | null {
  if (port.kind !== PORT_ROUTER) return null;
  let known = masquerades.get(port);
  if (known === undefined) {
    known = { v4: firstAddress(port, false), v6: firstAddress(port, true) };
    masquerades.set(port, known);
  }
  return v6 ? known.v6 : known.v4;
}

function firstAddress({ addresses }: SimPort, v6: boolean): NatTarget | null {
  for (let at = 0; at < addresses.length; at += 16) {
    if (ipIsV4(addresses, at) === v6 || (v6 && isLinkLocal6(addresses, at))) continue;
    const address = addresses.slice(at, at + 16);
    return natTarget(address, address, MASQUERADE_FROM, MASQUERADE_TO);
  }
  return null;
}
