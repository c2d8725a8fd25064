/** A persistent watch in its owner's hands: events by iteration or by callback, until it is closed or the session ends. */
import { ZooKeeperError } from '../errors.ts';
import { Fifo } from '../fifo.ts';
import { callSafely, type WatchEnded, type WatchEvent } from './events.ts';
import type { WatchSink } from './registry.ts';

export interface WatchOptions {
  /** The path and everything below it. */
  readonly recursive?: boolean | undefined;
  /** Gets the events as they come; then they cannot be iterated over. `lost` is the last one when the session ends. */
  readonly onEvent?: ((event: WatchEvent | WatchEnded) => void) | undefined;
  /** Events that wait for a slow reader; with one more they are dropped for a `gap`. Default 10,000. */
  readonly maxEvents?: number | undefined;
}

const DEFAULT_MAX_EVENTS = 10_000;

interface Reader {
  resolve(result: IteratorResult<WatchEvent, undefined>): void;
  reject(error: unknown): void;
}

/**
 * Iterating (once) delivers events until the watch is closed. If the session expires, iteration throws WEFT_ZK_SESSION_EXPIRED
 * behind the last event.
 */
export class Watch implements AsyncIterable<WatchEvent>, WatchSink {
  readonly path: string;
  readonly recursive: boolean;
  readonly #onEvent: WatchOptions['onEvent'];
  readonly #maxEvents: number;
  readonly #remove: (watch: Watch) => Promise<void>;
  #events = new Fifo<WatchEvent>();
  readonly #readers = new Fifo<Reader>();
  #iterated = false;
  #ended = false;
  #error: ZooKeeperError | undefined;

  /** Made by `ZooKeeper.addWatch`. `remove` tells the server that it is wanted no more. */
  constructor(path: string, options: WatchOptions, remove: (watch: Watch) => Promise<void>) {
    this.path = path;
    this.recursive = options.recursive ?? false;
    this.#onEvent = options.onEvent;
    this.#maxEvents = options.maxEvents ?? DEFAULT_MAX_EVENTS;
    this.#remove = remove;
    if (!Number.isInteger(this.#maxEvents) || this.#maxEvents < 1)
      throw new ZooKeeperError('WEFT_ZK_ARGUMENT', `maxEvents is ${this.#maxEvents}`);
  }

  /** No further event will come. */
  get closed(): boolean {
    return this.#ended;
  }

  /** Ends the watch; events that wait are dropped. Resolves when the server has forgotten it. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#end();
    this.#events = new Fifo();
    await this.#remove(this);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  [Symbol.asyncIterator](): AsyncIterator<WatchEvent, undefined> {
    if (this.#onEvent !== undefined || this.#iterated)
      throw new ZooKeeperError(
        'WEFT_ZK_ARGUMENT',
        'The events of a watch go to one reader: a callback, or one iteration',
      );
    this.#iterated = true;
    return {
      next: () => this.#next(),
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
  }

  event(event: WatchEvent): void {
    if (this.#ended) return;
    if (this.#onEvent !== undefined) {
      callSafely(this.#onEvent, event);
      return;
    }
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value: event });
      return;
    }
    if (this.#events.size >= this.#maxEvents) {
      this.#events = new Fifo();
      this.#events.push({ type: 'gap', reason: 'overflow', path: this.path });
    }
    this.#events.push(event);
  }

  lost(error: ZooKeeperError | undefined): void {
    if (this.#ended) return;
    this.#error = error;
    this.#end();
    if (this.#onEvent !== undefined) callSafely(this.#onEvent, { type: 'lost', path: this.path });
  }

  #end(): void {
    this.#ended = true;
    for (let reader = this.#readers.shift(); reader !== undefined; reader = this.#readers.shift()) this.#last(reader);
  }

  #next(): Promise<IteratorResult<WatchEvent, undefined>> {
    return new Promise((resolve, reject) => {
      const event = this.#events.shift();
      if (event !== undefined) resolve({ done: false, value: event });
      else if (this.#ended) this.#last({ resolve, reject });
      else this.#readers.push({ resolve, reject });
    });
  }

  /** The end, as an error the first time if it was one. */
  #last(reader: Reader): void {
    const error = this.#error;
    this.#error = undefined;
    if (error === undefined) reader.resolve({ done: true, value: undefined });
    else reader.reject(error);
  }
}
