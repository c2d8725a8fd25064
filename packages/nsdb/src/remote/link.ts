/** One connection of the client, from its hello to its end. Requests are pipelined; it notices a peer that fell silent. */
import { connect, type Socket } from 'node:net';
import { NsdbError } from '../errors.ts';
import { encodeMessage, MessageDecoder } from './frames.ts';
import { fromWire, type Hello, MAX_REPLY, PROTOCOL, type Reply } from './protocol.ts';

export interface LinkOptions {
  readonly socket: string;
  /** Milliseconds between pings; three without a sign of life end the link. */
  readonly pingInterval: number;
  onBatch(reply: Extract<Reply, { s: number }>, bytes: number): void;
  onEnd(): void;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  /** What the caller is told if the link ends first. */
  readonly lost: 'WEFT_STORE_AWAY' | 'WEFT_OUTCOME_UNKNOWN';
}

/** What a host's session needs of a link. */
export interface SessionLink {
  /** Of the store at its other end. */
  readonly generation: string;
  /** Grace time of hosts' sessions there, ms. */
  readonly grace: number;
  /** Whether it knows `session.keep`. */
  readonly keeps: boolean;
  /** Asks, and waits for the answer; `lost`: what the caller is told if the link ends first. */
  request(method: string, parameters: readonly unknown[], lost?: Waiting['lost']): Promise<unknown>;
  /** Says what needs no answer. */
  note(method: string, ...parameters: readonly unknown[]): void;
}

/** Where the server does not say its grace time, ms: what it vouched by when none did. */
const UNTOLD_GRACE = 20_000;

export class Link implements SessionLink {
  readonly generation: string;
  readonly grace: number;
  readonly keeps: boolean;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #ended = false;

  private constructor(socket: Socket, { generation, grace = UNTOLD_GRACE, keeps = false }: Omit<Hello, 'hello'>) {
    this.#socket = socket;
    this.generation = generation;
    this.grace = grace;
    this.keeps = keeps;
  }

  /** Connects and waits for the server's hello; rejects with WEFT_STORE_AWAY, or WEFT_PROTOCOL if it is not ours. */
  static open(options: LinkOptions): Promise<Link> {
    return new Promise((resolve, reject) => {
      const socket = connect(options.socket);
      const decoder = new MessageDecoder(MAX_REPLY);
      let link: Link | undefined;
      let heard = performance.now();
      const pinger = setInterval(() => {
        if (performance.now() - heard > 3 * options.pingInterval) socket.destroy();
        else if (link !== undefined) link.note('ping');
      }, options.pingInterval).unref();
      let failure: NsdbError | undefined;
      socket.on('error', (cause) => {
        failure ??= new NsdbError('WEFT_STORE_AWAY', undefined, [], { cause });
      });
      socket.on('close', () => {
        clearInterval(pinger);
        if (link === undefined) return reject(failure ?? new NsdbError('WEFT_STORE_AWAY'));
        link.#end();
        options.onEnd();
      });
      socket.on('data', (chunk) => {
        heard = performance.now();
        try {
          for (const { message, bytes } of decoder.push(chunk)) {
            if (link !== undefined) {
              const reply = message as Reply;
              if ('s' in reply) options.onBatch(reply, bytes);
              else link.#settle(reply);
              continue;
            }
            const { hello, ...rest } = message as Hello;
            const { generation, grace = UNTOLD_GRACE } = rest;
            if (hello !== PROTOCOL || typeof generation !== 'string' || !(grace > 0))
              throw new NsdbError('WEFT_PROTOCOL', `Expected ${PROTOCOL}`);
            link = new Link(socket, rest);
            resolve(link);
          }
        } catch (error) {
          failure = error as NsdbError;
          socket.destroy();
        }
      });
    });
  }

  /** Sends a request and waits for its answer. */
  request(method: string, parameters: readonly unknown[], lost: Waiting['lost'] = 'WEFT_STORE_AWAY'): Promise<unknown> {
    if (this.#ended) return Promise.reject(new NsdbError('WEFT_STORE_AWAY'));
    const i = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(i, { resolve, reject, lost });
      this.#socket.write(encodeMessage({ i, m: method, p: parameters }));
    });
  }

  /** Sends what needs no answer. */
  note(method: string, ...parameters: readonly unknown[]): void {
    // Pings are answered, so that both ends hear something; the answer is nobody's.
    const i = method === 'ping' ? { i: 0 } : {};
    if (!this.#ended) this.#socket.write(encodeMessage({ ...i, m: method, p: parameters }));
  }

  close(): void {
    this.#socket.destroy();
    this.#end();
  }

  #settle(reply: Exclude<Reply, { s: number }>): void {
    const waiting = this.#waiting.get(reply.i);
    if (waiting === undefined) return;
    this.#waiting.delete(reply.i);
    if ('e' in reply) waiting.reject(fromWire(reply.e));
    else waiting.resolve(reply.r);
  }

  #end(): void {
    this.#ended = true;
    for (const { reject, lost } of this.#waiting.values()) reject(new NsdbError(lost));
    this.#waiting.clear();
  }
}
