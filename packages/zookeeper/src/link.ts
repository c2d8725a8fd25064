/**
 * One connection as the protocol sees it: asks for the session, authenticates, names the watches again, then carries requests.
 *
 *     opening ─▶ connect ─▶ sasl ─▶ auth ─▶ fence ─▶ ready
 *
 * The fence: after a reconnect, requests wait for the answers to setWatches (or to a ping), which tell the transaction that the
 * server stands at. If it is the one that was known before, nothing was missed.
 */
import type { DigestMd5 } from './auth/digest-md5.ts';
import { serverError, ZooKeeperError } from './errors.ts';
import { Fifo } from './fifo.ts';
import { JuteReader } from './jute/reader.ts';
import type { JuteWriter } from './jute/writer.ts';
import { EVENT_NAMES, OP, XID } from './protocol/constants.ts';
import { REPLY_HEADER } from './protocol/frames.ts';
import {
  type ConnectRequest,
  type ConnectResponse,
  readConnectResponse,
  type WatchPaths,
  writeConnectRequest,
  writeSetWatches,
} from './protocol/records.ts';
import type { RequestQueue, RequestTarget } from './request-queue.ts';
import { Transport, type TransportHandler, type TransportOptions } from './transport.ts';
import type { NodeEvent } from './watches/events.ts';
import { joinZxid, ZxidMark } from './zxid.ts';

/** Credentials of addAuth on their way. */
export interface AuthEntry {
  readonly scheme: string;
  readonly credential: Uint8Array;
}

export interface LinkOptions {
  readonly transport: TransportOptions;
  readonly connect: ConnectRequest;
  readonly queue: RequestQueue;
  readonly zxid: ZxidMark;
  readonly maxRequest: number;
  /** One SASL exchange, or undefined. */
  readonly sasl: DigestMd5 | undefined;
}

export interface LinkHandler {
  /** The server granted the session. */
  granted(response: ConnectResponse): void;
  /** The session is no more. */
  expired(): void;
  /** The server refused to be convinced. */
  saslFailed(error: ZooKeeperError): void;
  authAccepted(entry: AuthEntry): void;
  authRefused(entry: AuthEntry, error: ZooKeeperError): void;
  /** Credentials to be sent in the beginning, and watches to be named again. */
  credentials(): readonly AuthEntry[];
  watches(): Iterable<WatchPaths>;
  /** Requests may flow. `moved`: the server stands at a later transaction than the client knew of. */
  ready(moved: boolean): void;
  /** `catchingUp`: before `ready`; told are one-shot watches of what they missed, and `moved` will be true. */
  watchEvent(type: NodeEvent['type'], path: string, zxid: bigint | undefined, catchingUp: boolean): void;
  drain(): void;
  closed(cause: ZooKeeperError): void;
}

type Phase = 'opening' | 'connect' | 'sasl' | 'auth' | 'fence' | 'ready';

const NEW_SESSION = 0n;
/** Servers grant two ticks at least; less than this would make the client ping without a break. Milliseconds. */
const LEAST_TIMEOUT = 100;
/** Packets of one's own (auth, setWatches with one long path) are bounded by what callers gave, and by the server. */
const NO_LIMIT = Number.POSITIVE_INFINITY;

export class Link implements TransportHandler, RequestTarget {
  readonly #options: LinkOptions;
  readonly #handler: LinkHandler;
  readonly #transport: Transport;
  readonly #reader = new JuteReader();
  readonly #authSent = new Fifo<AuthEntry>();
  #phase: Phase = 'opening';
  #saslXid = 0;
  #timeout = 0;
  /** Answers that the fence waits for. */
  #fence = 0;
  /** What the fence's answers stand at. It counts only when all have come: until then some watches are not told what they missed. */
  readonly #ahead = new ZxidMark();
  #moved = false;

  constructor(options: LinkOptions, handler: LinkHandler) {
    this.#options = options;
    this.#handler = handler;
    this.#transport = new Transport(options.transport, this);
  }

  get ready(): boolean {
    return this.#phase === 'ready';
  }

  get writable(): boolean {
    return this.#phase === 'ready' && this.#transport.writable;
  }

  send(write: (writer: JuteWriter) => void, limit: number): boolean {
    return this.#transport.send(write, limit);
  }

  destroy(what: string, cause?: unknown): void {
    this.#transport.destroy(what, cause);
  }

