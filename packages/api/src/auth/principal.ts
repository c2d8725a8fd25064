/** Who a request comes from, once that is known. */

/** admin: everything; tenant: what belongs to one tenant; viewer: reads, of one tenant or (without `tenantId`) of all. */
export type Role = 'admin' | 'tenant' | 'viewer';

export interface Principal {
  /** Account, subject of the identity provider, `token` (the token of the token file), or `socket`. For the audit log. */
  readonly name: string;
  readonly role: Role;
  /** Tenant to which everything that the request sees and does is limited; absent: not limited. */
  readonly tenantId?: string;
  readonly provider: 'socket' | 'token' | 'account' | 'oidc' | 'keystone';
}

/** Whoever opened the Unix socket: the owner of the process. */
export const SOCKET_OWNER: Principal = { name: 'socket', role: 'admin', provider: 'socket' };
/** Whoever has the token of the token file. */
export const TOKEN_HOLDER: Principal = { name: 'token', role: 'admin', provider: 'token' };
