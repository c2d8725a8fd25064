/**
 * Who may use the REST API, and the tokens handed out to them. Private: no resource of the API shows these objects, only the
 * API's own login and account management read and write them.
 */
import Type, { type Static } from 'typebox';
import { id, ref } from '../fields.ts';
import { defineObject, type ObjectValue, type Violation } from '../spec.ts';

/** admin: everything; tenant: what belongs to one tenant; viewer: reads, of one tenant or of all. */
export const ACCOUNT_ROLES = ['admin', 'tenant', 'viewer'] as const;
export type AccountRole = (typeof ACCOUNT_ROLES)[number];

const AccountSchema = Type.Object(
  {
    id: id(),
    name: Type.String({
      minLength: 1,
      maxLength: 64,
      // No colon: it ends the name in HTTP Basic (RFC 7617 §2). No slash: the name is part of a path.
      pattern: '^[A-Za-z0-9][A-Za-z0-9._@+-]*$',
      description: 'Login name',
    }),
    passwordHash: Type.String({ maxLength: 512, description: 'scrypt, with its parameters and salt' }),
    role: Type.Enum(ACCOUNT_ROLES, { description: 'admin, tenant or viewer' }),
    tenantId: Type.Optional(
      Type.String({ minLength: 1, maxLength: 255, description: 'Tenant that the account acts for, or views' }),
    ),
  },
  { additionalProperties: false, description: 'Somebody who may use the REST API' },
);
export type Account = Static<typeof AccountSchema>;

export const AccountSpec = defineObject('Account', AccountSchema, {
  private: true,
  unique: [{ fields: ['name'] }],
  immutable: ['name'],
  check: checkTenant,
});

function checkTenant({ role, tenantId }: ObjectValue): Violation[] {
  if (role === 'tenant' && tenantId === undefined) {
    return [{ property: 'tenantId', message: 'is required: an account of role tenant acts for one tenant' }];
  }
  if (role === 'admin' && tenantId !== undefined) {
    return [{ property: 'tenantId', message: 'is not allowed: an admin acts for all tenants' }];
  }
  return [];
}

const AuthTokenSchema = Type.Object(
  {
    id: id(),
    accountId: ref('Account', 'cascade', 'Account that logged in'),
    tokenHash: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the token; the token is not stored' }),
    expires: Type.Integer({ minimum: 0, description: 'Milliseconds since 1970 at which it stops being valid' }),
  },
  { additionalProperties: false, description: 'A token that a login handed out' },
);
export type AuthToken = Static<typeof AuthTokenSchema>;

export const AuthTokenSpec = defineObject('AuthToken', AuthTokenSchema, {
  private: true,
  immutable: ['accountId', 'tokenHash', 'expires'],
});
