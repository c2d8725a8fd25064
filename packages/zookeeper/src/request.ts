/** One request of a caller, from its submission to the one time that it is settled. */
import { ZooKeeperError, type ZooKeeperErrorCode } from './errors.ts';
import type { JuteReader } from './jute/reader.ts';
import type { JuteWriter } from './jute/writer.ts';

/** Options that every request takes. */
export interface RequestOptions {
  /** Ends the wait; the request fails with WEFT_ZK_ABORTED. What was sent may happen all the same. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the request fails with WEFT_ZK_TIMEOUT, waiting for a connection included; 0: never. */
  readonly timeout?: number | undefined;
  /** Told the transaction that the answer, also one that is an error, stands at, before the request is settled. */
  readonly onZxid?: ((zxid: bigint) => void) | undefined;
}

/** What an operation is made of. */
export interface Operation<T> {
  readonly opcode: number;
  /** For messages. */
  readonly name: string;
  /** As the caller named it. */
  readonly path: string | undefined;
  /** Something would be changed: if the answer is lost, nobody knows. Others may be repeated. */
  readonly changes: boolean;
  encode(writer: JuteWriter): void;
  decode: (reader: JuteReader) => T;
  /** A value in place of an error of the server, or undefined: the error stands. */
  recover?: ((serverCode: number) => { value: T } | undefined) | undefined;
  /** Called once when it is settled without an answer of the server. */
  abandoned?: (() => void) | undefined;
}

export type RequestState = 'waiting' | 'sent' | 'settled';

/** How often a read that was lost with its connection is sent again. */
const MAX_REPEATS = 3;

export class Request {
  readonly operation: Operation<unknown>;
  readonly onZxid: ((zxid: bigint) => void) | undefined;
  state: RequestState = 'waiting';
  /** The id that it was sent with. */
  xid = 0;
  /** When it times out, by the client's monotonic clock in ms; Infinity: never. */
  readonly deadline: number;
  /** The encoded packet while it waits for a connection: what the caller does to its buffers meanwhile does not matter. */
  packet: Buffer | undefined;
  /** Of the packet, while it waits. */
  bytes = 0;
  repeats = 0;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (error: unknown) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: (() => void) | undefined;

  constructor(
    operation: Operation<unknown>,
    options: RequestOptions,
    deadline: number,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.operation = operation;
    this.onZxid = options.onZxid;
    this.deadline = deadline;
    this.#resolve = resolve;
    this.#reject = reject;
    if (options.signal !== undefined) {
      this.#signal = options.signal;
      this.#onAbort = () => this.abandon('WEFT_ZK_ABORTED', options.signal?.reason);
      this.#signal.addEventListener('abort', this.#onAbort, { once: true });
    }
  }

  get mayRepeat(): boolean {
    return !this.operation.changes && this.repeats < MAX_REPEATS;
  }

  succeed(value: unknown): void {
    if (this.#settle()) this.#resolve(value);
  }

  /** The server's answer, or what stands for it. */
  fail(error: unknown): void {
    if (this.#settle()) this.#reject(error);
  }

  /** Fails without an answer of the server. */
  abandon(code: ZooKeeperErrorCode, cause?: unknown): void {
    const { name, path, changes } = this.operation;
    const outcomeUnknown = changes && this.state === 'sent';
    if (!this.#settle()) return;
    this.operation.abandoned?.();
    const detail = path === undefined ? name : `${name} ${path}`;
    this.#reject(new ZooKeeperError(code, detail, { path, cause, outcomeUnknown }));
  }

  #settle(): boolean {
    if (this.state === 'settled') return false;
    this.state = 'settled';
    this.packet = undefined;
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener('abort', this.#onAbort);
    return true;
  }
}
