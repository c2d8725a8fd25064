/** The client: what others see of the package. */
import { EventEmitter, once } from 'node:events';
import { type Acl, OPEN_ACL } from './acl.ts';
import type { AddedCredentials } from './auth/credentials.ts';
import { isZooKeeperError, ZooKeeperError } from './errors.ts';
import {
  type CheckOp,
  type MultiOp,
  type MultiResult,
  multiOperation,
  multiReadOperation,
  type ReadOp,
  type ReadResult,
} from './multi.ts';
import {
  type Created,
  type CreateOptions,
  createBody,
  deleteOperation,
  type NodeChildren,
  type NodeContent,
  type NodeData,
  readAclAndStat,
  readChildren,
  readCreated,
  readData,
  readOperation,
  setAclOperation,
  setDataOperation,
  simpleRead,
  toBytes,
  watchOperation,
} from './operations.ts';
import { type SessionHandle, settle, type ZooKeeperOptions } from './options.ts';
import { parentOf } from './paths.ts';
import { ADD_WATCH_MODE, OP, WATCHER_TYPE } from './protocol/constants.ts';
import { type Identity, readIdentities, readStat, type Stat } from './protocol/records.ts';
import type { Operation, RequestOptions } from './request.ts';
import { Session, type SessionEvents, type SessionState } from './session.ts';
import { callSafely, type OneShotWatch } from './watches/events.ts';
import type { OneShotKind, WatchMode } from './watches/registry.ts';
import { Watch, type WatchOptions } from './watches/watch.ts';

export interface VersionOptions extends RequestOptions {
  /** The version that must be there, else WEFT_ZK_BAD_VERSION; default: any. */
  readonly version?: number | undefined;
}

export interface ReadOptions extends RequestOptions {
  /**
   * Called once when what was read is no longer so, or with `removed` or `lost`. Called before any answer is seen that shows the change.
   * Not beside a persistent watch of this client on the same path.
   */
  readonly watch?: OneShotWatch | undefined;
}

/** Answers that mean that there was nothing. */
const NO_NODE = -101;
const ANY_VERSION = -1;

/**
 * A session with a ZooKeeper ensemble. All requests are pipelined and answered in order. Every failure is a ZooKeeperError.
 * Events: see SessionEvents.
 */
export class ZooKeeper extends EventEmitter<SessionEvents> {
  readonly #session: Session;

