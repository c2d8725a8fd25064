/**
 * A client of the driver, from when it reaches the cluster until it reaches none of its nodes any more. It is not used beyond that: when all
 * nodes were away at once the driver begins again from its contact points, several times at once and in the same variables. It may end with
 * a node that it takes for reachable and has no connection to, for ever, and with a rejection that nobody handles. So it is left no
 * contact points to begin again from, and whoever has lost a session opens another.
 */
import type { Client, Host, policies, QueryOptions, types } from 'cassandra-driver';
import { type CassandraArchiveOptions, type ContactPoint, driverOptions, REQUEST_TIMEOUT_MS } from './options.ts';
import { within } from './patience.ts';

/** What is used of the driver. */
export interface Driver {
  readonly Client: typeof Client;
  readonly policies: typeof policies;
  readonly types: typeof types;
}

/** What a connection takes at most: some requests, one after the other. In units of the time that an answer may take. */
const CONNECT_ANSWERS = 12;

/** Parts of the driver that are not among its types. */
interface Internals {
  readonly controlConnection?: { readonly connection?: { close?(): void } | null };
}
type Node = Host & { shutdown?(this: Host, waitForPending: boolean): Promise<void> };

export class Session {
  readonly #client: Client;
  /** The array that the driver reads when it begins, and whenever it begins again. */
  readonly #points: string[];
  readonly #isUsed: (host: Host) => boolean;
  readonly #connectMs: number;
  #closed = false;

  /**
   * `point` is where it begins, `points` are all that were configured. `onLost` is called when no node is left, also when it does not connect
   * for that reason; the session is to be closed then.
   */
  constructor(
    { Client, policies, types }: Driver,
    options: CassandraArchiveOptions,
    points: readonly ContactPoint[],
    point: string,
    onLost: () => void,
  ) {
    const forDriver = driverOptions(options, points, policies);
    const { requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
    this.#points = [point];
    this.#client = new Client({ ...forDriver, contactPoints: this.#points });
    this.#connectMs = CONNECT_ANSWERS * requestTimeoutMs;
    this.#isUsed = (host) => forDriver.policies?.loadBalancing?.getDistance(host) !== types.distance.ignored;
    this.#client.on('hostDown', () => {
      if (!this.#closed && !this.#reachesAny()) onLost();
    });
    // A node that left the cluster is forgotten with its timers and connections. Requests may still wait there.
    this.#client.on('hostRemove', (host: Host) => setTimeout(letGoOf, requestTimeoutMs, host).unref());
  }

  /** @throws when it does not reach the cluster; the session is to be closed then. */
  async connect(): Promise<void> {
    await within(this.#connectMs, this.#connect());
  }

  async #connect(): Promise<void> {
    try {
      await this.#client.connect();
    } finally {
      this.#points.length = 0;
      // The driver's shutdown does nothing before it is connected.
      if (this.#closed) await this.#end();
    }
    if (this.#closed || !this.#reachesAny()) throw new Error('the connection was lost at once');
  }

  #reachesAny(): boolean {
    return this.#client.hosts.values().some((host) => host.isUp() && this.#isUsed(host));
  }

  execute(query: string, values?: readonly unknown[], options?: QueryOptions): Promise<types.ResultSet> {
    return this.#client.execute(query, values, options);
  }

  /** The nodes that it knows and may use, as contact points. */
  nodes(): string[] {
    const hosts = this.#client.hosts?.values() ?? [];
    return hosts.filter(this.#isUsed).map(({ address }) => {
      const colon = address.lastIndexOf(':');
      const host = address.slice(0, colon);
      return host.includes(':') ? `[${host}]${address.slice(colon)}` : address;
    });
  }

  /** Fails what waits for answers, and closes all connections: within `ms`, or in the background. */
  async close(ms: number): Promise<void> {
    this.#closed = true;
    this.#points.length = 0;
    await within(ms, this.#end()).catch(() => {});
  }

  async #end(): Promise<void> {
    await this.#client.shutdown().catch(() => {});
    // Of an attempt to connect that failed half-way, this is left open.
    (this.#client as Internals).controlConnection?.connection?.close?.();
  }
}

/** Ends what a node of the driver does in the background. */
function letGoOf(node: Node): void {
  node.shutdown?.call(node, false).catch(() => {});
}
