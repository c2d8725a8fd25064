/**
 * What changed, for `GET /events`: one subscription to the database for all who listen, and the latest changes kept, so that
 * a listener who was away for a moment goes on where it was. Each listener walks along the kept changes at its own pace:
 * a slow one costs nothing, until the changes it stands at are forgotten.
 */
import type { Batch, Change, Nsdb, Revision, StoredObject, Subscription } from '@weft/nsdb';
import { OBJECT_TYPES, type TypeName } from '@weft/topology';
import { ownershipOf } from '../tenancy/ownership.ts';
import { Owners } from './owners.ts';

export interface ChangeRecord {
  readonly type: TypeName;
  readonly id: string;
  readonly change: 'created' | 'updated' | 'deleted';
  /** Whose it is (was, if deleted); null: the operator's. */
  readonly tenantId: string | null;
  /** Where the object's URI depends on another id: the parent's. */
  readonly parents: Readonly<Record<string, string>>;
}

/** Changes that became visible together. */
export interface ChangeBatch {
  readonly revision: Revision;
  readonly records: readonly ChangeRecord[];
}

export interface FeedOptions {
  /** Changes kept for those who come back. Default 20,000. */
  readonly keep?: number;
  /** How long the feed goes on without listeners, in ms. Default a minute: as long, a listener that lost its link finds its place. */
  readonly linger?: number;
}

/** Types that are told of. */
export const FEED_TYPES: readonly TypeName[] = (Object.keys(OBJECT_TYPES) as TypeName[]).filter(
  (type) => !OBJECT_TYPES[type].private,
);

export class ChangeFeed {
  readonly #nsdb: Nsdb;
  readonly #keep: number;
  readonly #linger: number;
  readonly #listeners = new Set<() => void>();
  #subscription: Subscription | undefined;
  #started: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #owners = new Owners();
  #batches: ChangeBatch[] = [];
  #records = 0;
  /** Everything after this revision is kept. */
  #floor: Revision = 0;
  #revision: Revision = 0;
  #generation = '';

  constructor(nsdb: Nsdb, { keep = 20_000, linger = 60_000 }: FeedOptions = {}) {
    this.#nsdb = nsdb;
    this.#keep = keep;
    this.#linger = linger;
  }

  /** Everything up to here has been told. */
  get revision(): Revision {
    return this.#revision;
  }

  get generation(): string {
    return this.#generation;
  }

  /** Calls `wake` whenever there may be more; resolves with the way to stop once the feed stands at a revision. */
  async listen(wake: () => void): Promise<() => void> {
    clearTimeout(this.#timer);
    this.#listeners.add(wake);
    this.#started ??= this.#start();
    await this.#started;
    return () => {
      this.#listeners.delete(wake);
      if (this.#listeners.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.close(), this.#linger);
      this.#timer.unref();
    };
  }

  /** Is every change after `revision` still known? */
  reaches(generation: string, revision: Revision): boolean {
    return generation === this.#generation && revision >= this.#floor && revision <= this.#revision;
  }

  /** The first batch after `revision`; undefined: none yet, or (see `reaches`) forgotten. */
  after(revision: Revision): ChangeBatch | undefined {
    let [low, high] = [0, this.#batches.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#batches[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#batches[low];
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#subscription?.close();
    this.#subscription = undefined;
    this.#started = undefined;
    this.#batches = [];
    this.#records = 0;
    this.#owners = new Owners();
  }

  #start(): Promise<void> {
    return new Promise((resolve) => {
      let first = true;
      this.#subscription = this.#nsdb.subscribe({
        onBatch: (batch) => {
          // Before the first content there may be marks, which say nothing yet.
          if (first && batch.changes.length === 0) return;
          if (first || batch.generation !== this.#generation) {
            this.#takeAsStart(batch);
            first = false;
            resolve();
          } else this.#take(batch);
          for (const wake of this.#listeners) wake();
        },
      });
      this.#subscription.add(FEED_TYPES.map((type) => `a/${type}`));
    });
  }

  /** The state to count from: nothing in it is a change. */
  #takeAsStart({ generation, revision, changes }: Batch): void {
    this.#owners = new Owners();
    for (const { object } of upserts(changes)) this.#owners.put(object);
    this.#generation = generation;
    this.#batches = [];
    this.#records = 0;
    this.#floor = this.#revision = revision;
  }

  #take({ revision, changes }: Batch): void {
    const records: ChangeRecord[] = [];
    const gone = removals(changes, this.#owners);
    // Whose the deleted were can be told only as long as their parents are known.
    for (const [type, id] of gone) records.push(this.#record(type, id, 'deleted'));
    const fresh: [StoredObject, 'created' | 'updated'][] = [];
    for (const { object } of upserts(changes)) {
      const known = this.#owners.version(object.type, object.id);
      if (known !== object.version) fresh.push([object, known === undefined ? 'created' : 'updated']);
    }
    for (const [type, id] of gone) this.#owners.delete(type, id);
    for (const [object] of fresh) this.#owners.put(object);
    for (const [{ type, id }, change] of fresh) records.push(this.#record(type, id, change));
    this.#revision = revision;
    if (records.length === 0) return;
    this.#batches.push({ revision, records });
    this.#records += records.length;
    while (this.#records > this.#keep) {
      const forgotten = this.#batches.shift()!;
      this.#records -= forgotten.records.length;
      this.#floor = forgotten.revision;
    }
  }

  #record(type: string, id: string, change: ChangeRecord['change']): ChangeRecord {
    const tenantId = ownershipOf(type).kind === 'operator' ? null : this.#owners.tenantOf(type, id);
    return { type: type as TypeName, id, change, tenantId, parents: this.#owners.parentsOf(type, id) };
  }
}

function* upserts(changes: readonly Change[]): Generator<{ object: StoredObject }> {
  for (const change of changes) {
    if (change.kind === 'objects') for (const object of change.upserts) yield { object };
  }
}

/** What is gone: named as removed, or missing in a whole content that came anew after the link to the store was away. */
function removals(changes: readonly Change[], owners: Owners): [type: string, id: string][] {
  const gone: [string, string][] = [];
  for (const change of changes) {
    if (change.kind !== 'objects') continue;
    const type = change.interest.slice(2);
    for (const id of change.removed) if (owners.version(type, id) !== undefined) gone.push([type, id]);
    if (!change.reset) continue;
    const present = new Set(change.upserts.map(({ id }) => id));
    for (const id of owners.idsOf(type)) if (!present.has(id)) gone.push([type, id]);
  }
  return gone;
}
