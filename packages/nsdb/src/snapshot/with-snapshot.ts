/**
 * Keeps what a subscriber knows on disk, so that it can start while the store is away.
 *
 * Until the first batch from the store, and only if the link is down, interests are served from the file: all of one
 * revision. The first batch brings everything that is wanted anew, and the file then follows the live content; what was on
 * file and is not wanted by then is dropped, because it would be of another revision than the rest.
 */
import { join } from 'node:path';
import type { Batch, Interest, Nsdb, SubscribeOptions, Subscription } from '../contract.ts';
import { NsdbError } from '../errors.ts';
import { Pending } from '../subscription/pending.ts';
import { type Snapshot, SnapshotFile } from './snapshot-file.ts';

export interface SnapshotOptions {
  /** Directory of the files (mode 0700, files 0600). */
  readonly dir: string;
  /** Told when a file cannot be written; the subscription goes on without. Default: a process warning. */
  onError?(error: Error): void;
}

/** The same database, whose subscriptions with a `snapshot` name are kept on disk. */
export function withSnapshot(nsdb: Nsdb, options: SnapshotOptions): Nsdb {
  const open = new Set<SnapshotSubscription>();
  return {
    get generation() {
      return nsdb.generation;
    },
    get: (type, id) => nsdb.get(type, id),
    list: (type) => nsdb.list(type),
    referrers: (type, field, id) => nsdb.referrers(type, field, id),
    entries: (table) => nsdb.entries(table),
    transact: (body) => nsdb.transact(body),
    openSession: (hostId) => nsdb.openSession(hostId),
    revision: () => nsdb.revision(),
    convergence: () => nsdb.convergence(),
    poolUsage: (pool) => nsdb.poolUsage(pool),
    size: () => nsdb.size(),
    subscribe(wanted) {
      if (wanted.snapshot === undefined) return nsdb.subscribe(wanted);
      const subscription: SnapshotSubscription = new SnapshotSubscription(nsdb, wanted, options, () =>
        open.delete(subscription),
      );
      open.add(subscription);
      return subscription;
    },
    async close() {
      const files = [...open].map((subscription) => subscription.end());
      await nsdb.close();
      await Promise.all(files);
    },
  };
}

class SnapshotSubscription implements Subscription {
  readonly #options: SubscribeOptions;
  readonly #file: SnapshotFile;
  readonly #inner: Subscription;
  readonly #interests = new Set<Interest>();
  readonly #onClose: () => void;
  /** What the file held at start; gone once the store has spoken. */
  #stored: Snapshot | undefined;
  #offline = false;
  #live: { generation: string; revision: number; content: Pending } | undefined;
  #tail: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(nsdb: Nsdb, wanted: SubscribeOptions, options: SnapshotOptions, onClose: () => void) {
    const name = wanted.snapshot!;
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
      throw new NsdbError('WEFT_INVALID', `"${name}" cannot name a snapshot`);
    this.#options = wanted;
    this.#onClose = onClose;
    this.#file = new SnapshotFile(
      join(options.dir, `${name}.snapshot`),
      options.onError ?? ((error) => process.emitWarning(`Snapshot ${name}: ${error.message}`)),
    );
    this.#stored = this.#file.load();
    const { snapshot: _, ...rest } = wanted;
    this.#inner = nsdb.subscribe({
      ...rest,
      onBatch: (batch) => this.#receive(batch),
      onLink: (up) => {
        wanted.onLink?.(up);
        if (!up && this.#stored !== undefined && !this.#offline) {
          this.#offline = true;
          this.#serve([...this.#interests]);
        }
      },
    });
  }

  get bytesReceived(): number {
    return this.#inner.bytesReceived;
  }

  add(interests: Iterable<Interest>): void {
    const fresh = [...interests].filter((interest) => !this.#interests.has(interest));
    this.#inner.add(fresh);
    for (const interest of fresh) this.#interests.add(interest);
    if (this.#offline) this.#serve(fresh);
  }

  remove(interests: Iterable<Interest>): void {
    const gone = [...interests].filter((interest) => this.#interests.delete(interest));
    this.#inner.remove(gone);
    if (this.#live === undefined || gone.length === 0) return;
    const { generation, revision, content } = this.#live;
    for (const interest of gone) content.forget(interest);
    this.#file.append({ generation, revision, changes: [], forget: gone }, content);
  }

  close(): void {
    void this.end();
  }

  async end(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose();
    this.#inner.close();
    await this.#file.close();
  }

  /** Hands out content from the file, behind what was handed out before. */
  #serve(interests: Interest[]): void {
    this.#enqueue(async () => {
      if (this.#stored === undefined) return; // the store has spoken meanwhile
      const { generation, revision, content } = this.#stored;
      const changes = content.peek(interests.filter((interest) => this.#interests.has(interest)));
      if (changes.length > 0) await this.#options.onBatch({ generation, revision, changes, fromSnapshot: true });
    });
  }

  #receive(batch: Batch): Promise<void> {
    this.#offline = false;
    this.#stored = undefined;
    const first = this.#live === undefined;
    const content = this.#live?.content ?? new Pending();
    const { generation, revision, changes } = batch;
    this.#live = { generation, revision, content };
    for (const change of changes) if (this.#interests.has(change.interest)) content.add(change);
    if (changes.length > 0 || first) this.#file.append({ generation, revision, changes }, content);
    return this.#enqueue(async () => {
      if (this.#closed) return;
      const wanted = changes.filter(({ interest }) => this.#interests.has(interest));
      await this.#options.onBatch(wanted.length === changes.length ? batch : { ...batch, changes: wanted });
    });
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => {});
    return done;
  }
}
