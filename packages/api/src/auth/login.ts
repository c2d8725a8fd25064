/** `/login`: name and password (HTTP Basic) become a token; DELETE makes the token void. */
import type { Nsdb } from '@weft/nsdb';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { ROOT } from '../context.ts';
import { ApiError } from '../errors.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers } from '../openapi.ts';
import { checkLogin, findAccount, principalOf } from './accounts.ts';
import { credentialsOf, SESSION_COOKIE } from './authenticate.ts';
import type { KeystoneProvider } from './keystone.ts';
import { LoginLimits } from './login-limits.ts';
import type { Principal } from './principal.ts';
import { issueToken, revokeToken, TOKEN_PREFIX } from './tokens.ts';

export const LOGIN_PATH = `${ROOT}/login`;

const Token = Type.Object(
  {
    key: Type.String({ description: 'To be sent as X-Auth-Token or Authorization: Bearer' }),
    expires: Type.String({ description: 'When it stops being valid, as in HTTP dates' }),
  },
  { $id: 'Token', description: 'A token' },
);

export interface LoginOptions {
  readonly nsdb: Nsdb;
  readonly tokenHours: number;
  readonly keystone?: KeystoneProvider | undefined;
  readonly limits?: LoginLimits;
}

export function loginRoutes(app: FastifyInstance, options: LoginOptions): void {
  const { nsdb, limits = new LoginLimits() } = options;
  app.addSchema(Token);
  const tags = ['access'];
  const schema = {
    tags,
    summary: 'Get a token for name and password',
    security: [{ basic: [] }],
    headers: {
      type: 'object',
      properties: { 'x-auth-project': { type: 'string', description: 'Tenant that the token is to be for' } },
    },
    response: answers({ 200: { $ref: 'Token#' } }, [413, 415, 429]),
  };
  app.post(LOGIN_PATH, { schema }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('Token', [1]));
    const { name, password } = basicCredentials(request);
    const source = request.socket.remoteAddress ?? 'socket';
    const wait = limits.attempt(name, source);
    if (wait > 0) {
      reply.header('Retry-After', String(wait));
      throw new ApiError(429, 'WEFT_API_TOO_MANY_LOGINS', `Too many failed logins. Try again in ${wait} s.`);
    }
    const done = await login(options, name, password, projectOf(request));
    if (done === undefined) {
      reply.header('WWW-Authenticate', 'Basic realm="weft", charset="UTF-8"');
      throw new ApiError(401, 'WEFT_API_LOGIN_FAILED', 'Name, password or project are not right.');
    }
    limits.succeeded(name, source);
    request.principal = done.principal;
    setCookie(request, reply, done.key, done.expires);
    return reply.type(media).send({ key: done.key, expires: new Date(done.expires).toUTCString() });
  });

  const gone = answers({ 204: { type: 'null', description: 'The token is void' } }, [413, 415]);
  app.delete(
    LOGIN_PATH,
    { schema: { tags, summary: 'Make the token void', response: gone } },
    async (request, reply) => {
      const given = credentialsOf(request.headers);
      if (given?.token.startsWith(TOKEN_PREFIX)) await revokeToken(nsdb, given.token);
      setCookie(request, reply, '', 0);
      return reply.code(204).send();
    },
  );
}

interface Login {
  readonly principal: Principal;
  readonly key: string;
  readonly expires: number;
}

/** Names of accounts are never asked of Keystone; other names are, where there is one. */
async function login(options: LoginOptions, name: string, password: string, project: string | undefined) {
  const { nsdb, keystone, tokenHours } = options;
  const known = keystone === undefined || (await findAccount(nsdb, name)) !== undefined;
  if (!known) return keystone.login(name, password, project);
  const account = await checkLogin(nsdb, name, password);
  if (account === undefined) return undefined;
  const principal = principalOf(account.value);
  // Who acts for one tenant cannot log in to another; for the others the project says nothing.
  if (project !== undefined && principal.tenantId !== undefined && project !== principal.tenantId) return undefined;
  const token = await issueToken(nsdb, account.id, tokenHours * 3_600_000);
  return { principal, ...token } satisfies Login;
}

/** RFC 7617. */
function basicCredentials({ headers }: FastifyRequest): { name: string; password: string } {
  const encoded = /^Basic +([A-Za-z0-9+/=_-]{1,4096})$/i.exec(headers.authorization ?? '')?.[1];
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1 || colon > 255) {
    throw new ApiError(401, 'WEFT_API_LOGIN_FAILED', 'Send name and password as Authorization: Basic.');
  }
  return { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

function projectOf({ headers }: FastifyRequest): string | undefined {
  const project = headers['x-auth-project'];
  return typeof project === 'string' && project !== '' ? project.slice(0, 255) : undefined;
}

function setCookie(request: FastifyRequest, reply: FastifyReply, key: string, expires: number): void {
  // Keystone's tokens may hold characters that end a cookie's value.
  if (!/^[A-Za-z0-9_.=~+/-]*$/.test(key)) return;
  const secure = request.protocol === 'https' ? '; Secure' : '';
  const until = new Date(expires).toUTCString();
  reply.header('Set-Cookie', `${SESSION_COOKIE}=${key}; Path=/; Expires=${until}; HttpOnly; SameSite=Strict${secure}`);
}
