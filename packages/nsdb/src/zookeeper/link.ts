/** The way to the ensemble: comes and goes; whoever wants something while it is away is told so at once. */
import { isZooKeeperError, ZooKeeper, type ZooKeeperOptions } from '@weft/zookeeper';
import { NsdbError } from '../errors.ts';

/** One attempt to open a session, ms; the next follows behind it. */
const CONNECT_TIMEOUT = 5_000;

export interface LinkHandler {
  /**
   * The ensemble can be reached, again or for the first time. Until this has resolved the link counts as away; if it rejects, it
   * is called again later.
   */
  prepare(zk: ZooKeeper): Promise<void>;
  up(): void;
  down(): void;
}

export class ZookeeperLink {
  /** Settled with the first attempt, whatever became of it. */
  readonly firstAttempt: Promise<void>;
  readonly #options: ZooKeeperOptions;
  readonly #handler: LinkHandler;
  readonly #abort = new AbortController();
  #zk: ZooKeeper | undefined;
  #usable: ZooKeeper | undefined;
  #retry: NodeJS.Timeout | undefined;
  #round = 0;
  #failure: unknown;

  constructor(options: ZooKeeperOptions, handler: LinkHandler) {
    this.#options = options;
    this.#handler = handler;
    this.firstAttempt = this.#connect();
  }

  get isUp(): boolean {
    return this.#usable !== undefined;
  }

  /** The client. WEFT_STORE_AWAY while the link is away, WEFT_STORE_CLOSED behind `close`. */
  use(): ZooKeeper {
    if (this.#abort.signal.aborted) throw new NsdbError('WEFT_STORE_CLOSED');
    if (this.#usable === undefined)
      throw this.#failure instanceof NsdbError
        ? this.#failure
        : new NsdbError('WEFT_STORE_AWAY', reasonOf(this.#failure), [], { cause: this.#failure });
    return this.#usable;
  }

  async close(): Promise<void> {
    if (this.#abort.signal.aborted) return;
    clearTimeout(this.#retry);
    this.#abort.abort();
    this.#down();
    await this.#zk?.close();
  }

  async #connect(): Promise<void> {
    try {
      const { signal } = this.#abort;
      const client = await ZooKeeper.connect({
        ...this.#options,
        newSessionOnExpiry: true,
        // Whoever reads is to know that the link was gone in between.
        repeatReads: false,
        connectTimeout: CONNECT_TIMEOUT,
        signal,
      });
      if (signal.aborted) return void (await client.close());
      const zk = whileConnected(client);
      this.#zk = client;
      client.on('connected', () => void this.#up(zk));
      client.on('reconnected', () => void this.#up(zk));
      client.on('disconnected', () => this.#down());
      client.on('expired', () => this.#down());
      client.on('authFailed', () => this.#again(client));
      if (zk.state === 'connected') await this.#up(zk);
    } catch (error) {
      this.#failure = error;
      this.#again(undefined);
    }
  }

  async #up(zk: ZooKeeper): Promise<void> {
    const round = ++this.#round;
    try {
      await this.#handler.prepare(zk);
      if (round !== this.#round || this.#abort.signal.aborted) return;
      this.#failure = undefined;
      this.#usable = zk;
      this.#handler.up();
    } catch (error) {
      if (round !== this.#round || this.#abort.signal.aborted) return;
      this.#failure = error;
      this.#retry = setTimeout(() => {
        if (round === this.#round && zk.state === 'connected') void this.#up(zk);
      }, 1_000).unref();
    }
  }

  #down(): void {
    this.#round++;
    if (this.#usable === undefined) return;
    this.#usable = undefined;
    this.#handler.down();
  }

  /** The client has ended for good, or there was none: another one, later. */
  #again(zk: ZooKeeper | undefined): void {
    this.#down();
    if (this.#zk === zk) this.#zk = undefined;
    if (this.#abort.signal.aborted) return;
    this.#retry = setTimeout(() => void this.#connect(), 1_000).unref();
  }
}

/** Who is refused by its credentials should not look for a cable. */
function reasonOf(failure: unknown): string | undefined {
  return isZooKeeperError(failure, 'WEFT_ZK_AUTH_FAILED') ? failure.message.replace(/\.$/, '') : undefined;
}

/**
 * The client, but that its requests fail at once while it has no connection, rather than wait for one: also those of work that was
 * begun while there was one.
 */
function whileConnected(client: ZooKeeper): ZooKeeper {
  return new Proxy(client, {
    get: (target, name) => {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== 'function') return member;
      return (...parameters: unknown[]) =>
        target.state === 'connected'
          ? Reflect.apply(member, target, parameters)
          : Promise.reject(new NsdbError('WEFT_STORE_AWAY'));
    },
  });
}
