/**
 * A session with an ensemble across its connections: keeps one up, hands requests over, tells what became of it.
 *
 *     connecting ─▶ connected ⇄ disconnected ─▶ expired            (to a new session, if that is wanted)
 *          └────────────┴────────────┴────────▶ authFailed, closed (for good)
 */
import { type AddedCredentials, authPacket, isSasl, startSasl } from './auth/credentials.ts';
import { formatServer } from './connect-string.ts';
import { ZooKeeperError } from './errors.ts';
import { type AuthEntry, Link } from './link.ts';
import type { Settings } from './options.ts';
import { Chroot } from './paths.ts';
import { OP } from './protocol/constants.ts';
import type { Operation, RequestOptions } from './request.ts';
import { RequestQueue } from './request-queue.ts';
import { type Attempt, ServerList } from './server-list.ts';
import { WatchRegistry } from './watches/registry.ts';
import { ZxidMark } from './zxid.ts';

export type SessionState = 'connecting' | 'connected' | 'disconnected' | 'expired' | 'authFailed' | 'closed';

/** What a client emits. */
export interface SessionEvents {
  /** A new session began. */
  connected: [{ readonly server: string; readonly sessionId: bigint; readonly timeout: number }];
  /** The connection broke; the session may live on. Requests that were under way have failed, or will be repeated. */
  disconnected: [{ readonly server: string; readonly cause: ZooKeeperError }];
  /**
   * The session goes on by another connection, and watches are in force again. `missed`: something was changed meanwhile, and
   * persistent watches may have missed events: read again what matters. One-shot watches have fired by themselves.
   */
  reconnected: [{ readonly server: string; readonly missed: boolean }];
  /** The session is over: ephemeral nodes and watches are gone. */
  expired: [ZooKeeperError];
  /** The credentials were refused; the client is closed. */
  authFailed: [ZooKeeperError];
  closed: [];
}

export type Emit = <K extends keyof SessionEvents>(event: K, ...values: SessionEvents[K]) => void;

/** Bytes of paths in one setWatches packet: well below any server's limit. */
const WATCH_PORTION = 128 * 1024;
const NO_PASSWORD = Buffer.alloc(16);

interface AddedAuth extends AuthEntry {
  /** Once accepted, a refusal means that the client has lost its identity: it ends. */
  accepted: boolean;
  settle: ((error?: ZooKeeperError) => void) | undefined;
}

export class Session {
  readonly queue: RequestQueue;
  readonly chroot: Chroot;
  readonly watches: WatchRegistry;
  readonly zxid = new ZxidMark();
  state: SessionState = 'connecting';
  id: bigint;
  password: Uint8Array;
  /** As granted, ms; before that, as wished. */
  timeout: number;
  /** Why the last connection, or attempt at one, ended. */
  lastFailure: ZooKeeperError | undefined;
  readonly #settings: Settings;
  readonly #servers: ServerList;
  readonly #emit: Emit;
  readonly #auth: AddedAuth[];
  #link: Link | undefined;
  #attempt: Attempt | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** This session was seen by a server already. */
  #established: boolean;
  #closing: Promise<boolean> | undefined;

  constructor(settings: Settings, emit: Emit) {
    this.#settings = settings;
    this.#emit = emit;
    this.queue = new RequestQueue(settings);
    this.chroot = new Chroot(settings.chroot);
    this.watches = new WatchRegistry(this.chroot);
    this.#servers = new ServerList(settings.servers, settings.random);
    this.#auth = settings.auth
      .filter((credentials) => !isSasl(credentials))
      .map((credentials) => ({ ...authPacket(credentials as AddedCredentials), accepted: true, settle: undefined }));
    this.id = settings.session?.id ?? 0n;
    this.password = settings.session?.password ?? NO_PASSWORD;
    this.timeout = settings.sessionTimeout;
    this.#established = settings.session !== undefined;
  }

