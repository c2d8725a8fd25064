/** Options of the archive in Cassandra, what is refused of them, and what the driver is told. */
import { isIP } from 'node:net';
import type { DseClientOptions, policies } from 'cassandra-driver';
import { NsdbError, type Violation } from '../../errors.ts';

export interface CassandraTls {
  /** Certificates (PEM) that the server's must derive from; without it those that Node knows. */
  readonly ca?: string;
  /** The name that the server's certificate must have; without it the address must be in it. */
  readonly serverName?: string;
  /** A certificate of one's own (PEM) with its key, where the server asks for it. */
  readonly cert?: string;
  readonly key?: string;
}

export interface CassandraArchiveOptions {
  /** Nodes to begin with: `address`, `name`, `address:port`; IPv6 with a port as `[address]:port`. */
  readonly contactPoints: readonly string[];
  readonly localDataCenter: string;
  /** Default: `weft`. */
  readonly keyspace?: string;
  /**
   * CQL's replication options, as `{ class: 'NetworkTopologyStrategy', dc1: 3 }`: keyspace and table are made where they are not
   * there. Without it they must be there.
   */
  readonly replication?: Readonly<Record<string, string | number>>;
  readonly credentials?: { readonly username: string; readonly password: string };
  readonly tls?: CassandraTls;
  /** Records that may wait to be written. Default: 65,536. */
  readonly maxQueued?: number;
  /** Records that are being written at once. Default: 64. */
  readonly maxInFlight?: number;
  /** How long an answer may take, ms. Default: 5,000. */
  readonly requestTimeoutMs?: number;
  /** After a failure the next attempt is made after so many ms, and then after twice as many, up to 16 times. Default: 1,000. */
  readonly retryMs?: number;
  /** How long `close` goes on writing, ms. Default: 2,000. */
  readonly closeMs?: number;
  /** Milliseconds, steady. */
  readonly now?: () => number;
}

export const REQUEST_TIMEOUT_MS = 5_000;
export const RETRY_MS = 1_000;
export const MAX_BACKOFF = 16;
const DEFAULT_PORT = 9042;

export interface ContactPoint {
  readonly host: string;
  readonly port: number;
}

function parseContactPoint(text: string): ContactPoint | undefined {
  if (isIP(text) === 6) return { host: text, port: DEFAULT_PORT };
  const match = /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null || (match[1] !== undefined && isIP(match[1]) !== 6)) return undefined;
  const port = match[3] === undefined ? DEFAULT_PORT : Number(match[3]);
  return port > 0 && port < 65_536 ? { host: match[1] ?? match[2]!, port } : undefined;
}

/** As `parseContactPoint` reads it. */
export function textOf({ host, port }: ContactPoint): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Addresses of this machine that a host name or address means; none if it may mean another machine. */
function loopbackOf(host: string): string[] {
  if (host === 'localhost') return ['127.0.0.1', '::1'];
  if (host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))) return [host];
  return [];
}

/** @throws NsdbError WEFT_INVALID, WEFT_ARCHIVE_INSECURE */
export function checkOptions(options: CassandraArchiveOptions): readonly ContactPoint[] {
  const violations: Violation[] = [];
  const points: ContactPoint[] = [];
  if (options.contactPoints.length === 0) violations.push({ property: 'contactPoints', message: 'names no node' });
  for (const text of options.contactPoints) {
    const point = parseContactPoint(text);
    if (point === undefined) violations.push({ property: 'contactPoints', message: `"${text}" is no address` });
    else points.push(point);
  }
  if (options.keyspace !== undefined && !/^[a-z][a-z0-9_]{0,47}$/.test(options.keyspace))
    violations.push({ property: 'keyspace', message: 'must be lower case letters, digits and _, 48 at most' });
  for (const [name, value] of Object.entries(options.replication ?? {})) {
    const text = String(value);
    if (!/^[A-Za-z0-9_.-]+$/.test(name) || !/^[A-Za-z0-9_./-]+$/.test(text))
      violations.push({ property: 'replication', message: `"${name}: ${text}" is no replication option` });
  }
  if (options.replication !== undefined && options.replication.class === undefined)
    violations.push({ property: 'replication', message: 'names no class' });
  const { tls } = options;
  if (tls !== undefined && (tls.cert === undefined) !== (tls.key === undefined))
    violations.push({ property: 'tls', message: 'certificate and key need each other' });
  if (violations.length > 0) throw new NsdbError('WEFT_INVALID', 'Archive in Cassandra', violations);
  const remote = points.find(({ host }) => loopbackOf(host).length === 0);
  const known = options.credentials !== undefined || tls?.cert !== undefined;
  if (remote !== undefined && (tls === undefined || !known)) throw new NsdbError('WEFT_ARCHIVE_INSECURE', remote.host);
  return points;
}

/**
 * The driver's options. Its own defaults do not check the server's certificate, go to whatever nodes the first one names, and try again
 * after ten minutes only when nodes were away for long.
 */
export function driverOptions(
  options: CassandraArchiveOptions,
  points: readonly ContactPoint[],
  { loadBalancing, reconnection }: typeof policies,
): DseClientOptions {
  const { tls, credentials, localDataCenter, requestTimeoutMs = REQUEST_TIMEOUT_MS, retryMs = RETRY_MS } = options;
  const ring = new loadBalancing.TokenAwarePolicy(new loadBalancing.DCAwareRoundRobinPolicy(localDataCenter));
  const addresses = points.flatMap(({ host, port }) => loopbackOf(host).map((address) => `${address}:${port}`));
  return {
    contactPoints: points.map(textOf),
    localDataCenter,
    protocolOptions: { port: points[0]!.port },
    ...(credentials === undefined ? {} : { credentials }),
    ...(tls === undefined ? {} : { sslOptions: tlsOptions(tls) }),
    policies: {
      loadBalancing: tls === undefined ? new loadBalancing.AllowListPolicy(ring, addresses) : ring,
      reconnection: new reconnection.ExponentialReconnectionPolicy(retryMs, MAX_BACKOFF * retryMs, false),
    },
    // Without requests for so long, it asks whether the connection still is one.
    pooling: { heartBeatInterval: 2 * requestTimeoutMs },
    socketOptions: { connectTimeout: requestTimeoutMs, readTimeout: requestTimeoutMs },
    encoding: { useBigIntAsLong: true },
    monitorReporting: { enabled: false },
  };
}

function tlsOptions({ ca, serverName, cert, key }: CassandraTls): NonNullable<DseClientOptions['sslOptions']> {
  return {
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}
