/**
 * Access control lists of the store's znodes. Three kinds of identities: `admin` (the API, operators) may do everything; `hosts`, which
 * every agent has beside its own, reads all and writes what hosts share; a host's own writes what is the host's. World: nothing.
 */
import { type Acl, OPEN_ACL, PERMS } from '@weft/zookeeper';

export interface Identity {
  /** `digest` or `sasl`. */
  readonly scheme: string;
  /** As it stands in ACLs: the user; with `digest`, `user:base64(sha1(user:password))`. */
  readonly id: string;
}

export interface AccessOptions {
  /** Whose role this process has. */
  readonly role: 'admin' | 'host';
  readonly admin: Identity;
  readonly hosts: Identity;
  /** Identity of one host by its id. Default: the scheme of `admin`, user `host-<id>`; with `digest` every host needs its own entry. */
  host?(hostId: string): Identity | undefined;
}

const SHARED_WRITE = PERMS.read | PERMS.write | PERMS.create | PERMS.delete;
const SHARED_DIRECTORY = PERMS.read | PERMS.create | PERMS.delete;
const SHARED_ADD = PERMS.read | PERMS.create;

export class Access {
  readonly #options: AccessOptions | undefined;

  constructor(options: AccessOptions | undefined) {
    this.#options = options;
  }

  /** Whether this process may write what is the operator's. */
  get isAdmin(): boolean {
    return this.#options?.role !== 'host';
  }

  /** The list that a new znode of this path gets. */
  of(znode: string): readonly Acl[] {
    if (this.#options === undefined) return OPEN_ACL;
    const { admin, hosts } = this.#options;
    const entry = ({ scheme, id }: Identity, perms: number): Acl => ({ perms, scheme, id });
    const owner = this.#ownerOf(znode);
    const list = [entry(admin, PERMS.all), entry(hosts, owner === undefined ? sharedPerms(znode) : PERMS.read)];
    if (owner !== undefined) list.push(entry(owner, PERMS.all & ~PERMS.admin));
    return list;
  }

  /** Whether this process may create what lies in a node's directory. */
  mayCreate(znode: string): boolean {
    if (this.isAdmin) return true;
    return (sharedPerms(znode.slice(0, znode.lastIndexOf('/'))) & PERMS.create) !== 0;
  }

  /** The host's identity, if the znode is one host's own. */
  #ownerOf(znode: string): Identity | undefined {
    const parts = znode.split('/');
    const hostId =
      parts[1] === 'w' || parts[1] === 'a'
        ? parts[2]
        : parts[1] === 'n' && (parts[2] === 'l' || parts[2] === 's')
          ? parts[3]
          : parts[1] === 't' && parts.length >= 7 && parts[6] !== '-'
            ? parts[6]
            : undefined;
    if (hostId === undefined) return undefined;
    const { host, admin } = this.#options!;
    const identity = host?.(hostId);
    if (identity !== undefined) return identity;
    return admin.scheme === 'sasl' ? { scheme: 'sasl', id: `host-${hostId}` } : undefined;
  }
}

/** What every host may do with a znode that is not one host's own. */
function sharedPerms(znode: string): number {
  const parts = znode.split('/');
  switch (parts[1]) {
    case 'revision':
    case 'clock':
    case 'ask':
    case 'v':
      return SHARED_WRITE;
    case 'w':
    case 'a':
      return SHARED_ADD;
    case 't':
      return parts.length <= 6 ? SHARED_ADD : PERMS.read;
    case 'n':
      if (parts.length === 2) return SHARED_ADD;
      // Numbers of pools and what belongs to them pass from host to host; presence and life come and go with their hosts.
      if (['n', 'h', 'p', 'd', 'f'].includes(parts[2])) return SHARED_WRITE;
      if (parts[2] === 'l' || parts[2] === 's') return SHARED_DIRECTORY;
      return PERMS.read;
    default:
      return PERMS.read;
  }
}
