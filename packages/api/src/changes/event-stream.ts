/** A response of server-sent events (WHATWG HTML, section 9.2): signs of life, a last event that says why it ends, no event unread without bound. */
import { Readable } from 'node:stream';

export interface EventStreamOptions {
  /** Milliseconds between signs of life on a quiet stream. */
  readonly keepAlive: number;
  /** Milliseconds after which the stream ends, so that the client is authenticated anew. */
  readonly lifetime: number;
  readonly onEnd: () => void;
}

/** Unread bytes at which the stream waits for its reader. */
const HIGH_WATER = 64 * 1024;
/** After the last event a reader has so long to take it. */
const PARTING_MS = 10_000;

export abstract class EventStream extends Readable {
  readonly #onEnd: () => void;
  readonly #keepAlive: NodeJS.Timeout;
  readonly #lifetime: NodeJS.Timeout;
  #full = false;
  #ended = false;

  /** `aged`: code and sentence of the last event when the stream has lasted its time. */
  constructor({ keepAlive, lifetime, onEnd }: EventStreamOptions, aged: readonly [error: string, message: string]) {
    super({ highWaterMark: HIGH_WATER });
    this.#onEnd = onEnd;
    this.#keepAlive = setInterval(() => {
      if (this.hasRoom) this.sign();
    }, keepAlive);
    this.#lifetime = setTimeout(() => this.cut(...aged), lifetime);
    this.#keepAlive.unref();
    this.#lifetime.unref();
  }

  /** The reader keeps up, and there is more to come. */
  protected get hasRoom(): boolean {
    return !this.#full && !this.#ended && !this.destroyed;
  }

  /** The reader has taken what it was given. */
  protected abstract drained(): void;

  /** A comment keeps a quiet connection open. */
  protected sign(): void {
    this.write(': still here\n\n');
  }

  protected send(event: string, data: object, id?: string): void {
    this.write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  protected write(text: string): void {
    if (!this.#ended && !this.push(text)) this.#full = true;
  }

  /** Ends the stream with a last event that says why. */
  cut(error: string, message: string): void {
    this.finish('end', { error, message });
  }

  /** Ends the stream with a last event. */
  protected finish(event: string, data: object): void {
    if (this.#ended || this.destroyed) return;
    this.send(event, data);
    this.#ended = true;
    this.push(null);
    setTimeout(() => this.destroy(), PARTING_MS).unref();
  }

  override _read(): void {
    this.#full = false;
    this.drained();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#ended = true;
    clearInterval(this.#keepAlive);
    clearTimeout(this.#lifetime);
    this.#onEnd();
    callback(error);
  }
}
