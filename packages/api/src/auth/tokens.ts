/**
 * Tokens of logins: 256 random bits, of which the database keeps the SHA-256 alone, so that who reads the database cannot
 * log in. What a token may do stands in its account at the moment of use: a new role or a deleted account counts at once.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Nsdb } from '@weft/nsdb';
import { type Account, type AuthToken, derivedUuid } from '@weft/topology';
import { principalOf } from './accounts.ts';
import type { Principal } from './principal.ts';

/** Tells them from the tokens of identity providers, and lets scanners of leaked secrets know them. */
export const TOKEN_PREFIX = 'weft_';

/** The oldest goes when an account logs in once more. */
const MAX_TOKENS_PER_ACCOUNT = 100;

export interface IssuedToken {
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
}

/** Makes a token for the account; expired ones of the account are removed on the occasion. */
export async function issueToken(
  nsdb: Nsdb,
  accountId: string,
  lifetimeMs: number,
  now = Date.now(),
): Promise<IssuedToken> {
  const key = TOKEN_PREFIX + randomBytes(32).toString('base64url');
  const expires = now + lifetimeMs;
  await nsdb.transact(async (tx) => {
    const ids = await tx.referrers('AuthToken', 'accountId', accountId);
    const tokens = (await Promise.all(ids.map((id) => tx.get<AuthToken>('AuthToken', id)))).filter(
      (t) => t !== undefined,
    );
    const valid = tokens.filter(({ value }) => value.expires > now).sort((a, b) => b.value.expires - a.value.expires);
    const kept = new Set(valid.slice(0, MAX_TOKENS_PER_ACCOUNT - 1).map(({ id }) => id));
    for (const { id } of tokens) if (!kept.has(id)) await tx.delete('AuthToken', id);
    const tokenHash = hashOf(key);
    await tx.create('AuthToken', { id: idOf(tokenHash), accountId, tokenHash, expires });
  });
  return { key, expires };
}

/** Whose valid token it is; undefined: nobody's. */
export async function tokenOwner(nsdb: Nsdb, key: string, now = Date.now()): Promise<Principal | undefined> {
  const tokenHash = hashOf(key);
  const stored = await nsdb.get<AuthToken>('AuthToken', idOf(tokenHash));
  if (stored === undefined || stored.value.expires <= now) return undefined;
  if (!timingSafeEqual(Buffer.from(stored.value.tokenHash), Buffer.from(tokenHash))) return undefined;
  const account = await nsdb.get<Account>('Account', stored.value.accountId);
  return account && principalOf(account.value);
}

/** Makes a token void; no effect if it is none. */
export async function revokeToken(nsdb: Nsdb, key: string): Promise<void> {
  const id = idOf(hashOf(key));
  await nsdb.transact(async (tx) => {
    if (await tx.get('AuthToken', id)) await tx.delete('AuthToken', id);
  });
}

function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/** Found without a search. */
function idOf(tokenHash: string): string {
  return derivedUuid('auth-token', tokenHash);
}
