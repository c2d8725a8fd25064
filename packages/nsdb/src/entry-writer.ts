/** Coalesces a host's entry writes: one write is on its way, meanwhile the last value of each key waits. */
import { NsdbError } from './errors.ts';
import { checkEntry } from './interests.ts';
import type { OwnEntry } from './sessions.ts';

/** Entries in one write at most; keeps it far below a frame. */
const MAX_BATCH = 1_000;

interface Waiting {
  readonly entry: OwnEntry;
  readonly settle: ((error: unknown) => void)[];
}

export class EntryWriter {
  /** Answers for each entry undefined or its refusal; rejects if nothing was written. */
  readonly #write: (entries: readonly OwnEntry[]) => Promise<(NsdbError | undefined)[]>;
  readonly #waiting = new Map<string, Waiting>();
  #running = false;
  #closed: NsdbError | undefined;

  constructor(write: (entries: readonly OwnEntry[]) => Promise<(NsdbError | undefined)[]>) {
    this.#write = write;
  }

  put(table: string, key: string, value: string | null): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    try {
      checkEntry(table, key, value);
    } catch (error) {
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      const settle = (error: unknown) => (error === undefined ? resolve() : reject(error));
      const slot = `${table}\t${key}`;
      const earlier = this.#waiting.get(slot);
      // A value that was overtaken before it left is durable in the sense that matters: what follows it is.
      this.#waiting.set(slot, { entry: { table, key, value }, settle: [...(earlier?.settle ?? []), settle] });
      if (this.#running) return;
      this.#running = true;
      queueMicrotask(() => void this.#run());
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0) {
      const batch: Waiting[] = [];
      for (const [slot, waiting] of this.#waiting) {
        this.#waiting.delete(slot);
        if (batch.push(waiting) === MAX_BATCH) break;
      }
      try {
        const results = await this.#write(batch.map(({ entry }) => entry));
        batch.forEach(({ settle }, i) => {
          for (const done of settle) done(results[i]);
        });
      } catch (error) {
        for (const { settle } of batch) for (const done of settle) done(error);
      }
    }
    this.#running = false;
  }

  /** Resolves once nothing is waiting or on its way. */
  async drain(): Promise<void> {
    while (this.#running) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Refuses what waits and all that comes. */
  close(error = new NsdbError('WEFT_SESSION_LOST')): void {
    this.#closed = error;
    for (const { settle } of this.#waiting.values()) for (const done of settle) done(error);
    this.#waiting.clear();
  }
}
