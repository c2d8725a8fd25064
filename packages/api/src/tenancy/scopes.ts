/**
 * Which part of the database a request works on. Handlers use `context.nsdb`; what answers there is the part that the
 * request's principal may use. Without a principal nothing answers.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Nsdb } from '@weft/nsdb';
import type { Principal } from '../auth/principal.ts';
import { ApiError } from '../errors.ts';
import { isPrivate } from './ownership.ts';
import { tenantNsdb } from './tenant-nsdb.ts';

export interface Scopes {
  /** Stands for the database of the request that is being answered. Also in what the handler starts and does not await. */
  readonly nsdb: Nsdb;
  /** Runs what answers a request of `principal`. */
  run<R>(principal: Principal, body: () => R): R;
}

export function scopesOf(nsdb: Nsdb): Scopes {
  const storage = new AsyncLocalStorage<Nsdb>();
  const everything = withoutPrivate(nsdb);
  const everythingToRead = readOnly(everything);
  const current = (): Nsdb => {
    const scope = storage.getStore();
    if (scope === undefined) throw new Error('The database was used outside of a request whose sender is known');
    return scope;
  };
  const forPrincipal = ({ role, tenantId }: Principal): Nsdb => {
    if (tenantId === undefined) return role === 'admin' ? everything : everythingToRead;
    const own = tenantNsdb(nsdb, tenantId);
    return role === 'tenant' ? own : readOnly(own);
  };
  return {
    nsdb: forward(current),
    run: (principal, body) => storage.run(forPrincipal(principal), body),
  };
}

/** A database whose every call goes to what `target` returns at that moment. */
function forward(target: () => Nsdb): Nsdb {
  return {
    get generation() {
      return target().generation;
    },
    get: (type, id) => target().get(type, id),
    list: (type) => target().list(type),
    referrers: (type, field, id) => target().referrers(type, field, id),
    entries: (table) => target().entries(table),
    transact: (body) => target().transact(body),
    subscribe: (options) => target().subscribe(options),
    openSession: (hostId) => target().openSession(hostId),
    revision: () => target().revision(),
    convergence: () => target().convergence(),
    poolUsage: (pool) => target().poolUsage(pool),
    size: () => target().size(),
    close: () => target().close(),
  };
}

/** Accounts and tokens are for login and account management, which have the database itself. */
function withoutPrivate(nsdb: Nsdb): Nsdb {
  return {
    ...forward(() => nsdb),
    get generation() {
      return nsdb.generation;
    },
    get: (type, id) => (isPrivate(type) ? Promise.resolve(undefined) : nsdb.get(type, id)),
    list: (type) => (isPrivate(type) ? Promise.resolve([]) : nsdb.list(type)),
    subscribe: () => {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'A request does not subscribe to the database itself.');
    },
    close: async () => {},
  };
}

/** For viewers. The layer in front refuses their writes already; this one holds when a GET should come to write. */
function readOnly(nsdb: Nsdb): Nsdb {
  return {
    ...forward(() => nsdb),
    get generation() {
      return nsdb.generation;
    },
    transact: async () => {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'A viewer changes nothing.');
    },
    openSession: async () => {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'A viewer is no host.');
    },
  };
}
