/** Settings of who may use the API: a JSON file (`weft api --auth-config`). Secrets are in files of their own. */
import { readFileSync } from 'node:fs';
import Type, { type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { ApiError } from '../errors.ts';

/** What a role of the identity provider is here. `tenant` and `tenant-viewer` act within the tenant that the token names. */
const MappedRole = Type.Enum(['admin', 'viewer', 'tenant', 'tenant-viewer']);
export type MappedRole = Static<typeof MappedRole>;

const Roles = Type.Record(Type.String({ maxLength: 255 }), MappedRole, {
  description: 'Role at the provider → role here. What is not listed counts for nothing',
});

const Oidc = Type.Object(
  {
    issuer: Type.String({ maxLength: 2048, description: 'Exactly as in the tokens (`iss`)' }),
    audience: Type.String({ minLength: 1, maxLength: 255, description: 'Must be in `aud` of the tokens' }),
    jwksUri: Type.Optional(
      Type.String({
        maxLength: 2048,
        description: "Where the keys are; absent: as the issuer's discovery document says",
      }),
    ),
    algorithms: Type.Array(
      Type.Enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']),
      {
        minItems: 1,
        default: ['RS256', 'ES256'],
        description: 'Signatures that count. Never symmetric ones, never none',
      },
    ),
    clockToleranceSeconds: Type.Integer({ minimum: 0, maximum: 300, default: 30 }),
    nameClaim: Type.String({ default: 'sub', description: 'Who it is, for the audit log' }),
    tenantClaim: Type.String({ default: 'tenant', description: 'The tenant; dots lead into objects' }),
    rolesClaim: Type.String({ default: 'roles', description: 'A role or a list of roles; dots lead into objects' }),
    roles: Roles,
  },
  { additionalProperties: false },
);
export type OidcConfig = Static<typeof Oidc>;

const Keystone = Type.Object(
  {
    url: Type.String({ maxLength: 2048, description: 'Of the identity service, without /v3' }),
    user: Type.String({ minLength: 1, maxLength: 255, description: 'Service account that may validate tokens' }),
    passwordFile: Type.String({ description: 'Its password; the file must be private' }),
    project: Type.String({ default: 'service', description: "Name of the service account's project" }),
    domain: Type.String({ default: 'default', description: 'Id of the domain of user and project' }),
    cacheSeconds: Type.Integer({
      minimum: 0,
      maximum: 3600,
      default: 60,
      description: 'How long a validated token is believed, at most until it expires; revocation counts that late',
    }),
    timeoutMs: Type.Integer({ minimum: 100, maximum: 60_000, default: 5000 }),
    roles: Roles,
  },
  { additionalProperties: false },
);
export type KeystoneConfig = Static<typeof Keystone>;

const AuthConfigSchema = Type.Object(
  {
    tokenHours: Type.Number({
      exclusiveMinimum: 0,
      maximum: 720,
      default: 12,
      description: 'Lifetime of login tokens',
    }),
    oidc: Type.Optional(Oidc),
    keystone: Type.Optional(Keystone),
    corsOrigins: Type.Array(Type.String({ maxLength: 2048 }), {
      default: [],
      maxItems: 64,
      description: 'Origins whose web pages may use the API (scheme://host[:port]), or `*`',
    }),
  },
  { additionalProperties: false },
);
export type AuthConfig = Static<typeof AuthConfigSchema>;

const validator = Compile(AuthConfigSchema);

/** Checks settings and fills in defaults. */
export function authConfig(given: unknown): AuthConfig {
  const config = withDefaults(AuthConfigSchema as SchemaLike, structuredClone(given)) as AuthConfig;
  if (!validator.Check(config)) {
    const [first] = validator.Errors(config);
    throw refused(`${first?.instancePath || 'the whole'} ${first?.message ?? 'is not as it must be'}`);
  }
  for (const [name, url] of Object.entries({
    'oidc.issuer': config.oidc?.issuer,
    'oidc.jwksUri': config.oidc?.jwksUri,
    'keystone.url': config.keystone?.url,
  })) {
    if (url !== undefined) secureUrl(name, url);
  }
  for (const origin of config.corsOrigins) {
    if (origin !== '*' && (!URL.canParse(origin) || new URL(origin).origin !== origin)) {
      throw refused(`corsOrigins: "${origin}" is no origin such as https://ui.example.org`);
    }
  }
  return config;
}

export function authConfigFromFile(path: string): AuthConfig {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw refused(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw refused(`${path} is not JSON: ${(error as Error).message}`);
  }
  return authConfig(given);
}

/** Who answers at these addresses decides who is let in: TLS, or this machine. */
function secureUrl(name: string, text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const local = ['127.0.0.1', '[::1]', 'localhost'].includes(url?.hostname ?? '');
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && local)) return;
  throw refused(`${name} must be an https:// address (http:// on this machine only)`);
}

interface SchemaLike {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, SchemaLike>>;
}

function withDefaults(schema: SchemaLike, value: unknown): unknown {
  if (value === undefined) return structuredClone(schema.default);
  if (schema.properties && typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const object = value as Record<string, unknown>;
    for (const [key, inner] of Object.entries(schema.properties)) {
      const filled = withDefaults(inner, object[key]);
      if (filled !== undefined) object[key] = filled;
    }
  }
  return value;
}

function refused(why: string): ApiError {
  return new ApiError(500, 'WEFT_API_AUTH_CONFIG', `Settings of authentication: ${why}.`);
}