  private constructor(options: ZooKeeperOptions) {
    super();
    this.#session = new Session(settle(options), (event, ...values) =>
      callSafely(() => (this.emit as (event: string, ...values: unknown[]) => boolean)(event, ...values), undefined),
    );
  }

  /**
   * Opens a session. Rejects with WEFT_ZK_UNREACHABLE (its cause: what the last attempt failed with), WEFT_ZK_AUTH_FAILED,
   * WEFT_ZK_ABORTED, WEFT_ZK_ARGUMENT, or, when it was to go on with a session, WEFT_ZK_SESSION_EXPIRED.
   */
  static async connect(options: ZooKeeperOptions): Promise<ZooKeeper> {
    const zk = new ZooKeeper(options);
    const session = zk.#session;
    if (options.signal?.aborted)
      throw new ZooKeeperError('WEFT_ZK_ABORTED', 'connect', { cause: options.signal.reason });
    const { connectTimeout } = settle(options);
    await new Promise<void>((resolve, reject) => {
      const stop = (error?: ZooKeeperError) => {
        clearTimeout(timer);
        options.signal?.removeEventListener('abort', abort);
        for (const [event, listener] of listeners) zk.off(event, listener as () => void);
        if (error === undefined) return resolve();
        session.giveUp();
        reject(error);
      };
      const abort = () => stop(new ZooKeeperError('WEFT_ZK_ABORTED', 'connect', { cause: options.signal?.reason }));
      const unreachable = () =>
        stop(new ZooKeeperError('WEFT_ZK_UNREACHABLE', options.servers, { cause: session.lastFailure }));
      const listeners = [
        ['connected', () => stop()],
        ['reconnected', () => stop()],
        ['expired', stop],
        ['authFailed', stop],
      ] as const;
      const timer = setTimeout(unreachable, connectTimeout);
      options.signal?.addEventListener('abort', abort, { once: true });
      for (const [event, listener] of listeners) zk.on(event, listener as () => void);
      session.start();
    });
    return zk;
  }

  get state(): SessionState {
    return this.#session.state;
  }

  /** With it another client can go on with this session; timeout as granted, ms. */
  get session(): SessionHandle & { readonly timeout: number } {
    const { id, password, timeout } = this.#session;
    return { id, password, timeout };
  }

  /** `host:port` of the server that it is connected to, or undefined. */
  get server(): string | undefined {
    return this.#session.server;
  }

  /** The newest transaction that any answer has shown. Within a session reads never go back behind it. */
  get lastZxid(): bigint {
    return this.#session.zxid.value;
  }

  /** Requests whose answer has not come. */
  get outstanding(): number {
    return this.#session.queue.size;
  }

  /** Creates a znode; its parent must exist. Errors: WEFT_ZK_NODE_EXISTS, WEFT_ZK_NO_NODE (the parent), WEFT_ZK_EPHEMERAL_PARENT, … */
  async create(path: string, data?: NodeContent, options: CreateOptions & RequestOptions = {}): Promise<Created> {
    const { chroot } = this.#session;
    const body = createBody(chroot.toServer(path, options.sequential), toBytes(data), options, OPEN_ACL);
    const decode = (reader: Parameters<typeof readCreated>[0]) => readCreated(reader, chroot);
    return this.#session.submit({ ...body, name: 'create', path, changes: true, decode }, options);
  }

  /** Creates `path` and those above it that are missing, also those of the chroot, as persistent znodes without data. */
  async ensurePath(path: string, options: Pick<CreateOptions, 'acl'> & RequestOptions = {}): Promise<void> {
    const { chroot } = this.#session;
    const full = chroot.toServer(path);
    // Usually it is there; then nothing is tried that the ACLs of those above could forbid.
    if ((await this.exists(path, options)) !== undefined) return;
    const missing: string[] = [];
    for (let at: string | undefined = full; at !== undefined && at !== '/'; at = parentOf(at)) missing.unshift(at);
    for (const at of missing) {
      const body = createBody(at, toBytes(undefined), options, OPEN_ACL);
      const operation = { ...body, name: 'create', path: chroot.fromServer(at) ?? at, changes: true, decode: () => {} };
      try {
        await this.#session.submit(operation, options);
      } catch (error) {
        const isThere = isZooKeeperError(error, 'WEFT_ZK_NODE_EXISTS');
        const isAbove = isZooKeeperError(error, 'WEFT_ZK_NO_AUTH') && at !== full;
        if (!isThere && !isAbove) throw error;
      }
    }
  }

  /** Deletes a znode without children. Errors: WEFT_ZK_NO_NODE, WEFT_ZK_BAD_VERSION, WEFT_ZK_NOT_EMPTY, … */
  async delete(path: string, options: VersionOptions = {}): Promise<void> {
    const { version = ANY_VERSION } = options;
    return this.#session.submit(deleteOperation(this.#path(path), path, version), options);
  }

  /** What ZooKeeper knows of the znode, or undefined if there is none. */
  async exists(path: string, options: ReadOptions = {}): Promise<Stat | undefined> {
    const operation = readOperation<Stat | undefined>('exists', this.#path(path), path, hasWatch(options), readStat);
    operation.recover = (serverCode) => (serverCode === NO_NODE ? { value: undefined } : undefined);
    return this.#read(operation, 'data', options);
  }

  /** Errors: WEFT_ZK_NO_NODE (then no watch is left), WEFT_ZK_NO_AUTH, … */
  async getData(path: string, options: ReadOptions = {}): Promise<NodeData> {
    return this.#read(readOperation('getData', this.#path(path), path, hasWatch(options), readData), 'data', options);
  }

  /** Errors: WEFT_ZK_NO_NODE (then no watch is left), WEFT_ZK_TOO_LARGE (too many children), … */
  async getChildren(path: string, options: ReadOptions = {}): Promise<NodeChildren> {
    const operation = readOperation('getChildren', this.#path(path), path, hasWatch(options), readChildren);
    return this.#read(operation, 'children', options);
  }

  /** Errors: WEFT_ZK_NO_NODE, WEFT_ZK_BAD_VERSION, … */
  async setData(path: string, data: NodeContent, options: VersionOptions = {}): Promise<Stat> {
    const { version = ANY_VERSION } = options;
    return this.#session.submit(setDataOperation(this.#path(path), path, toBytes(data), version), options);
  }

  async getAcl(path: string, options: RequestOptions = {}): Promise<{ acl: Acl[]; stat: Stat }> {
    return this.#session.submit(simpleRead(OP.getACL, 'getAcl', this.#path(path), path, readAclAndStat), options);
  }

  /** `version` is that of the ACL (`stat.aversion`). */
  async setAcl(path: string, acl: readonly Acl[], options: VersionOptions = {}): Promise<Stat> {
    const { version = ANY_VERSION } = options;
    return this.#session.submit(setAclOperation(this.#path(path), path, acl, version), options);
  }

  /**
   * All operations or none, in one transaction; results in their order. If one cannot be done, nothing is, and the error is a MultiError
   * with that one's code, path and index.
   */
  async multi(ops: readonly MultiOp[], options: RequestOptions = {}): Promise<MultiResult[]> {
    if (ops.length === 0) return [];
    return this.#session.submit(multiOperation(ops, this.#session.chroot, OPEN_ACL), options);
  }

  /** Several reads in one request (3.6 and newer). Each may fail by itself: see `op: 'error'` among the results. */
  async multiRead(ops: readonly ReadOp[], options: RequestOptions = {}): Promise<ReadResult[]> {
    if (ops.length === 0) return [];
    return this.#session.submit(multiReadOperation(ops, this.#session.chroot), options);
  }

  /** Fails with WEFT_ZK_NO_NODE or WEFT_ZK_BAD_VERSION unless the node is there and has the version. A write to the servers: it is never stale. */
  async check(path: string, options: VersionOptions = {}): Promise<void> {
    const op: CheckOp = { op: 'check', path, version: options.version };
    await this.#session.submit(multiOperation([op], this.#session.chroot, OPEN_ACL), options);
  }

  /** Brings the server up to what the leader had committed when it was asked: reads behind it are not older than that. */
  async sync(path = '/', options: RequestOptions = {}): Promise<void> {
    return this.#session.submit(
      simpleRead(OP.sync, 'sync', this.#path(path), path, () => {}),
      options,
    );
  }

  /** Paths of this session's ephemeral znodes below `prefix` (3.6 and newer). */
  async getEphemerals(prefix = '/', options: RequestOptions = {}): Promise<string[]> {
    const { chroot } = this.#session;
    const paths = await this.#session.submit(
      simpleRead(OP.getEphemerals, 'getEphemerals', this.#path(prefix), prefix, (reader) => reader.strings()),
      options,
    );
    return paths.map((path) => chroot.fromServer(path)).filter((path) => path !== undefined);
  }

  /** How many znodes are below `path`, at all depths (3.6 and newer). */
  async countDescendants(path: string, options: RequestOptions = {}): Promise<number> {
    const name = 'countDescendants';
    const operation = simpleRead(OP.getAllChildrenNumber, name, this.#path(path), path, (reader) => reader.int());
    return this.#session.submit(operation, options);
  }

  /** Who this connection is authenticated as (3.7 and newer). */
  async whoAmI(options: RequestOptions = {}): Promise<Identity[]> {
    return this.#session.submit(simpleRead(OP.whoAmI, 'whoAmI', undefined, undefined, readIdentities), options);
  }

  /**
   * Authenticates in addition, on this and every later connection. Rejects with WEFT_ZK_AUTH_FAILED if the server refuses; it then
   * closes the connection, and the session goes on by the next.
   */
  async addAuth(credentials: AddedCredentials): Promise<void> {
    return this.#session.addAuth(credentials);
  }

  /**
   * Watches until it is closed (3.6 and newer), also while the path does not exist. It survives reconnects; `gap` tells where events
   * may be missing. Paths have watches of one mode at a time.
   */
  async addWatch(path: string, options: WatchOptions & RequestOptions = {}): Promise<Watch> {
    const { watches } = this.#session;
    const full = this.#path(path);
    const mode: WatchMode = options.recursive ? 'recursive' : 'persistent';
    const watch = new Watch(path, options, (closed) => this.#removeWatch(full, closed));
    watches.claim(full, mode);
    const number = options.recursive ? ADD_WATCH_MODE.persistentRecursive : ADD_WATCH_MODE.persistent;
    const operation = watchOperation(OP.addWatch, 'addWatch', full, path, number, () => {
      watches.attach(full, watch);
      return watch;
    });
    operation.abandoned = () => {
      watches.release(full);
    };
    return this.#session.submit(operation, options);
  }

  /**
   * Takes back this client's one-shot watches of a path: those of data and existence, of children, or both. Each is called with
   * `removed`. WEFT_ZK_NO_WATCHER if there are none.
   */
  async removeWatches(path: string, kind: 'data' | 'children' | 'any', options: RequestOptions = {}): Promise<void> {
    const full = this.#path(path);
    const kinds: Readonly<Record<typeof kind, readonly OneShotKind[]>> = {
      data: ['data', 'exists'],
      children: ['children'],
      any: ['data', 'exists', 'children'],
    };
    const { watches } = this.#session;
    watches.claim(full, 'one-shot');
    const release = () => {
      watches.release(full);
    };
    const operation = watchOperation(OP.removeWatches, 'removeWatches', full, path, WATCHER_TYPE[kind], () => {
      watches.removed(full, kinds[kind]);
      release();
    });
    operation.abandoned = release;
    return this.#session.submit(operation, options);
  }

  /**
   * Ends the session, behind all requests made before: the server removes its ephemeral nodes at once. Without a connection they go
   * when the session expires. Resolves to true if the server has confirmed it. `keepSession`: leaves the session to whoever goes
   * on with it, or to expire, and fails what has not been answered.
   */
  async close(options: { readonly keepSession?: boolean } = {}): Promise<boolean> {
    return this.#session.close(options.keepSession ?? false);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close().then(() => {});
  }

  /** Resolves once it is connected; rejects if the client has ended, or ends meanwhile. */
  async whenConnected(): Promise<void> {
    while (this.state !== 'connected') {
      if (this.#session.ended)
        throw new ZooKeeperError('WEFT_ZK_CLOSED', undefined, { cause: this.#session.lastFailure });
      const controller = new AbortController();
      const { signal } = controller;
      const events = ['connected', 'reconnected', 'expired', 'authFailed', 'closed'] as const;
      await Promise.race(events.map((event) => once(this, event, { signal }))).finally(() => controller.abort());
    }
  }

  #path(path: string): string {
    return this.#session.chroot.toServer(path);
  }

  /** A read with the watch of its options: it is armed by the answer, in the same step in which that is taken. */
  #read<T>(operation: Operation<T>, kind: 'data' | 'children', options: ReadOptions): Promise<T> {
    const { watch } = options;
    if (watch === undefined) return this.#session.submit(operation, options);
    const { watches, chroot } = this.#session;
    const full = chroot.toServer(operation.path!);
    watches.claim(full, 'one-shot');
    const { decode, recover } = operation;
    operation.decode = (reader) => {
      const value = decode(reader);
      watches.arm(full, kind, watch);
      return value;
    };
    operation.recover = (serverCode) => {
      const recovered = recover?.(serverCode);
      if (recovered !== undefined) watches.arm(full, 'exists', watch);
      return recovered;
    };
    operation.abandoned = () => watches.release(full);
    return this.#session.submit(operation, options);
  }

  async #removeWatch(path: string, watch: Watch): Promise<void> {
    if (!this.#session.watches.detach(path, watch) || this.state !== 'connected') return;
    const operation = watchOperation(OP.removeWatches, 'removeWatches', path, watch.path, WATCHER_TYPE.any, () => {});
    // The server may have forgotten it by itself: with the connection, or with the session.
    await this.#session.submit(operation, {}).catch((error) => {
      const codes = ['NO_WATCHER', 'CONNECTION_LOST', 'SESSION_EXPIRED', 'CLOSED'] as const;
      if (!isZooKeeperError(error, ...codes.map((code) => `WEFT_ZK_${code}` as const))) throw error;
    });
  }
}

const hasWatch = (options: ReadOptions) => options.watch !== undefined;
