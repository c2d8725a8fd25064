/**
 * Objects that derive from others (chains, rules and address groups of security groups; of ports, where a store of an earlier version
 * holds them) are read here, never written.
 */
import type { StoredObject, Transaction } from '@weft/nsdb';
import { ApiError } from '../errors.ts';

/** @throws ApiError 409 when the object, or the chain that it is a rule of, follows from another object */
export async function refuseDerived(tx: Pick<Transaction, 'get'>, { type, id, value }: StoredObject): Promise<void> {
  const { chainId } = value as { chainId?: unknown };
  const holder = type === 'Rule' && typeof chainId === 'string' ? await tx.get('Chain', chainId) : undefined;
  const { securityGroupId, securityPortId } = (holder?.value ?? value) as Record<string, unknown>;
  if (securityGroupId === undefined && securityPortId === undefined) return;
  const origin = securityGroupId === undefined ? `port ${securityPortId}` : `security group ${securityGroupId}`;
  throw new ApiError(409, 'WEFT_API_DERIVED', `${type} ${id} follows from ${origin}. Change that one instead.`);
}