  /** Sends credentials that were added later; before the phase `auth`, they come with the others. */
  addAuth(entry: AuthEntry): void {
    if (this.#phase === 'auth' || this.#phase === 'fence' || this.#phase === 'ready') this.#sendAuth(entry);
  }

  open(): void {
    this.#phase = 'connect';
    this.#transport.send((writer) => writeConnectRequest(writer, this.#options.connect), NO_LIMIT);
  }

  ping(): void {
    this.#transport.send((writer) => {
      writer.int(XID.ping);
      writer.int(OP.ping);
    }, NO_LIMIT);
  }

  drain(): void {
    this.#handler.drain();
  }

  closed(cause: ZooKeeperError): void {
    this.#handler.closed(cause);
  }

  tooLong(head: Buffer, length: number): void {
    const reader = this.#reader.reset(head, 0, REPLY_HEADER);
    const xid = reader.int();
    if (this.#phase !== 'ready' || xid < 0)
      throw new ZooKeeperError('WEFT_ZK_PROTOCOL', `A packet of ${length} bytes that answers no request`);
    this.#options.zxid.observe(reader.int(), reader.uint());
    this.#options.queue.answerTooLong(xid, length);
  }

  frame(buffer: Buffer, start: number, end: number): void {
    const reader = this.#reader.reset(buffer, start, end);
    if (this.#phase === 'connect') {
      this.#connected(readConnectResponse(reader));
      return;
    }
    const xid = reader.int();
    const high = reader.int();
    const low = reader.uint();
    const serverCode = reader.int();
    if (xid === XID.notification) {
      this.#notified(reader, high, low);
      return;
    }
    if (xid === XID.auth) {
      this.#authAnswered(serverCode);
      return;
    }
    if (this.#phase === 'sasl' && xid === this.#saslXid) {
      this.#saslAnswered(serverCode, reader);
      return;
    }
    const { queue, zxid } = this.#options;
    if (this.#phase === 'ready') zxid.observe(high, low);
    else if (zxid.isNews(high, low)) this.#ahead.observe(high, low);
    if (xid === XID.ping || xid === XID.setWatches) {
      this.#fenceAnswered(xid, serverCode);
      return;
    }
    queue.answer(xid, queue.wantsZxid ? joinZxid(high, low) : undefined, serverCode, reader);
  }

  #connected(response: ConnectResponse): void {
    if (response.timeout <= 0) {
      if (this.#options.connect.sessionId !== NEW_SESSION) {
        this.#handler.expired();
        return;
      }
      throw new ZooKeeperError('WEFT_ZK_PROTOCOL', 'The server granted no session');
    }
    this.#timeout = Math.max(LEAST_TIMEOUT, response.timeout);
    this.#handler.granted({ ...response, timeout: this.#timeout });
    if (this.#options.sasl === undefined) {
      this.#authenticate();
      return;
    }
    this.#phase = 'sasl';
    this.#sendSasl(this.#options.sasl.start());
  }

  #sendSasl(token: Buffer): void {
    this.#saslXid = this.#options.queue.nextXid();
    this.#transport.send((writer) => {
      writer.int(this.#saslXid);
      writer.int(OP.sasl);
      writer.bytes(token);
    }, NO_LIMIT);
  }

  #saslAnswered(serverCode: number, reader: JuteReader): void {
    try {
      if (serverCode !== 0) throw serverError(serverCode, 'SASL');
      const answer = this.#options.sasl!.step(reader.bytes());
      if (answer !== undefined) this.#sendSasl(answer);
      else this.#authenticate();
    } catch (error) {
      if (!(error instanceof ZooKeeperError) || error.code !== 'WEFT_ZK_AUTH_FAILED') throw error;
      this.#handler.saslFailed(error);
    }
  }

  #authenticate(): void {
    this.#phase = 'auth';
    for (const entry of this.#handler.credentials()) this.#sendAuth(entry);
    if (this.#authSent.size === 0) this.#raiseFence();
  }

  #sendAuth(entry: AuthEntry): void {
    this.#authSent.push(entry);
    this.#transport.send((writer) => {
      writer.int(XID.auth);
      writer.int(OP.auth);
      writer.int(0);
      writer.string(entry.scheme);
      writer.bytes(entry.credential);
    }, NO_LIMIT);
  }

  #authAnswered(serverCode: number): void {
    const entry = this.#authSent.shift();
    if (entry === undefined)
      throw new ZooKeeperError('WEFT_ZK_PROTOCOL', 'An answer to an auth packet that was not sent');
    if (serverCode !== 0) {
      this.#handler.authRefused(entry, serverError(serverCode, `addAuth ${entry.scheme}`));
      return;
    }
    this.#handler.authAccepted(entry);
    if (this.#phase === 'auth' && this.#authSent.size === 0) this.#raiseFence();
  }

  #raiseFence(): void {
    this.#phase = 'fence';
    if (this.#options.connect.sessionId === NEW_SESSION) {
      this.#becomeReady();
      return;
    }
    const lastZxid = this.#options.zxid.value;
    for (const paths of this.#handler.watches()) {
      const extended = paths.persistent.length + paths.recursive.length > 0;
      this.#fence++;
      this.#transport.send((writer) => {
        writer.int(XID.setWatches);
        writer.int(extended ? OP.setWatches2 : OP.setWatches);
        writeSetWatches(writer, lastZxid, paths, extended);
      }, NO_LIMIT);
    }
    this.#fence++;
    this.ping();
  }

  #fenceAnswered(xid: number, serverCode: number): void {
    if (xid === XID.setWatches && serverCode !== 0) throw serverError(serverCode, 'setWatches');
    if (this.#phase === 'fence' && --this.#fence === 0) this.#becomeReady();
  }

  #becomeReady(): void {
    this.#phase = 'ready';
    if (this.#ahead.value > 0n) this.#moved = true;
    this.#options.zxid.join(this.#ahead);
    this.#transport.settled(this.#timeout);
    this.#handler.ready(this.#moved);
  }

  #notified(reader: JuteReader, high: number, low: number): void {
    const type = reader.int();
    reader.int(); // the state of the session, which an event on the wire always finds connected
    const path = reader.string();
    const name = EVENT_NAMES[type as keyof typeof EVENT_NAMES];
    if (name === undefined) return;
    const catchingUp = this.#phase !== 'ready';
    if (catchingUp) this.#moved = true;
    const zxid = high > 0 || (high === 0 && low > 0) ? joinZxid(high, low) : undefined;
    this.#handler.watchEvent(name, path, zxid, catchingUp);
  }
}
