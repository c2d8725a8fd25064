/** `host1:port1,host2:port2/chroot`: the servers of an ensemble and the path that a client sees as its root. */
import { isIPv6 } from 'node:net';
import { ZooKeeperError } from './errors.ts';
import { checkPath } from './paths.ts';

export interface ServerAddress {
  /** Name or address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface ConnectString {
  readonly servers: readonly ServerAddress[];
  /** "" or a path. */
  readonly chroot: string;
}

export const DEFAULT_PORT = 2181;

/** Reads a connect string; IPv6 addresses stand in brackets, the port may be left out. Throws WEFT_ZK_ARGUMENT. */
export function parseConnectString(text: string): ConnectString {
  const slash = text.indexOf('/');
  const hosts = slash < 0 ? text : text.slice(0, slash);
  const root = slash < 0 ? '' : text.slice(slash);
  const chroot = root === '/' ? '' : root;
  if (chroot !== '') checkPath(chroot);
  return { servers: hosts.split(',').map((entry) => parseServer(entry.trim(), text)), chroot };
}

function parseServer(entry: string, whole: string): ServerAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(entry);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? DEFAULT_PORT : Number(match[3]);
  if (host === undefined || (match?.[1] !== undefined && !isIPv6(host)) || port < 1 || port > 65_535)
    throw new ZooKeeperError('WEFT_ZK_ARGUMENT', `"${entry}" in the connect string "${whole}" is no host:port`);
  return { host, port };
}

/** How an address is written in a connect string. */
export function formatServer({ host, port }: ServerAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
