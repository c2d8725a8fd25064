/** Accounts in the database. They are private objects: what leaves here never carries the hash. */
import type { Nsdb, StoredObject, Transaction } from '@weft/nsdb';
import { type Account, type AccountRole, validateObject } from '@weft/topology';
import { invalid, notFound } from '../errors.ts';
import { checkPassword, hashPassword, verifyPassword } from './passwords.ts';
import type { Principal } from './principal.ts';

/** An account as it is shown. */
export interface ShownAccount {
  readonly name: string;
  readonly role: AccountRole;
  readonly tenantId?: string;
}

export interface NewAccount {
  readonly name: unknown;
  readonly password: unknown;
  readonly role: unknown;
  readonly tenantId?: unknown;
}

function shownAccount({ name, role, tenantId }: Account): ShownAccount {
  return { name, role, ...(tenantId === undefined ? {} : { tenantId }) };
}

export function principalOf(account: Account): Principal {
  return { ...shownAccount(account), provider: 'account' };
}

export async function createAccount(nsdb: Nsdb, given: NewAccount): Promise<ShownAccount> {
  const { name, role } = given;
  const tenantId = given.tenantId ?? undefined;
  const fields = { name, role, ...(tenantId === undefined ? {} : { tenantId }) };
  // First what costs nothing; the hash is made for accounts that will be.
  const checked = validateObject('Account', { ...fields, passwordHash: 'none' });
  if (!checked.ok) throw invalid(checked.violations);
  const passwordHash = await hashPassword(checkPassword(given.password));
  const { result } = await nsdb.transact((tx) => tx.create<Account>('Account', { ...fields, passwordHash }));
  return shownAccount(result);
}

export async function listAccounts(nsdb: Nsdb): Promise<ShownAccount[]> {
  const accounts = (await nsdb.list<Account>('Account')).map(({ value }) => shownAccount(value));
  return accounts.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export async function getAccount(nsdb: Nsdb, name: string): Promise<ShownAccount> {
  return shownAccount((await required(nsdb, name)).value);
}

/** Its tokens go with it. */
export async function deleteAccount(nsdb: Nsdb, name: string): Promise<void> {
  const { id } = await required(nsdb, name);
  await nsdb.transact((tx) => tx.delete('Account', id));
}

/** From now on the new password counts, and every token handed out before is void. */
export async function changePassword(nsdb: Nsdb, name: string, password: unknown): Promise<void> {
  const passwordHash = await hashPassword(checkPassword(password));
  const { id } = await required(nsdb, name);
  await nsdb.transact(async (tx) => {
    const stored = await tx.get<Account>('Account', id);
    if (!stored) throw notFound('account', name);
    await tx.update('Account', id, { ...stored.value, passwordHash });
    await revokeTokens(tx, id);
  });
}

/** The account if the password is right. Takes as long when there is no such account. */
export async function checkLogin(
  nsdb: Nsdb,
  name: string,
  password: string,
): Promise<StoredObject<Account> | undefined> {
  const account = await findAccount(nsdb, name);
  return (await verifyPassword(password, account?.value.passwordHash)) ? account : undefined;
}

export async function findAccount(nsdb: Nsdb, name: string): Promise<StoredObject<Account> | undefined> {
  return (await nsdb.list<Account>('Account')).find(({ value }) => value.name === name);
}

async function required(nsdb: Nsdb, name: string): Promise<StoredObject<Account>> {
  const account = await findAccount(nsdb, name);
  if (account === undefined) throw notFound('account', name);
  return account;
}

async function revokeTokens(tx: Transaction, accountId: string): Promise<void> {
  for (const id of await tx.referrers('AuthToken', 'accountId', accountId)) await tx.delete('AuthToken', id);
}
