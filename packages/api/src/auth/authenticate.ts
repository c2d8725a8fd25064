/** From what a request carries to who sent it. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Nsdb } from '@weft/nsdb';
import { tokenCheck } from '../doors.ts';
import { ApiError } from '../errors.ts';
import type { KeystoneProvider } from './keystone.ts';
import type { OidcProvider } from './oidc.ts';
import { type Principal, SOCKET_OWNER, TOKEN_HOLDER } from './principal.ts';
import { TOKEN_PREFIX, tokenOwner } from './tokens.ts';

/** Name of the cookie that a login sets. */
export const SESSION_COOKIE = 'sessionId';

const MAX_TOKEN_LENGTH = 12_288;

export interface Authenticator {
  /** Who sent the request; `trusted`: it came by the Unix socket. Rejects with 401, 403 or 503. */
  authenticate(request: IncomingMessage, trusted: boolean): Promise<Principal>;
}

export interface AuthSources {
  readonly nsdb: Nsdb;
  /** The token of the token file. */
  readonly secret?: string | undefined;
  readonly oidc?: OidcProvider | undefined;
  readonly keystone?: KeystoneProvider | undefined;
}

export function authenticator({ nsdb, secret, oidc, keystone }: AuthSources): Authenticator {
  const isSecret = secret === undefined ? () => false : tokenCheck(secret);
  const owner = async (token: string): Promise<Principal | undefined> => {
    if (token.length > MAX_TOKEN_LENGTH) return undefined;
    if (isSecret(token)) return TOKEN_HOLDER;
    if (token.startsWith(TOKEN_PREFIX)) return tokenOwner(nsdb, token);
    if (oidc?.claims(token)) return oidc.authenticate(token);
    return keystone?.authenticate(token);
  };
  return {
    async authenticate(request, trusted) {
      const given = credentialsOf(request.headers);
      if (given === undefined) {
        if (trusted) return SOCKET_OWNER;
        throw new ApiError(401, 'WEFT_API_UNAUTHORIZED', HOW);
      }
      if (given.cookie) refuseForeignPages(request);
      // What is sent counts, also on the Unix socket: who shows a token there wants to be its owner.
      const principal = await owner(given.token);
      if (principal === undefined) throw new ApiError(401, 'WEFT_API_UNAUTHORIZED', HOW);
      return principal;
    },
  };
}

const HOW =
  'Send a valid token as Authorization: Bearer or X-Auth-Token; POST /midonet-api/login with name and password gives one.';

/** The token of a request, and whether a browser attached it by itself. */
export function credentialsOf(headers: IncomingHttpHeaders): { token: string; cookie: boolean } | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  const header = bearer ?? headers['x-auth-token'];
  if (typeof header === 'string') return { token: header, cookie: false };
  for (const pair of (headers.cookie ?? '').split(';')) {
    const [name, value] = pair.trim().split('=', 2);
    if (name === SESSION_COOKIE && value) return { token: value, cookie: true };
  }
  return undefined;
}

/**
 * A browser sends the cookie with whatever any page makes it request. It is SameSite=Strict; beyond that, requests that say
 * they come from another origin's page are refused. Programs send neither header, and mean what they send.
 */
function refuseForeignPages({ headers, socket }: IncomingMessage): void {
  const site = headers['sec-fetch-site'];
  const { origin } = headers;
  const own = `${'encrypted' in socket ? 'https' : 'http'}://${headers.host}`;
  const foreign =
    (site !== undefined && site !== 'same-origin' && site !== 'none') || (origin !== undefined && origin !== own);
  if (foreign) {
    throw new ApiError(
      403,
      'WEFT_API_FORBIDDEN',
      `The cookie ${SESSION_COOKIE} does not count for pages of other origins. Send the token in X-Auth-Token.`,
    );
  }
}
