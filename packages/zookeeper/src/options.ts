/** Options of a client, checked and completed. */
import type { ConnectionOptions } from 'node:tls';
import { type Credentials, checkCredentials } from './auth/credentials.ts';
import { parseConnectString, type ServerAddress } from './connect-string.ts';
import { ZooKeeperError } from './errors.ts';

/** A session to go on with: `zk.session` of another client. The password is a secret. */
export interface SessionHandle {
  readonly id: bigint;
  readonly password: Uint8Array;
}

export interface ZooKeeperOptions {
  /** `host1:port1,host2:port2/chroot`. IPv6 addresses in brackets; the port is 2181 unless given. */
  readonly servers: string;
  /**
   * Milliseconds; the server may grant another value (within 2 and 20 of its ticks). Without a sign of life for that long it ends the
   * session; this client notices a dead link after two thirds of it. Default 10,000.
   */
  readonly sessionTimeout?: number | undefined;
  /** Milliseconds until `connect` gives up. Default 30,000. */
  readonly connectTimeout?: number | undefined;
  /** Milliseconds until a request fails, waiting for a connection included; 0: never. Default 30,000. */
  readonly requestTimeout?: number | undefined;
  readonly auth?: Credentials | readonly Credentials[] | undefined;
  /** TLS: true, or options of `tls.connect` (`ca`, `cert`, `key`, `servername`, …). */
  readonly tls?: boolean | ConnectionOptions | undefined;
  /** Go on with this session instead of a new one. */
  readonly session?: SessionHandle | undefined;
  /** Begin a new session when the old one has expired. Ephemeral nodes and watches are gone all the same. Default false. */
  readonly newSessionOnExpiry?: boolean | undefined;
  /** Send reads (and sync) again, three times at most, when the connection breaks before their answer. Default true. */
  readonly repeatReads?: boolean | undefined;
  /** Bytes of the longest request, as jute.maxbuffer of the servers. Default 1,048,575. */
  readonly maxRequest?: number | undefined;
  /** Bytes of the longest answer; longer ones fail their request only. Default 4 MiB. */
  readonly maxResponse?: number | undefined;
  /** Requests that may wait for their answer at a time. Default 100,000. */
  readonly maxOutstanding?: number | undefined;
  /** Ends `connect`. */
  readonly signal?: AbortSignal | undefined;
  /** Numbers in [0, 1), for the order of the servers and for waits. */
  readonly random?: (() => number) | undefined;
  /** A monotonic clock, ms. */
  readonly now?: (() => number) | undefined;
}

export interface Settings {
  readonly servers: readonly ServerAddress[];
  readonly chroot: string;
  readonly sessionTimeout: number;
  readonly connectTimeout: number;
  readonly requestTimeout: number;
  readonly auth: readonly Credentials[];
  readonly tls: ConnectionOptions | undefined;
  readonly session: SessionHandle | undefined;
  readonly newSessionOnExpiry: boolean;
  readonly repeatReads: boolean;
  readonly maxRequest: number;
  readonly maxResponse: number;
  readonly maxOutstanding: number;
  readonly random: () => number;
  readonly now: () => number;
}

/** Longest time that timers can wait. */
const MAX_TIME = 2 ** 31 - 1;

/** Throws WEFT_ZK_ARGUMENT for what cannot be. */
export function settle(options: ZooKeeperOptions): Settings {
  const { servers, chroot } = parseConnectString(options.servers);
  const auth = options.auth === undefined ? [] : [options.auth].flat();
  checkCredentials(auth);
  return {
    servers,
    chroot,
    sessionTimeout: integer('sessionTimeout', options.sessionTimeout ?? 10_000, 1, MAX_TIME),
    connectTimeout: integer('connectTimeout', options.connectTimeout ?? 30_000, 1, MAX_TIME),
    requestTimeout: integer('requestTimeout', options.requestTimeout ?? 30_000, 0, MAX_TIME),
    auth,
    tls: options.tls === true ? {} : options.tls === false ? undefined : options.tls,
    session: options.session,
    newSessionOnExpiry: options.newSessionOnExpiry ?? false,
    repeatReads: options.repeatReads ?? true,
    maxRequest: integer('maxRequest', options.maxRequest ?? 0xfffff, 64, 2 ** 30),
    maxResponse: integer('maxResponse', options.maxResponse ?? 4 * 2 ** 20, 64, 2 ** 30),
    maxOutstanding: integer('maxOutstanding', options.maxOutstanding ?? 100_000, 1, 2 ** 24),
    random: options.random ?? Math.random,
    now: options.now ?? (() => performance.now()),
  };
}

/** Throws WEFT_ZK_ARGUMENT unless `value` is an integer within the bounds. */
export function integer(name: string, value: number, least: number, greatest: number): number {
  if (!Number.isInteger(value) || value < least || value > greatest)
    throw new ZooKeeperError('WEFT_ZK_ARGUMENT', `${name} is ${value}, not an integer from ${least} to ${greatest}`);
  return value;
}
