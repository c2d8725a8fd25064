/**
 * OpenStack Keystone (Identity API v3) as the provider: it is asked who a token belongs to, and logs people in. Project →
 * tenant, roles → roles here.
 */
import { createHash } from 'node:crypto';
import { readPrivateFile } from '../doors.ts';
import { ApiError } from '../errors.ts';
import type { KeystoneConfig } from './config.ts';
import type { Principal } from './principal.ts';
import { mapPrincipal } from './role-mapping.ts';

const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_CACHED = 10_000;
/** An unknown token is not asked for again for so long. */
const UNKNOWN_FOR_MS = 5000;

interface Cached {
  readonly until: number;
  readonly principal: Promise<Principal | undefined>;
}

/** What a validation and a login answer with, as far as it is read. */
interface TokenDocument {
  readonly token?: {
    readonly expires_at?: string;
    readonly user?: { readonly name?: string };
    readonly project?: { readonly id?: string };
    readonly roles?: readonly { readonly name?: string }[];
  };
}

export class KeystoneProvider {
  readonly #config: KeystoneConfig;
  readonly #password: string;
  readonly #now: () => number;
  readonly #cache = new Map<string, Cached>();
  #serviceToken: Promise<string> | undefined;

  constructor(config: KeystoneConfig, { now = Date.now }: { readonly now?: () => number } = {}) {
    this.#config = config;
    this.#now = now;
    this.#password = readPrivateFile(config.passwordFile, (why) => {
      throw new ApiError(500, 'WEFT_API_AUTH_CONFIG', `Keystone's password file ${config.passwordFile} ${why}.`);
    });
  }

  /** Whose token it is; undefined: Keystone does not know it, or none of its roles counts here. */
  authenticate(token: string): Promise<Principal | undefined> {
    const key = createHash('sha256').update(token).digest('base64url');
    const cached = this.#cache.get(key);
    if (cached !== undefined && cached.until > this.#now()) return cached.principal;
    const principal = this.#validate(token).then(
      ({ found, expires }) => {
        const believed = this.#now() + this.#config.cacheSeconds * 1000;
        this.#remember(key, found ? Math.min(believed, expires) : this.#now() + UNKNOWN_FOR_MS, principal);
        return found;
      },
      (error: unknown) => {
        this.#cache.delete(key);
        throw error;
      },
    );
    // Whoever asks for the same token meanwhile waits for the same answer.
    this.#remember(key, Number.POSITIVE_INFINITY, principal);
    return principal;
  }

  /** Logs somebody in. `project`: name of the project that the token is for. Undefined: Keystone says no. */
  async login(name: string, password: string, project: string | undefined) {
    const { domain } = this.#config;
    const scope = project === undefined ? {} : { scope: { project: { name: project, domain: { id: domain } } } };
    const answer = await this.#post({ identity: passwordOf(name, password, domain), ...scope });
    if (answer.status === 401 || answer.status === 403 || answer.status === 404) return undefined;
    if (answer.status !== 201 || !answer.subjectToken) throw away(`it answers logins with ${answer.status}`);
    const { found, expires } = this.#read(answer.document);
    return found && { principal: found, key: answer.subjectToken, expires };
  }

  async #validate(token: string): Promise<{ found: Principal | undefined; expires: number }> {
    // A service token that was revoked or has expired is replaced once.
    for (const attempt of [1, 2]) {
      const service = await this.#service();
      const answer = await this.#call('GET', { 'x-auth-token': service, 'x-subject-token': token });
      if (answer.status === 200) return this.#read(answer.document);
      if (answer.status === 404) return { found: undefined, expires: 0 };
      if (answer.status !== 401 || attempt === 2) throw away(`it answers validations with ${answer.status}`);
      this.#serviceToken = undefined;
    }
    throw away('it refuses the service account');
  }

  #read({ token }: TokenDocument): { found: Principal | undefined; expires: number } {
    const expires = Date.parse(token?.expires_at ?? '');
    if (!(expires > this.#now())) return { found: undefined, expires: 0 };
    const roles = (token?.roles ?? []).slice(0, 1000).flatMap(({ name }) => (typeof name === 'string' ? [name] : []));
    const name = String(token?.user?.name ?? 'unknown').slice(0, 255);
    return { found: mapPrincipal('keystone', name, roles, token?.project?.id, this.#config.roles), expires };
  }

  #service(): Promise<string> {
    if (this.#serviceToken === undefined) {
      const { user, project, domain } = this.#config;
      const scope = { project: { name: project, domain: { id: domain } } };
      const asked = this.#post({ identity: passwordOf(user, this.#password, domain), scope }).then((answer) => {
        if (answer.status === 201 && answer.subjectToken) return answer.subjectToken;
        throw away(`it answers the service account's login with ${answer.status}`);
      });
      this.#serviceToken = asked;
      asked.catch(() => {
        if (this.#serviceToken === asked) this.#serviceToken = undefined;
      });
    }
    return this.#serviceToken;
  }

  #post(auth: object) {
    return this.#call('POST', { 'content-type': 'application/json' }, JSON.stringify({ auth }));
  }

  async #call(method: string, headers: Record<string, string>, body?: string) {
    const url = `${this.#config.url.replace(/\/$/, '')}/v3/auth/tokens`;
    try {
      const answer = await fetch(url, {
        method,
        headers,
        redirect: 'error',
        signal: AbortSignal.timeout(this.#config.timeoutMs),
        ...(body === undefined ? {} : { body }),
      });
      const text = await answer.text();
      if (text.length > MAX_ANSWER_BYTES) throw new Error('its answer is too long');
      const parsed = answer.ok && text !== '' ? (JSON.parse(text) as unknown) : {};
      const document = typeof parsed === 'object' && parsed !== null ? (parsed as TokenDocument) : {};
      return { status: answer.status, subjectToken: answer.headers.get('x-subject-token'), document };
    } catch (error) {
      const { message, cause } = error as Error & { cause?: { code?: string } };
      throw away(cause?.code ?? message);
    }
  }

  #remember(key: string, until: number, principal: Promise<Principal | undefined>): void {
    this.#cache.delete(key);
    this.#cache.set(key, { until, principal });
    if (this.#cache.size > MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value!);
  }
}

function passwordOf(name: string, password: string, domain: string) {
  return { methods: ['password'], password: { user: { name, password, domain: { id: domain } } } };
}

function away(why: string): ApiError {
  return new ApiError(503, 'WEFT_API_IDENTITY_AWAY', `The identity service cannot be asked: ${why}.`);
}
