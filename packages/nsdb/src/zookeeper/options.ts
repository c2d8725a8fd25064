/** What is to be said about an ensemble, and what is refused. */
import { isIP } from 'node:net';
import { type Credentials, parseConnectString, type ZooKeeperOptions } from '@weft/zookeeper';
import type { Clock } from '../embedded/clock.ts';
import { NsdbError } from '../errors.ts';
import type { AccessOptions } from './access.ts';

export interface ZookeeperStoreOptions {
  /** `host1:port1,host2:port2/root`; the root is `/weft` unless given. */
  readonly servers: string;
  readonly auth?: Credentials | readonly Credentials[];
  readonly tls?: ZooKeeperOptions['tls'];
  /** Who may do what. Absent: everybody who can reach the servers may do everything. */
  readonly access?: AccessOptions;
  /** Milliseconds without a sign of life until ZooKeeper ends the session; a host's grace time begins then. Default 10,000. */
  readonly sessionTimeout?: number;
  /** Bytes of the largest transaction: `jute.maxbuffer` of the servers, which must all have the same. Default 1,048,575. */
  readonly maxRequest?: number;
  /** Milliseconds between progress marks to quiet subscribers: one small read each; who asks for convergence does not wait for them. Default 1,000. */
  readonly markInterval?: number;
  /** What the store's clock is made from. Default: the leader's. */
  readonly clock?: Clock;
  /** Opens the store also while it is being loaded: for who loads it. */
  readonly isLoader?: boolean;
  /** Takes part in cleaning up behind dead hosts. Default: unless `access` says that this is a host. */
  readonly janitor?: boolean;
}

const DEFAULT_ROOT = '/weft';

/** The connect string with its root. WEFT_STORE_INSECURE: a server elsewhere, without credentials or without TLS. */
export function checkServers(options: ZookeeperStoreOptions): string {
  const { servers, chroot } = parseConnectString(options.servers);
  const isProtected = options.auth !== undefined && options.tls !== undefined && options.tls !== false;
  const elsewhere = servers.find(({ host }) => !isLoopback(host));
  if (elsewhere !== undefined && !isProtected)
    throw new NsdbError('WEFT_STORE_INSECURE', `${elsewhere.host} is not this machine`);
  return chroot === '' ? `${options.servers.replace(/\/$/, '')}${DEFAULT_ROOT}` : options.servers;
}

function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1';
}