  /** The server that the session is connected to. */
  get server(): string | undefined {
    return this.state === 'connected' ? formatServer(this.#attempt!.server) : undefined;
  }

  get ended(): boolean {
    return this.state === 'closed' || this.state === 'authFailed' || this.state === 'expired';
  }

  start(): void {
    this.#connect();
  }

  submit<T>(operation: Operation<T>, options: RequestOptions): Promise<T> {
    if (this.ended || this.#closing !== undefined) {
      operation.abandoned?.();
      return Promise.reject(this.#endError());
    }
    return this.queue.submit(operation, options, this.#link);
  }

  /** Authenticates further, now and on each later connection. Resolves when a server has accepted it. */
  addAuth(credentials: AddedCredentials): Promise<void> {
    if (this.ended || this.#closing !== undefined) return Promise.reject(this.#endError());
    return new Promise((resolve, reject) => {
      const settle = (error?: ZooKeeperError) => (error === undefined ? resolve() : reject(error));
      const entry: AddedAuth = { ...authPacket(credentials), accepted: false, settle };
      this.#auth.push(entry);
      this.#link?.addAuth(entry);
    });
  }

  /** Ends the session at the server, behind all requests made before. True: the server has confirmed it. */
  close(keepSession: boolean): Promise<boolean> {
    this.#closing ??= this.#close(keepSession);
    return this.#closing;
  }

  /** Gives up while nothing but the attempts to connect is going on. */
  giveUp(): void {
    this.#end('closed', undefined);
  }

  async #close(keepSession: boolean): Promise<boolean> {
    let confirmed = false;
    if (!keepSession && this.state === 'connected') {
      const closeSession: Operation<boolean> = {
        opcode: OP.closeSession,
        name: 'close',
        path: undefined,
        changes: true,
        encode: () => {},
        decode: () => true,
      };
      const timeout = this.#settings.requestTimeout > 0 ? this.#settings.requestTimeout : this.timeout;
      confirmed = await this.queue.submit(closeSession, { timeout }, this.#link).catch(() => false);
    }
    if (!this.ended) this.#end('closed', undefined);
    return confirmed;
  }

  #connect(): void {
    this.#attempt = this.#servers.next(this.timeout);
    this.#timer = setTimeout(() => {
      try {
        this.#open(this.#attempt!);
      } catch (cause) {
        // Node refuses some TLS options only when they are used.
        this.#lost(new ZooKeeperError('WEFT_ZK_CONNECTION_LOST', (cause as Error).message, { cause }));
      }
    }, this.#attempt.delay);
  }

  #open({ server, timeout }: Attempt): void {
    const { tls, maxResponse, maxRequest, now, auth } = this.#settings;
    const credentials = auth.find(isSasl);
    const { queue, zxid } = this;
    /** What a connection says that was replaced does not matter. */
    const current = () => this.#link === link;
    const link: Link = new Link(
      {
        transport: { server, tls, maxResponse, timeout, now },
        connect: {
          lastZxid: zxid.value,
          timeout: this.#settings.sessionTimeout,
          sessionId: this.id,
          password: this.password,
        },
        queue,
        zxid,
        maxRequest,
        sasl: credentials === undefined ? undefined : startSasl(credentials),
      },
      {
        granted: (response) => {
          this.id = response.sessionId;
          this.password = response.password;
          this.timeout = response.timeout;
        },
        expired: () => current() && this.#expired(),
        saslFailed: (error) => current() && this.#end('authFailed', error),
        credentials: () => this.#auth,
        authAccepted: (entry) => this.#authAccepted(entry as AddedAuth),
        authRefused: (entry, error) => this.#authRefused(entry as AddedAuth, error),
        watches: () => this.watches.paths(WATCH_PORTION),
        ready: (moved) => current() && this.#ready(moved),
        watchEvent: (type, path, at, catchingUp) => this.watches.dispatch(type, path, at, catchingUp),
        drain: () => current() && queue.pump(link),
        closed: (cause) => current() && this.#lost(cause),
      },
    );
    this.#link = link;
  }

  #ready(moved: boolean): void {
    const server = formatServer(this.#attempt!.server);
    this.#servers.succeeded();
    this.state = 'connected';
    if (this.#established) {
      if (moved) this.watches.gap();
      this.#emit('reconnected', { server, missed: moved });
    } else {
      this.#established = true;
      this.#emit('connected', { server, sessionId: this.id, timeout: this.timeout });
    }
    if (this.#link?.ready) this.queue.pump(this.#link);
  }

  #lost(cause: ZooKeeperError): void {
    this.#link = undefined;
    this.lastFailure = cause;
    const server = formatServer(this.#attempt!.server);
    if (this.state === 'connected') {
      this.state = 'disconnected';
      this.queue.lost(cause);
      this.#emit('disconnected', { server, cause });
    }
    if (this.#closing !== undefined) this.queue.abandonAll('WEFT_ZK_CLOSED', cause);
    else if (!this.ended) this.#connect();
  }

  #expired(): void {
    const error = new ZooKeeperError('WEFT_ZK_SESSION_EXPIRED', `Session 0x${this.id.toString(16)}`);
    if (!this.#settings.newSessionOnExpiry || this.#closing !== undefined) {
      this.#end('expired', error);
      return;
    }
    const link = this.#link;
    this.#link = undefined;
    link?.destroy('the session has expired');
    this.id = 0n;
    this.password = NO_PASSWORD;
    this.timeout = this.#settings.sessionTimeout;
    this.zxid.reset();
    this.#established = false;
    this.state = 'connecting';
    this.queue.abandonAll('WEFT_ZK_SESSION_EXPIRED', error);
    this.watches.end(error);
    this.#emit('expired', error);
    if (!this.ended && this.#closing === undefined) this.#connect();
  }

  #authAccepted(entry: AddedAuth): void {
    entry.accepted = true;
    entry.settle?.();
    entry.settle = undefined;
  }

  #authRefused(entry: AddedAuth, error: ZooKeeperError): void {
    if (entry.accepted) {
      this.#end('authFailed', error);
      return;
    }
    this.#auth.splice(this.#auth.indexOf(entry), 1);
    entry.settle?.(error);
    // The server closes the connection behind its answer; the session goes on by the next.
    this.#link?.destroy('the server refused credentials', error);
  }

  #end(state: 'expired' | 'authFailed' | 'closed', error: ZooKeeperError | undefined): void {
    if (this.ended) return;
    this.state = state;
    clearTimeout(this.#timer);
    const link = this.#link;
    this.#link = undefined;
    link?.destroy('the client has ended');
    if (error !== undefined) this.lastFailure = error;
    const reason = this.#endError();
    this.queue.abandonAll(reason.code, error);
    this.watches.end(error);
    for (const { settle } of this.#auth.splice(0)) settle?.(reason);
    if (state === 'closed') this.#emit('closed');
    else this.#emit(state, error!);
  }

  #endError(): ZooKeeperError {
    if (this.state === 'expired') return new ZooKeeperError('WEFT_ZK_SESSION_EXPIRED');
    if (this.state === 'authFailed')
      return new ZooKeeperError('WEFT_ZK_AUTH_FAILED', undefined, { cause: this.lastFailure });
    return new ZooKeeperError('WEFT_ZK_CLOSED');
  }
}
