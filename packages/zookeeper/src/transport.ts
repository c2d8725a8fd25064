/** One connection to one server: TCP or TLS, packets in, batches of packets out, and the watch over whether it is alive. */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { formatServer, type ServerAddress } from './connect-string.ts';
import { ZooKeeperError } from './errors.ts';
import { JuteWriter } from './jute/writer.ts';
import { Liveness } from './liveness.ts';
import { FrameDecoder, type FrameSink } from './protocol/frames.ts';

export interface TransportOptions {
  readonly server: ServerAddress;
  readonly tls: ConnectionOptions | undefined;
  /** Bytes of the longest packet that is taken. */
  readonly maxResponse: number;
  /** Milliseconds until `settled` must have been called. */
  readonly timeout: number;
  /** A monotonic clock, ms. */
  readonly now: () => number;
}

export interface TransportHandler extends FrameSink {
  open(): void;
  /** A ping is due. */
  ping(): void;
  /** The socket takes more again. */
  drain(): void;
  /** Called once; nothing follows. */
  closed(cause: ZooKeeperError): void;
}

/** Bytes that are gathered before the end of the turn. */
const BATCH = 64 * 1024;
/** A batch's buffer is used again unless it grew beyond this. */
const KEEP = 256 * 1024;

export class Transport {
  readonly server: ServerAddress;
  readonly #socket: Socket;
  readonly #handler: TransportHandler;
  readonly #decoder: FrameDecoder;
  readonly #now: () => number;
  #liveness: Liveness | undefined;
  #timer: NodeJS.Timeout | undefined;
  #out = new JuteWriter();
  #spare: Buffer | undefined;
  #flushing = false;
  #cause: ZooKeeperError | undefined;
  #closed = false;

  constructor(options: TransportOptions, handler: TransportHandler) {
    const { server, tls } = options;
    this.server = server;
    this.#handler = handler;
    this.#now = options.now;
    this.#decoder = new FrameDecoder(options.maxResponse, handler);
    const address = { host: server.host, port: server.port };
    this.#socket =
      tls === undefined
        ? connectTcp(address)
        : connectTls({ ...(isIP(server.host) === 0 ? { servername: server.host } : {}), ...tls, ...address });
    this.#socket.setNoDelay(true);
    this.#socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      if (!this.#closed) handler.open();
    });
    this.#socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#socket.on('drain', () => {
      if (!this.#closed) handler.drain();
    });
    this.#socket.on('error', (cause) => this.destroy('the connection failed', cause));
    this.#socket.on('end', () => this.destroy('the server closed the connection'));
    this.#socket.on('close', () => this.destroy('the connection was closed'));
    this.#timer = setTimeout(
      () => this.destroy(`no session after ${Math.round(options.timeout)} ms`),
      options.timeout,
    ).unref();
  }

  /** False: what is sent now is only gathered in memory. */
  get writable(): boolean {
    return !this.#closed && !this.#socket.writableNeedDrain;
  }

  /** The session goes on here: from now on the server's silence is watched. */
  settled(sessionTimeout: number): void {
    clearTimeout(this.#timer);
    this.#liveness = new Liveness(sessionTimeout, this.#now());
    this.#watch(false);
  }

  /**
   * Sends one packet that `write` writes, with those of the same turn. Returns false, and sends nothing, if it would be longer
   * than `limit` bytes, or if `write` throws, which is thrown on.
   */
  send(write: (writer: JuteWriter) => void, limit: number): boolean {
    const out = this.#out;
    const start = out.length;
    try {
      out.int(0);
      write(out);
    } catch (error) {
      out.length = start;
      throw error;
    }
    const length = out.length - start - 4;
    if (length > limit) {
      out.length = start;
      return false;
    }
    out.buffer.writeInt32BE(length, start);
    if (out.length >= BATCH) this.#flush();
    else if (!this.#flushing) {
      this.#flushing = true;
      process.nextTick(() => this.#flush());
    }
    return true;
  }

  /** Ends the connection at once. The handler is told, unless it was before. */
  destroy(what: string, cause?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#decoder.stop();
    this.#socket.destroy();
    this.#cause ??=
      cause instanceof ZooKeeperError
        ? cause
        : new ZooKeeperError('WEFT_ZK_CONNECTION_LOST', `${formatServer(this.server)}: ${what}`, { cause });
    this.#handler.closed(this.#cause);
  }

  #receive(chunk: Buffer): void {
    this.#liveness?.heard(this.#now());
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      this.destroy('the server sent nonsense', error);
    }
  }

  #flush(): void {
    this.#flushing = false;
    const { buffer, length } = this.#out;
    if (length === 0 || this.#closed) return;
    this.#liveness?.sent(this.#now());
    this.#out = new JuteWriter(this.#spare);
    this.#spare = undefined;
    this.#socket.write(buffer.subarray(0, length), () => {
      if (buffer.length <= KEEP) this.#spare = buffer;
    });
  }

  /** `sure`: the event loop has just had the chance to read what the kernel holds. */
  #watch(sure: boolean): void {
    if (this.#closed) return;
    const due = this.#liveness!.check(this.#now());
    if (due === 'dead') {
      // This process may have stood still itself: what came meanwhile is read first.
      if (!sure) setImmediate(() => this.#watch(true)).unref();
      else this.destroy(`nothing was heard for ${Math.round(this.#liveness!.deadAfter)} ms`);
      return;
    }
    if (due === 'ping') {
      this.#handler.ping();
      this.#liveness!.sent(this.#now());
    }
    this.#timer = setTimeout(() => this.#watch(false), due === 'ping' ? 0 : Math.max(1, due)).unref();
  }
}
