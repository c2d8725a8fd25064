/** Who may do what with a znode: entries of an access control list. ZooKeeper allows what any entry allows. */
import { createHash } from 'node:crypto';

/** Permissions; an entry holds their sum. */
export const PERMS = { read: 1, write: 2, create: 4, delete: 8, admin: 16, all: 31 } as const;

export interface Acl {
  /** Sum of PERMS. `create` and `delete` concern children, not the node itself. */
  readonly perms: number;
  /** `world`, `auth`, `digest`, `ip`, `sasl`, `x509`, or one that the servers were taught. */
  readonly scheme: string;
  readonly id: string;
}

/** Everybody may do `perms`. */
export const worldAcl = (perms: number = PERMS.all): Acl => ({ perms, scheme: 'world', id: 'anyone' });

/** Whoever the creating session has authenticated as may do `perms`; the server replaces it by those identities. */
export const authAcl = (perms: number = PERMS.all): Acl => ({ perms, scheme: 'auth', id: '' });

/** Who has authenticated by SASL as `user` may do `perms`. */
export const saslAcl = (user: string, perms: number = PERMS.all): Acl => ({ perms, scheme: 'sasl', id: user });

/** Whoever comes from the address, or from the prefix (`10.0.0.0/8`), may do `perms`. */
export const ipAcl = (address: string, perms: number = PERMS.all): Acl => ({ perms, scheme: 'ip', id: address });

/** Who knows the password may do `perms`. */
export const digestAcl = (user: string, password: string, perms: number = PERMS.all): Acl => ({
  perms,
  scheme: 'digest',
  id: digestId(user, password),
});

/** What stands in an ACL for a user of the scheme `digest`: `user:base64(sha1(user:password))`. */
export function digestId(user: string, password: string): string {
  return `${user}:${createHash('sha1').update(`${user}:${password}`).digest('base64')}`;
}

/** Everybody may do everything: the default of new znodes. */
export const OPEN_ACL: readonly Acl[] = [worldAcl()];
