/** What an implementation brings to the compliance suite, and the tools that the suite's tests share. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Batch, Interest, Nsdb, Revision, StoredObject, Subscription, TableEntry } from '../contract.ts';

export interface HarnessOptions {
  /** Grace time of host sessions, ms. */
  readonly grace?: number;
  /** Range of tunnel keys. */
  readonly tunnelKeys?: { readonly first: number; readonly last: number };
  /** What the store's clock is made from. */
  readonly clock?: TestClock;
}

/** A clock that stands until it is told to go on. */
export class TestClock {
  #now = 1_700_000_000_000;
  readonly wall = (): number => this.#now;
  readonly steady = (): number => this.#now;

  advance(ms: number): void {
    this.#now += ms;
  }
}

/** One store, empty at the start. */
export interface Harness {
  /** A handle for the test. */
  readonly nsdb: Nsdb;
  /** Another handle on the same store, as another process would have it. */
  another(): Promise<Nsdb>;
  /** Breaks all links between handles and store, which come back by themselves. Absent: there are no links. */
  cut?(): Promise<void>;
  /** Keeps all handles from the store, which runs on, until the returned function is called. */
  isolate?(): Promise<() => Promise<void>>;
  /** Stops the serving process and starts it again on the same data. Absent: handles do not outlive the store. */
  restart?(): Promise<void>;
  /** Like `restart`, with the store away until the returned function is called. */
  down?(): Promise<() => Promise<void>>;
  /** Why `restart` and `down` are absent, if not because handles of this implementation do not outlive the store. */
  readonly lacks?: string;
  close(): Promise<void>;
}

/** Says of a skipped test why. */
export function cannotRestart({ lacks }: Harness): string {
  return lacks ?? 'handles of this implementation do not outlive the store';
}

export type Factory = (options?: HarnessOptions) => Promise<Harness>;

/** Waits for a condition; the deadline only ends a test that has failed already. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(`never came true: ${what}`);
    await sleep(3);
  }
}

/** Asserts that a promise rejects with this code, and returns the error. */
export async function refused(promise: Promise<unknown>, code: string): Promise<Error & { violations: unknown[] }> {
  let failure: unknown;
  try {
    await promise;
  } catch (error) {
    failure = error;
  }
  assert.ok(failure instanceof Error, `expected ${code}, but it succeeded`);
  assert.equal((failure as Error & { code?: string }).code, code, String(failure.stack));
  return failure as Error & { violations: unknown[] };
}

/** A subscriber that applies batches as the contract says, and checks what each batch must obey. */
export class Watcher {
  readonly objects = new Map<Interest, StoredObject | null>();
  readonly sets = new Map<Interest, Set<string>>();
  readonly all = new Map<Interest, Map<string, StoredObject>>();
  readonly tables = new Map<Interest, Map<string, TableEntry>>();
  readonly batches: Batch[] = [];
  readonly links: boolean[] = [];
  readonly subscription: Subscription;
  revision: Revision = -1;
  generation = '';
  /** Called after each batch has been applied; a slow one makes the store merge. */
  afterBatch: (batch: Batch) => void | Promise<void> = () => {};
  #busy = false;
  /** First assertion that a batch failed; told to the test by `reached` and `close`. */
  #broken: assert.AssertionError | undefined;

  constructor(nsdb: Nsdb, interests: Interest[]) {
    this.subscription = nsdb.subscribe({
      onBatch: (batch) =>
        this.#apply(batch).catch((error) => {
          if (!(error instanceof assert.AssertionError)) throw error;
          this.#broken ??= error;
        }),
      onLink: (up) => {
        this.links.push(up);
      },
    });
    this.subscription.add(interests);
  }

  async #apply(batch: Batch): Promise<void> {
    assert.equal(this.#busy, false, 'two batches at once');
    if (batch.generation === this.generation)
      assert.ok(batch.revision >= this.revision, `revision ${batch.revision} after ${this.revision}`);
    this.#busy = true;
    this.generation = batch.generation;
    this.revision = batch.revision;
    this.batches.push(batch);
    for (const change of batch.changes) {
      const { interest } = change;
      if (change.kind === 'object') {
        this.objects.set(interest, change.object);
        continue;
      }
      if (change.kind === 'index') {
        const set = change.reset ? new Set<string>() : this.sets.get(interest);
        assert.ok(set, `${interest} did not begin with a reset`);
        for (const id of change.added) set.add(id);
        for (const id of change.removed) set.delete(id);
        this.sets.set(interest, set);
      } else if (change.kind === 'objects') {
        const map = change.reset ? new Map<string, StoredObject>() : this.all.get(interest);
        assert.ok(map, `${interest} did not begin with a reset`);
        for (const object of change.upserts) map.set(object.id, object);
        for (const id of change.removed) map.delete(id);
        this.all.set(interest, map);
      } else {
        const map = change.reset ? new Map<string, TableEntry>() : this.tables.get(interest);
        assert.ok(map, `${interest} did not begin with a reset`);
        for (const entry of change.upserts) map.set(entry.key, entry);
        for (const key of change.removed) map.delete(key);
        this.tables.set(interest, map);
      }
    }
    try {
      await this.afterBatch(batch);
    } finally {
      this.#busy = false;
    }
  }

  reached(revision: Revision): Promise<void> {
    return until(() => {
      if (this.#broken !== undefined) throw this.#broken;
      return this.revision >= revision;
    }, `watcher at revision ${revision} (is at ${this.revision})`);
  }

  close(): void {
    this.subscription.close();
    if (this.#broken !== undefined) throw this.#broken;
  }
}

/** Shorthands over the object model. */
export async function newBridge(nsdb: Nsdb, name = 'bridge'): Promise<string> {
  return (await nsdb.transact((tx) => tx.create<{ id: string }>('Bridge', { name }))).result.id;
}

export async function newPort(nsdb: Nsdb, bridgeId: string, fields: Record<string, unknown> = {}): Promise<string> {
  return (await nsdb.transact((tx) => tx.create<{ id: string }>('Port', { bridgeId, ...fields }))).result.id;
}

export async function newHost(nsdb: Nsdb): Promise<string> {
  const id = randomUUID();
  await nsdb.transact((tx) => tx.create('Host', { id, name: `host-${id.slice(0, 8)}` }));
  return id;
}

export async function update(nsdb: Nsdb, type: string, id: string, fields: Record<string, unknown>): Promise<Revision> {
  const { revision } = await nsdb.transact(async (tx) => {
    const stored = await tx.get(type, id);
    await tx.update(type, id, { ...stored!.value, ...fields });
  });
  return revision;
}

/** Runs `body` on a fresh store and takes it down whatever happens. */
export function on(factory: Factory, body: (harness: Harness) => Promise<void>, options?: HarnessOptions) {
  return async (): Promise<void> => {
    const harness = await factory(options);
    try {
      await body(harness);
    } finally {
      await harness.close();
    }
  };
}
