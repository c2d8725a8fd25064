/** Hands batches to one subscriber: one at a time, in revision order, merging what arrives while it is busy. */
import type { Batch, Change, Interest, Revision } from '../contract.ts';
import { Pending } from './pending.ts';

export class Delivery {
  readonly #onBatch: (batch: Batch) => void | Promise<void>;
  readonly #pending = new Pending();
  #generation = '';
  #revision: Revision = 0;
  #handed: Revision = -1;
  #wanted = false;
  #running = false;
  #closed = false;

  constructor(onBatch: (batch: Batch) => void | Promise<void>) {
    this.#onBatch = onBatch;
  }

  /** Last revision handed out, or -1. */
  get handed(): Revision {
    return this.#handed;
  }

  /** Merges changes of a commit; nothing is handed out before `advance`. */
  merge(change: Change): void {
    this.#pending.add(change);
  }

  forget(interest: Interest): void {
    this.#pending.forget(interest);
  }

  /** Everything up to `revision` has been merged. With `mark`, hand it out even if there is nothing to say. */
  advance(generation: string, revision: Revision, mark: boolean): void {
    this.#generation = generation;
    this.#revision = revision;
    if (mark) this.#wanted = true;
    if (this.#running || this.#closed || (!this.#wanted && this.#pending.empty)) return;
    this.#running = true;
    queueMicrotask(() => void this.#run());
  }

  async #run(): Promise<void> {
    while (!this.#closed && (!this.#pending.empty || (this.#wanted && this.#handed !== this.#revision))) {
      this.#wanted = false;
      this.#handed = this.#revision;
      const batch = { generation: this.#generation, revision: this.#revision, changes: this.#pending.take() };
      try {
        await this.#onBatch(batch);
      } catch (error) {
        // A subscriber's own fault: make it loud, but do not let it stop the others or this one's next batch.
        void Promise.reject(error);
      }
    }
    this.#wanted = false;
    this.#running = false;
  }

  close(): void {
    this.#closed = true;
    this.#pending.take();
  }
}
