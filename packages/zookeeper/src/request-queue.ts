/**
 * The requests of a session, in order: those that wait for a connection, and those that were sent and wait for their answer. The
 * server answers in the order of the requests; an answer with another id means that the stream is out of step.
 *
 * When a connection is lost, all requests submitted before fail (but for reads that are repeated), also those that were not
 * sent yet: so no request succeeds behind one of which its caller learned that it is lost. Later ones wait for the next connection.
 */
import { serverError, ZooKeeperError, type ZooKeeperErrorCode } from './errors.ts';
import { Fifo } from './fifo.ts';
import type { JuteReader } from './jute/reader.ts';
import { JuteWriter } from './jute/writer.ts';
import { type Operation, Request, type RequestOptions } from './request.ts';
import { callSafely } from './watches/events.ts';

export interface QueueOptions {
  /** Requests that wait, sent or not. */
  readonly maxOutstanding: number;
  /** Bytes of one packet. */
  readonly maxRequest: number;
  /** Milliseconds for requests that do not say, 0: for ever. */
  readonly requestTimeout: number;
  /** Send reads again that were lost with their connection. */
  readonly repeatReads: boolean;
  /** A monotonic clock, ms. */
  readonly now: () => number;
}

/** Where requests are sent to. */
export interface RequestTarget {
  readonly writable: boolean;
  send(write: (writer: JuteWriter) => void, limit: number): boolean;
}

/** How often deadlines are looked at, ms. */
const SWEEP = 50;
/** Bytes of packets that wait for a connection, in units of the longest packet. */
const MAX_WAITING_PACKETS = 64;

export class RequestQueue {
  readonly #options: QueueOptions;
  readonly #waiting = new Fifo<Request>();
  readonly #sent = new Fifo<Request>();
  #waitingBytes = 0;
  #xid = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Requests that are not settled, and those that were given up but whose answer has not come. */
  get size(): number {
    return this.#waiting.size + this.#sent.size;
  }

  /** The id of the next packet. */
  nextXid(): number {
    this.#xid = this.#xid === 0x7fff_ffff ? 1 : this.#xid + 1;
    return this.#xid;
  }

  /** Sends the request through `target`, or keeps it until there is one. */
  submit<T>(operation: Operation<T>, options: RequestOptions, target: RequestTarget | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timeout = options.timeout ?? this.#options.requestTimeout;
      const deadline = timeout > 0 ? this.#options.now() + timeout : Number.POSITIVE_INFINITY;
      const request = new Request(operation, options, deadline, resolve as (value: unknown) => void, reject);
      if (options.signal?.aborted) return request.abandon('WEFT_ZK_ABORTED', options.signal.reason);
      const { maxOutstanding, maxRequest } = this.#options;
      if (this.size >= maxOutstanding || this.#waitingBytes > MAX_WAITING_PACKETS * maxRequest)
        return request.abandon('WEFT_ZK_BUSY');
      if (target?.writable && this.#waiting.size === 0) this.#send(request, target);
      else this.#keep(request);
      if (deadline < Number.POSITIVE_INFINITY) this.#watchDeadlines();
    });
  }

  /** Sends what waits, as far as `target` takes it. */
  pump(target: RequestTarget): void {
    while (target.writable) {
      const request = this.#waiting.shift();
      if (request === undefined) return;
      this.#waitingBytes -= request.bytes;
      if (request.state !== 'settled') this.#send(request, target);
    }
  }

  /**
   * An answer came; `body` stands behind its header. Throws WEFT_ZK_PROTOCOL if it is not that of the oldest request, or cannot be
   * read: drop the connection.
   */
  answer(xid: number, zxid: bigint | undefined, serverCode: number, body: JuteReader): void {
    const request = this.#expect(xid);
    if (request.state === 'settled') return;
    const { operation, onZxid } = request;
    if (onZxid !== undefined && zxid !== undefined) callSafely(onZxid, zxid);
    if (serverCode !== 0) {
      const recovered = operation.recover?.(serverCode);
      if (recovered !== undefined) {
        request.succeed(recovered.value);
        return;
      }
      operation.abandoned?.();
      request.fail(serverError(serverCode, operation.name, operation.path, operation.changes));
      return;
    }
    let value: unknown;
    try {
      value = operation.decode(body);
    } catch (error) {
      operation.abandoned?.();
      request.fail(error);
      // What an operation makes of a good answer may be an error; one that cannot be read says more about the stream.
      if (error instanceof ZooKeeperError && error.code !== 'WEFT_ZK_PROTOCOL') return;
      throw error;
    }
    request.succeed(value);
  }

