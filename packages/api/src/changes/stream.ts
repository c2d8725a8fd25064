/** One listener of `GET /events`: turns kept changes into server-sent events, as fast as the client reads and no faster. */
import type { Revision } from '@weft/nsdb';
import { EventStream, type EventStreamOptions } from './event-stream.ts';
import type { ChangeBatch, ChangeFeed, ChangeRecord } from './feed.ts';

export interface StreamOptions extends EventStreamOptions {
  readonly feed: ChangeFeed;
  /** Which changes the client asked for, and may see. */
  readonly wanted: (record: ChangeRecord) => boolean;
  /** What is sent of each change; may read the database. */
  readonly show: (records: readonly ChangeRecord[], revision: Revision) => Promise<readonly object[]>;
}

const AGED = ['WEFT_API_EVENTS_AGED', 'The stream has lasted long enough. Connect again with Last-Event-ID.'] as const;

export class ChangeStream extends EventStream {
  readonly #options: StreamOptions;
  #cursor: Revision = 0;
  #running = false;
  #ready = false;
  #told = 0;

  constructor(options: StreamOptions) {
    super(options, AGED);
    this.#options = options;
  }

  /** Starts after a revision that the feed reaches; `lost`: the client had asked for one that it does not reach. */
  begin(cursor: Revision, lost: boolean): void {
    const { feed } = this.#options;
    this.#cursor = cursor;
    const place = { revision: cursor, generation: feed.generation };
    if (lost) {
      const message = 'The changes since your Last-Event-ID are no longer known. Read again what you keep.';
      this.#tell('reset', { ...place, error: 'WEFT_API_EVENTS_LOST', message }, true);
    } else this.#tell('ready', place, true);
    this.#ready = true;
    this.wake();
  }

  /** There may be more in the feed. */
  readonly wake = (): void => {
    if (this.#running || !this.#ready || !this.hasRoom) return;
    this.#running = true;
    this.#run()
      .catch((error: Error) => this.destroy(error))
      .finally(() => {
        this.#running = false;
      });
  };

  async #run(): Promise<void> {
    const { feed, wanted, show } = this.#options;
    while (this.hasRoom) {
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
      for (const [i, data] of shown.entries()) this.#tell('change', data, i === shown.length - 1);
    }
  }

  protected drained(): void {
    this.wake();
  }

  #tell(event: string, data: object, withId: boolean): void {
    this.#told = this.#cursor;
    this.send(event, data, withId ? this.#id : undefined);
  }

  /** An id without data moves the client's place on past what it did not ask for. */
  protected override sign(): void {
    if (!this.#ready) return;
    const moved = !this.#running && this.#told !== this.#cursor;
    if (moved) this.#told = this.#cursor;
    this.write(moved ? `: still here\nid: ${this.#id}\n\n` : ': still here\n\n');
  }

  get #id(): string {
    return `${this.#options.feed.generation}/${this.#cursor}`;
  }
}
