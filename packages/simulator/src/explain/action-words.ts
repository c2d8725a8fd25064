/** What a rule does, in words. */
import { isIPv6 } from 'node:net';
import type { NatTarget } from '@weft/topology';

type Value = Record<string, unknown>;

/** `accept`, `snat to 192.0.2.1:1024-65535, then continue`. */
export function actionWords(value: Value): string {
  const type = String(value.type ?? 'drop');
  const targets = (value.natTargets as readonly NatTarget[] | undefined) ?? [];
  const to = targets.length === 0 ? '' : ` to ${targets.map(targetWords).join(' or ')}`;
  const then = value.flowAction === undefined || value.flowAction === 'accept' ? '' : `, then ${value.flowAction}`;
  return `${type}${to}${then}`;
}

function targetWords({ addressFrom, addressTo, portFrom, portTo }: NatTarget): string {
  const addresses = addressFrom === addressTo ? addressFrom : `${addressFrom}-${addressTo}`;
  if (portTo === 0) return addresses;
  const ports = portFrom === portTo ? portFrom : `${portFrom}-${portTo}`;
  return isIPv6(addressFrom) ? `[${addresses}]:${ports}` : `${addresses}:${ports}`;
}
