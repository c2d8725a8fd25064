/**
 * The database as one tenant finds it: with its own objects and tables in it and no others. Routes work on it as they do on
 * the whole one; nothing in them decides about tenants.
 */
import type { Nsdb, StoredObject, Transaction } from '@weft/nsdb';
import type { ObjectValue } from '@weft/topology';
import { ApiError } from '../errors.ts';
import { ownershipOf } from './ownership.ts';
import { TenantTransaction } from './tenant-transaction.ts';
import { TenantView } from './view.ts';

export function tenantNsdb(nsdb: Nsdb, tenantId: string): Nsdb {
  return {
    get generation() {
      return nsdb.generation;
    },
    revision: () => nsdb.revision(),
    get: async <T = ObjectValue>(type: string, id: string): Promise<StoredObject<T> | undefined> => {
      if (ownershipOf(type).kind === 'operator') return undefined;
      return new TenantView(nsdb, tenantId).show<T>(await nsdb.get(type, id));
    },
    list: async <T = ObjectValue>(type: string): Promise<StoredObject<T>[]> => {
      if (ownershipOf(type).kind === 'operator') return [];
      const view = new TenantView(nsdb, tenantId);
      const shown: StoredObject<T>[] = [];
      for (const stored of await nsdb.list(type)) {
        const own = await view.show<T>(stored);
        if (own !== undefined) shown.push(own);
      }
      return shown;
    },
    referrers: async (type: string, field: string, id: string): Promise<string[]> => {
      const view = new TenantView(nsdb, tenantId);
      const own: string[] = [];
      for (const referrer of await nsdb.referrers(type, field, id))
        if (await view.ownsId(type, referrer)) own.push(referrer);
      return own;
    },
    entries: async (table: string) => {
      if (!(await new TenantView(nsdb, tenantId).ownsTable(table))) return [];
      // That a host learned it, not which.
      return (await nsdb.entries(table)).map((entry) => (entry.owner === null ? entry : { ...entry, owner: '' }));
    },
    transact: <R>(body: (tx: Transaction) => Promise<R>) =>
      nsdb.transact(async (tx) => {
        const own = new TenantTransaction(tx, tenantId);
        const result = await body(own);
        await own.settle();
        return result;
      }),
    // The stream of changes subscribes once for all and decides by the owner of each change.
    subscribe: () => {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'A tenant does not subscribe to the database itself.');
    },
    // How many hosts have followed a change is what its tenant wants to know; which hosts there are is not.
    convergence: async () => (await nsdb.convergence()).map((host) => ({ ...host, hostId: '' })),
    openSession: () => {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'A tenant is no host.');
    },
    poolUsage: () => {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'Which hosts hold numbers of a pool is not told to tenants.');
    },
    size: () => {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'How much there is of what is not told to tenants.');
    },
    close: async () => {},
  };
}