  /** True if somebody wants to know which transaction the next answer stands at. */
  get wantsZxid(): boolean {
    return this.#sent.first?.onZxid !== undefined;
  }

  /** An answer of `length` bytes came that is longer than allowed, and is passed over. */
  answerTooLong(xid: number, length: number): void {
    const request = this.#expect(xid);
    request.operation.abandoned?.();
    const { name, path, changes } = request.operation;
    const detail = `The answer to ${name} ${path ?? ''} has ${length} bytes`;
    request.fail(new ZooKeeperError('WEFT_ZK_TOO_LARGE', detail, { path, outcomeUnknown: changes }));
  }

  /** The connection is gone. */
  lost(cause: ZooKeeperError): void {
    const requests = [...this.#sent, ...this.#waiting];
    this.#clear();
    for (const request of requests) {
      if (request.state === 'settled') continue;
      if (!this.#options.repeatReads || !request.mayRepeat) request.abandon('WEFT_ZK_CONNECTION_LOST', cause);
      else {
        if (request.state === 'sent') request.repeats++;
        request.state = 'waiting';
        this.#keep(request);
      }
    }
  }

  /** Nothing will be answered any more. */
  abandonAll(code: ZooKeeperErrorCode, cause?: unknown): void {
    const requests = [...this.#sent, ...this.#waiting];
    this.#clear();
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
    for (const request of requests) request.abandon(code, cause);
  }

  #clear(): void {
    while (this.#sent.shift() !== undefined);
    while (this.#waiting.shift() !== undefined);
    this.#waitingBytes = 0;
  }

  #expect(xid: number): Request {
    const request = this.#sent.first;
    if (request === undefined || request.xid !== xid)
      throw new ZooKeeperError('WEFT_ZK_PROTOCOL', `Answer ${xid} came, expected was ${request?.xid ?? 'none'}`);
    this.#sent.shift();
    return request;
  }

  #send(request: Request, target: RequestTarget): void {
    request.xid = this.nextXid();
    const { packet } = request;
    let fits: boolean;
    try {
      fits = target.send((writer) => {
        writer.int(request.xid);
        if (packet !== undefined) writer.raw(packet);
        else writeBody(writer, request.operation);
      }, this.#options.maxRequest);
    } catch (error) {
      request.operation.abandoned?.();
      request.fail(error);
      return;
    }
    if (!fits) {
      request.abandon('WEFT_ZK_TOO_LARGE');
      return;
    }
    request.packet = undefined;
    request.state = 'sent';
    this.#sent.push(request);
  }

  #keep(request: Request): void {
    if (request.packet === undefined) {
      const writer = new JuteWriter(Buffer.allocUnsafe(256));
      try {
        writeBody(writer, request.operation);
      } catch (error) {
        request.operation.abandoned?.();
        request.fail(error);
        return;
      }
      if (writer.length + 4 > this.#options.maxRequest) {
        request.abandon('WEFT_ZK_TOO_LARGE');
        return;
      }
      request.packet = writer.buffer.subarray(0, writer.length);
      request.bytes = writer.length;
    }
    this.#waitingBytes += request.bytes;
    this.#waiting.push(request);
  }

  /** Timers per request would cost more than the requests. */
  #watchDeadlines(): void {
    this.#sweeper ??= setInterval(() => {
      const now = this.#options.now();
      for (const request of this.#sent) if (request.deadline <= now) request.abandon('WEFT_ZK_TIMEOUT');
      for (const request of this.#waiting) if (request.deadline <= now) request.abandon('WEFT_ZK_TIMEOUT');
      if (this.size > 0) return;
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }, SWEEP).unref();
  }
}

/** A request behind its xid. */
function writeBody(writer: JuteWriter, operation: Operation<unknown>): void {
  writer.int(operation.opcode);
  operation.encode(writer);
}
