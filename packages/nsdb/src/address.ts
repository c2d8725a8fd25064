/** How the place of a store is written: a path is a Unix socket, `zookeeper://host1:port1,host2:port2/root` an ensemble. */
import { readFileSync, statSync } from 'node:fs';
import type { Credentials } from '@weft/zookeeper';
import { NsdbError } from './errors.ts';
import type { AccessOptions, Identity, ZookeeperOptions } from './zookeeper/index.ts';

const SCHEME = 'zookeeper://';

export type StoreAddress = { readonly socket: string } | { readonly zookeeper: ZookeeperOptions };

/** Whether the text names a store at all. */
export function isStoreAddress(text: string): boolean {
  return text.startsWith('/') || (text.startsWith(SCHEME) && text.length > SCHEME.length);
}

/**
 * What `connect` is to be given. `configFile`: credentials, TLS and limits for an ensemble (JSON, mode 0600; docs/STORE.md).
 * WEFT_STORE_CONFIG if something cannot be used; the message names it.
 */
export function storeAddress(text: string, configFile?: string | null): StoreAddress {
  if (!isStoreAddress(text)) throw wrong(`"${text}" is neither a path nor ${SCHEME}<host>:<port>,…/<root>`);
  if (text.startsWith('/')) return { socket: text };
  const servers = text.slice(SCHEME.length);
  return { zookeeper: { servers, ...(configFile == null ? {} : zookeeperConfig(configFile)) } };
}

/** Reads the settings of an ensemble. */
function zookeeperConfig(file: string): Omit<ZookeeperOptions, 'servers'> {
  let raw: unknown;
  try {
    if ((statSync(file).mode & 0o077) !== 0) throw new Error('others can read it; make its mode 0600');
    raw = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw wrong(`${file}: ${(cause as Error).message}`);
  }
  const { auth, tls, access, sessionTimeout, maxRequest, ...unknown } = object(raw, file);
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) throw wrong(`${file}: there is no setting ${stranger}`);
  return {
    ...(auth !== undefined && { auth: list(auth, `${file}: auth`).map((entry) => credentials(entry, file)) }),
    ...(tls !== undefined && { tls: tlsOptions(tls, file) }),
    ...(access !== undefined && { access: accessOptions(access, file) }),
    ...(sessionTimeout !== undefined && { sessionTimeout: count(sessionTimeout, `${file}: sessionTimeout`) }),
    ...(maxRequest !== undefined && { maxRequest: count(maxRequest, `${file}: maxRequest`) }),
  };
}

function credentials(raw: unknown, file: string): Credentials {
  const { scheme, user, password } = object(raw, `${file}: auth`);
  const known = { user: text(user, `${file}: auth.user`), password: text(password, `${file}: auth.password`) };
  if (scheme === 'sasl') return { scheme: 'sasl', ...known };
  if (scheme === 'digest') return { scheme: 'digest', ...known };
  throw wrong(`${file}: auth.scheme is sasl or digest`);
}

function tlsOptions(raw: unknown, file: string) {
  if (raw === true) return true;
  const { ca, cert, key } = object(raw, `${file}: tls`);
  const read = (value: unknown, name: string) => {
    try {
      return readFileSync(text(value, `${file}: tls.${name}`));
    } catch (cause) {
      throw wrong(`${file}: tls.${name}: ${(cause as Error).message}`);
    }
  };
  return {
    ...(ca !== undefined && { ca: read(ca, 'ca') }),
    ...(cert !== undefined && { cert: read(cert, 'cert') }),
    ...(key !== undefined && { key: read(key, 'key') }),
  };
}

function accessOptions(raw: unknown, file: string): AccessOptions {
  const { role, admin, hosts, host } = object(raw, `${file}: access`);
  if (role !== 'admin' && role !== 'host') throw wrong(`${file}: access.role is admin or host`);
  const known = new Map(
    Object.entries(host === undefined ? {} : object(host, `${file}: access.host`)).map(([id, value]) => [
      id,
      identity(value, `${file}: access.host.${id}`),
    ]),
  );
  return {
    role,
    admin: identity(admin, `${file}: access.admin`),
    hosts: identity(hosts, `${file}: access.hosts`),
    host: (hostId) => known.get(hostId),
  };
}

function identity(raw: unknown, where: string): Identity {
  const { scheme, id } = object(raw, where);
  return { scheme: text(scheme, `${where}.scheme`), id: text(id, `${where}.id`) };
}

function object(raw: unknown, where: string): Record<string, unknown> {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw wrong(`${where} is not an object`);
  return raw as Record<string, unknown>;
}

function list(raw: unknown, where: string): unknown[] {
  if (!Array.isArray(raw)) throw wrong(`${where} is not a list`);
  return raw;
}

function text(raw: unknown, where: string): string {
  if (typeof raw !== 'string' || raw === '') throw wrong(`${where} is not a text`);
  return raw;
}

function count(raw: unknown, where: string): number {
  if (!Number.isSafeInteger(raw) || (raw as number) < 1) throw wrong(`${where} is not a whole number above 0`);
  return raw as number;
}

const wrong = (detail: string): NsdbError => new NsdbError('WEFT_STORE_CONFIG', detail);
