/** Tokens of an OpenID Connect provider: JWTs (RFC 7519), verified with the keys that it publishes (RFC 7517). */
import { createRemoteJWKSet, decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import { ApiError } from '../errors.ts';
import type { OidcConfig } from './config.ts';
import type { Principal } from './principal.ts';
import { mapPrincipal } from './role-mapping.ts';

const TIMEOUT_MS = 5000;
/** A token signed by a key that is not known yet makes the keys be fetched again, at most this often. */
const COOLDOWN_MS = 10_000;
const MAX_DISCOVERY_BYTES = 256 * 1024;

export class OidcProvider {
  readonly #config: OidcConfig;
  readonly #cooldownMs: number;
  #keys: ReturnType<typeof createRemoteJWKSet> | undefined;

  constructor(config: OidcConfig, { cooldownMs = COOLDOWN_MS }: { readonly cooldownMs?: number } = {}) {
    this.#config = config;
    this.#cooldownMs = cooldownMs;
  }

  /** Does the token claim to be from this provider? Says nothing of whether it is. */
  claims(token: string): boolean {
    if (token.split('.').length !== 3) return false;
    try {
      return decodeJwt(token).iss === this.#config.issuer;
    } catch {
      return false;
    }
  }

  /** Whose token it is; undefined: it does not count here. Rejects with a 503 when the provider cannot be asked. */
  async authenticate(token: string): Promise<Principal | undefined> {
    const { issuer, audience, algorithms, clockToleranceSeconds } = this.#config;
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, await this.#keySet(), {
        issuer,
        audience,
        algorithms,
        clockTolerance: clockToleranceSeconds,
        requiredClaims: ['exp', 'sub'],
      }));
    } catch (error) {
      if (error instanceof ApiError) throw error;
      if (NOT_THE_TOKENS_FAULT.some((kind) => error instanceof kind) || !isTokenFault(error)) {
        throw away(`the keys of ${issuer} could not be fetched`);
      }
      return undefined;
    }
    const { nameClaim, rolesClaim, tenantClaim, roles } = this.#config;
    const name = String(claim(payload, nameClaim) ?? payload.sub).slice(0, 255);
    const given = claim(payload, rolesClaim);
    const list = (Array.isArray(given) ? given : [given]).filter((role) => typeof role === 'string').slice(0, 1000);
    const tenant = claim(payload, tenantClaim);
    return mapPrincipal(
      'oidc',
      name,
      list,
      typeof tenant === 'string' && tenant.length <= 255 ? tenant : undefined,
      roles,
    );
  }

  async #keySet(): Promise<ReturnType<typeof createRemoteJWKSet>> {
    this.#keys ??= createRemoteJWKSet(new URL(this.#config.jwksUri ?? (await this.#discover())), {
      timeoutDuration: TIMEOUT_MS,
      cooldownDuration: this.#cooldownMs,
    });
    return this.#keys;
  }

  /** OpenID Connect Discovery 1.0 §4. */
  async #discover(): Promise<string> {
    const { issuer } = this.#config;
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    let document: { issuer?: unknown; jwks_uri?: unknown };
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
      const text = await answer.text();
      if (!answer.ok || text.length > MAX_DISCOVERY_BYTES) throw new Error(`answer ${answer.status}`);
      document = JSON.parse(text) as typeof document;
    } catch (error) {
      throw away(`${url} gives no discovery document (${(error as Error).message})`);
    }
    const uri = document.jwks_uri;
    if (document.issuer !== issuer || typeof uri !== 'string' || !URL.canParse(uri)) {
      throw away(`${url} is not the discovery document of ${issuer}`);
    }
    const secure = new URL(uri).protocol === 'https:' || issuer.startsWith('http:');
    if (!secure) throw away(`${url} names keys at an address without TLS`);
    return uri;
  }
}

const NOT_THE_TOKENS_FAULT = [errors.JWKSTimeout, errors.JWKSInvalid] as const;

/** jose's errors about the token have codes of their own; what fetching throws has the generic code or none. */
function isTokenFault(error: unknown): boolean {
  return error instanceof errors.JOSEError && error.code !== 'ERR_JOSE_GENERIC';
}

/** `realm_access.roles` leads into `{"realm_access":{"roles":[…]}}`; a claim of that very name goes first. */
function claim(payload: JWTPayload, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path];
  let value: unknown = payload;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function away(why: string): ApiError {
  return new ApiError(503, 'WEFT_API_IDENTITY_AWAY', `The identity provider cannot be asked: ${why}.`);
}
