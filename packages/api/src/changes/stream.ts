/** One listener of `GET /events`: turns kept changes into server-sent events, as fast as the client reads and no faster. */
import { Readable } from 'node:stream';
import type { Revision } from '@weft/nsdb';
import type { ChangeBatch, ChangeFeed, ChangeRecord } from './feed.ts';

export interface StreamOptions {
  readonly feed: ChangeFeed;
  /** Which changes the client asked for, and may see. */
  readonly wanted: (record: ChangeRecord) => boolean;
  /** What is sent of each change; may read the database. */
  readonly show: (records: readonly ChangeRecord[], revision: Revision) => Promise<readonly object[]>;
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

export class ChangeStream extends Readable {
  readonly #options: StreamOptions;
  readonly #keepAlive: NodeJS.Timeout;
  readonly #lifetime: NodeJS.Timeout;
  #cursor: Revision = 0;
  #running = false;
  #ready = false;
  #full = false;
  #ended = false;
  #told = 0;

  constructor(options: StreamOptions) {
    super({ highWaterMark: HIGH_WATER });
    this.#options = options;
    this.#keepAlive = setInterval(() => this.#sign(), options.keepAlive);
    this.#lifetime = setTimeout(
      () => this.cut('WEFT_API_EVENTS_AGED', 'The stream has lasted long enough. Connect again with Last-Event-ID.'),
      options.lifetime,
    );
    this.#keepAlive.unref();
    this.#lifetime.unref();
  }

  /** Starts after a revision that the feed reaches; `lost`: the client had asked for one that it does not reach. */
  begin(cursor: Revision, lost: boolean): void {
    const { feed } = this.#options;
    this.#cursor = cursor;
    const place = { revision: cursor, generation: feed.generation };
    if (lost) {
      const message = 'The changes since your Last-Event-ID are no longer known. Read again what you keep.';
      this.#send('reset', { ...place, error: 'WEFT_API_EVENTS_LOST', message }, true);
    } else this.#send('ready', place, true);
    this.#ready = true;
    this.wake();
  }

  /** There may be more in the feed. */
  readonly wake = (): void => {
    if (this.#running || !this.#ready || this.#full || this.#ended) return;
    this.#running = true;
    this.#run()
      .catch((error: Error) => this.destroy(error))
      .finally(() => {
        this.#running = false;
      });
  };

  async #run(): Promise<void> {
    const { feed, wanted, show } = this.#options;
    while (!this.#full && !this.#ended && !this.destroyed) {
      if (!feed.reaches(feed.generation, this.#cursor)) {
        const message = 'You read more slowly than things change. Connect again, and read again what you keep.';
        return this.cut('WEFT_API_EVENTS_BEHIND', message);
      }
      const batch: ChangeBatch | undefined = feed.after(this.#cursor);
      if (batch === undefined) {
        this.#cursor = feed.revision;
        return;
      }
      const records = batch.records.filter(wanted);
      const shown = records.length === 0 ? [] : await show(records, batch.revision);
      this.#cursor = batch.revision;
      // Only the last event of a batch has the id: who is cut off in between gets the whole batch again.
      for (const [i, data] of shown.entries()) this.#send('change', data, i === shown.length - 1);
    }
  }

  /** Ends the stream with a last event that says why. */
  cut(error: string, message: string): void {
    if (this.#ended || this.destroyed) return;
    this.#send('end', { error, message }, false);
    this.#ended = true;
    this.push(null);
    setTimeout(() => this.destroy(), PARTING_MS).unref();
  }

  override _read(): void {
    this.#full = false;
    this.wake();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#ended = true;
    clearInterval(this.#keepAlive);
    clearTimeout(this.#lifetime);
    this.#options.onEnd();
    callback(error);
  }

  #send(event: string, data: object, withId: boolean): void {
    this.#told = this.#cursor;
    const id = withId ? `id: ${this.#options.feed.generation}/${this.#cursor}\n` : '';
    this.#push(`${id}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** A comment keeps the connection open; an id without data moves the client's place on past what it did not ask for. */
  #sign(): void {
    if (!this.#ready || this.#full || this.#ended) return;
    const moved = !this.#running && this.#told !== this.#cursor;
    if (moved) this.#told = this.#cursor;
    this.#push(moved ? `: still here\nid: ${this.#options.feed.generation}/${this.#cursor}\n\n` : ': still here\n\n');
  }

  #push(text: string): void {
    if (!this.#ended && !this.push(text)) this.#full = true;
  }
}
