/** The layer in front of all routes: who sent the request, and which part of the database it works on. */
import type { IncomingMessage } from 'node:http';
import type { Nsdb } from '@weft/nsdb';
import type { FastifyInstance } from 'fastify';
import { accountRoutes } from './auth/account-routes.ts';
import { listAccounts } from './auth/accounts.ts';
import { authenticator } from './auth/authenticate.ts';
import { type AuthConfig, authConfig } from './auth/config.ts';
import { KeystoneProvider } from './auth/keystone.ts';
import { LOGIN_PATH, loginRoutes } from './auth/login.ts';
import { OidcProvider } from './auth/oidc.ts';
import type { Principal } from './auth/principal.ts';
import { ApiError } from './errors.ts';
import { responseHeaders } from './headers.ts';
import { scopesOf } from './tenancy/scopes.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sent it; undefined: not known (yet), or somebody who is about to log in. */
    principal: Principal | undefined;
    /** Code of the error that it is answered with. */
    refusal: string | undefined;
  }
}

export interface AccessOptions {
  readonly nsdb: Nsdb;
  /** The token of the token file. */
  readonly secret?: string | undefined;
  readonly auth?: AuthConfig | undefined;
}

export interface Access {
  /** The database as the request that is being answered may use it. */
  readonly nsdb: Nsdb;
  /** Says that a request came by TCP, so that it needs credentials. Others (Unix socket, `inject`) are the owner's. */
  guard(request: IncomingMessage): void;
  /** Could anybody get in by TCP? */
  admitsSomebody(): Promise<boolean>;
  /** The routes of login and accounts. */
  routes(): void;
}

const READS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Installs the layer. To be called before any route is there. */
export function controlAccess(app: FastifyInstance, { nsdb, secret, auth = authConfig({}) }: AccessOptions): Access {
  const keystone = auth.keystone && new KeystoneProvider(auth.keystone);
  const oidc = auth.oidc && new OidcProvider(auth.oidc);
  const senders = authenticator({ nsdb, secret, oidc, keystone });
  const scopes = scopesOf(nsdb);
  const guarded = new WeakSet<IncomingMessage>();

  app.decorateRequest('principal', undefined);
  app.decorateRequest('refusal', undefined);
  responseHeaders(app, auth.corsOrigins);
  app.addHook('onRequest', async (request) => {
    if (request.routeOptions.url === LOGIN_PATH) return;
    const principal = await senders.authenticate(request.raw, !guarded.has(request.raw));
    request.principal = principal;
    if (principal.role === 'viewer' && !READS.has(request.method)) {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'A viewer changes nothing.');
    }
  });
  // Whatever the handler starts, also after waiting, works on the database of this request's sender.
  app.addHook('preHandler', (request, _reply, done) => {
    if (request.principal === undefined) done();
    else scopes.run(request.principal, done);
  });

  return {
    nsdb: scopes.nsdb,
    guard: (request) => void guarded.add(request),
    admitsSomebody: async () =>
      secret !== undefined || oidc !== undefined || keystone !== undefined || (await listAccounts(nsdb)).length > 0,
    routes() {
      loginRoutes(app, { nsdb, tokenHours: auth.tokenHours, keystone });
      accountRoutes(app, nsdb);
    },
  };
}
