/**
 * One optimistic transaction over any back end: collects what was read (with versions) and what is to be written, and
 * turns it into node operations. Nothing is locked; whoever commits second on the same data is told to run again.
 *
 * A reference never touches its target's node: it checks the target's presence and rewrites the stamp of the index, which
 * deletion of the target has read. So ports come and go without waking those who watch their bridge.
 *
 * Longer than other files because reading, staging and the checks at the end share one set of private maps; taken apart,
 * each part would have to be shown the inside of the others.
 */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { POOL_OWNERS } from '../allocations/pool.ts';
import { Conflict, type NodeOp, type NodeStore, type StoreNode } from '../backend.ts';
import type { Revision, StoredObject, Transaction } from '../contract.ts';
import { NsdbError } from '../errors.ts';
import { checkEntry, checkId, TABLE_OWNERS, tableOwner } from '../interests.ts';
import { entryChanges } from './entries.ts';
import type { IncomingReference, ObjectModel, TypeSpec } from './model.ts';
import {
  droppedOwnerPath,
  idsOf,
  markerPath,
  objectPath,
  ownedPoolsPath,
  stampPath,
  tunnelKeyPath,
  uniquePath,
  withoutId,
} from './paths.ts';
import { allocateTunnelKey, type TunnelKeyRange } from './tunnel-keys.ts';

type Value = Record<string, unknown>;

export interface TransactionLimits {
  /** Objects and entries written at most. */
  readonly maxWrites: number;
  /** Bytes of their content at most. */
  readonly maxBytes: number;
}

export const DEFAULT_LIMITS: TransactionLimits = { maxWrites: 10_000, maxBytes: 4 * 2 ** 20 };

/** What all transactions of a store share. */
export interface TransactionContext {
  readonly store: NodeStore;
  readonly model: ObjectModel;
  readonly incoming: ReadonlyMap<string, readonly IncomingReference[]>;
  readonly limits: TransactionLimits;
  readonly tunnelKeys: TunnelKeyRange;
  passed(revision: Revision): Promise<boolean>;
  /** Called after a commit that deleted an owner of pools. */
  ownerDropped(kind: string, id: string): void;
}

interface Staged {
  readonly type: string;
  readonly id: string;
  /** As it was when the transaction first touched it; undefined: not there. */
  readonly before: { readonly version: Revision; readonly value: Value } | undefined;
  value: Value | null;
  bytes: number;
  /** Written by the caller, not merely cleared of a reference: rules across objects are checked. */
  direct: boolean;
}

export class ObjectTransaction implements Transaction {
  readonly #context: TransactionContext;
  /** Versions that must still hold; 'absent' for what was not there. */
  readonly #reads = new Map<string, Revision | 'absent'>();
  readonly #present = new Set<string>();
  readonly #staged = new Map<string, Staged>();
  /** Every object that was read in order to be written: the same one for two calls at once. */
  readonly #loaded = new Map<string, Staged>();
  readonly #reading = new Map<string, Promise<StoreNode | undefined>>();
  /** Changes to index sets that this transaction makes: stamp path → id → member or not. */
  readonly #indexDelta = new Map<string, Map<string, boolean>>();
  readonly #keys = new Map<number, 'held' | 'freed'>();
  readonly #entries: NodeOp[] = [];
  readonly #drops: NodeOp[] = [];
  readonly #droppedOwners: { readonly kind: string; readonly id: string }[] = [];
  #bytes = 0;
  #done = false;

  constructor(context: TransactionContext) {
    this.#context = context;
  }

  async get<T = Value>(type: string, id: string): Promise<StoredObject<T> | undefined> {
    this.#open(type);
    checkId(id);
    const staged = this.#staged.get(objectPath(type, id));
    if (staged !== undefined) {
      if (staged.value === null) return undefined;
      return { type, id, version: staged.before?.version ?? 0, value: structuredClone(staged.value) as T };
    }
    const node = await this.#read(objectPath(type, id));
    return node && { type, id, version: node.version, value: JSON.parse(node.json) as T };
  }

  async referrers(type: string, field: string, id: string): Promise<string[]> {
    const spec = this.#open(type);
    if (!spec.references.some((reference) => reference.field === field))
      throw new NsdbError('WEFT_UNKNOWN_TYPE', `${type}.${field} is not a reference`);
    checkId(id);
    const stamp = stampPath(type, field, id);
    // The stamp first: whoever changes the set after this point changes the version that is checked.
    await this.#read(stamp);
    const ids = new Set((await this.#context.store.children(stamp)).map(({ path }) => path.slice(stamp.length + 1)));
    for (const [member, present] of this.#indexDelta.get(stamp) ?? []) {
      if (present) ids.add(member);
      else ids.delete(member);
    }
    return [...ids];
  }

  async create<T = Value>(type: string, input: Value): Promise<T> {
    const spec = this.#open(type);
    const { tunnelKey: _, ...given } = input;
    const value = this.#validate(type, spec.tunnelKey ? given : input);
    const id = (value.id ??= randomUUID()) as string;
    checkId(id);
    const staged = await this.#load(type, id);
    if (staged.value !== null) throw new NsdbError('WEFT_DUPLICATE', `${type} ${id} exists already`);
    if (spec.tunnelKey) value.tunnelKey = await this.#allocateKey();
    if (staged.value !== null) throw new NsdbError('WEFT_DUPLICATE', `${type} ${id} is created twice`);
    staged.direct = true;
    this.#stage(staged, value);
    return structuredClone(value) as T;
  }

  async update<T = Value>(type: string, id: string, input: Value, ifVersion?: Revision): Promise<T> {
    const spec = this.#open(type);
    const current = await this.#current(type, id, ifVersion);
    const complete: Value = { ...input, id };
    if (input.id !== undefined && input.id !== id)
      throw new NsdbError('WEFT_INVALID', `${type} ${id}`, [{ property: 'id', message: 'cannot change' }]);
    if (spec.tunnelKey) complete.tunnelKey = current.value!.tunnelKey;
    const value = this.#validate(type, complete);
    current.direct = true;
    if (!isDeepStrictEqual(value, current.value)) this.#stage(current, value);
    return structuredClone(value) as T;
  }

  async delete(type: string, id: string, ifVersion?: Revision): Promise<void> {
    this.#open(type);
    await this.#remove(await this.#current(type, id, ifVersion));
  }

  putEntry(table: string, key: string, value: string): void {
    this.#usable();
    checkEntry(table, key, value);
    this.#entry({ op: 'putEntry', table, key, value, owner: null }, table.length + key.length + value.length);
  }

  deleteEntry(table: string, key: string): void {
    this.#usable();
    checkEntry(table, key, null);
    this.#entry({ op: 'removeEntry', table, key, owner: null }, table.length + key.length);
  }

  /** Commits. Rejects with `Conflict` when something that was read is no longer so. */
  async commit(): Promise<Revision> {
    this.#usable();
    const ops = await this.#compile();
    this.#done = true;
    const revision = await this.#context.store.commit(ops);
    for (const { kind, id } of this.#droppedOwners) this.#context.ownerDropped(kind, id);
    return revision;
  }

  /** Whether all that was read still holds: tells an error of the data from an error of a stale view. */
  async stillHolds(): Promise<boolean> {
    this.#done = true;
    try {
      await this.#context.store.commit(this.#checks());
      return true;
    } catch (error) {
      if (error instanceof Conflict) return false;
      throw error;
    }
  }

  // ---- reading ----

  /** The same path reads the same within one transaction, also if asked twice at once. */
  #read(path: string): Promise<StoreNode | undefined> {
    let reading = this.#reading.get(path);
    if (reading === undefined) {
      reading = (async () => {
        const node = await this.#context.store.get(path);
        this.#reads.set(path, node?.version ?? 'absent');
        return node;
      })();
      this.#reading.set(path, reading);
    }
    return reading;
  }

  async #load(type: string, id: string): Promise<Staged> {
    const path = objectPath(type, id);
    const node = await this.#read(path);
    let staged = this.#loaded.get(path);
    if (staged === undefined) {
      const before = node && { version: node.version, value: JSON.parse(node.json) as Value };
      staged = { type, id, before, value: before?.value ?? null, bytes: 0, direct: false };
      this.#loaded.set(path, staged);
    }
    return staged;
  }

  /** The object as this transaction sees it, ready to be staged anew. */
  async #current(type: string, id: string, ifVersion: Revision | undefined): Promise<Staged> {
    checkId(id);
    const staged = await this.#load(type, id);
    if (staged.value === null) throw new NsdbError('WEFT_NOT_FOUND', `There is no ${type} ${id}`);
    if (ifVersion !== undefined && staged.before?.version !== ifVersion)
      throw new NsdbError(
        'WEFT_VERSION_CONFLICT',
        `${type} ${id} is at version ${staged.before?.version ?? 0}, not ${ifVersion}`,
      );
    return staged;
  }

  #validate(type: string, input: Value): Value {
    const result = this.#context.model.validate(type, input);
    if (result.ok) return result.value;
    const shown = result.violations.slice(0, 3).map(({ property, message }) => `${property || 'value'}: ${message}`);
    throw new NsdbError('WEFT_INVALID', `${type}: ${shown.join('; ')}`, result.violations);
  }

  // ---- writing ----

  #stage(staged: Staged, value: Value | null): void {
    const { type, id } = staged;
    for (const { field } of this.#context.model.types[type].references) {
      const old = new Set(staged.value === null ? [] : idsOf(staged.value, field));
      const now = new Set(value === null ? [] : idsOf(value, field));
      for (const target of old) if (!now.has(target)) this.#note(stampPath(type, field, target), id, false);
      for (const target of now) if (!old.has(target)) this.#note(stampPath(type, field, target), id, true);
    }
    for (const op of entryChanges(this.#context.model.types[type], id, staged.value, value)) {
      this.#entry(op, op.table.length + op.key.length);
    }
    const path = objectPath(type, id);
    this.#staged.set(path, staged);
    staged.value = value;
    const bytes = path.length + (value === null ? 0 : JSON.stringify(value).length);
    this.#bytes += bytes - staged.bytes;
    staged.bytes = bytes;
    this.#bounded();
  }

  #note(stamp: string, id: string, present: boolean): void {
    let delta = this.#indexDelta.get(stamp);
    if (delta === undefined) this.#indexDelta.set(stamp, (delta = new Map()));
    delta.set(id, present);
  }

  #entry(op: NodeOp, bytes: number): void {
    this.#entries.push(op);
    this.#bytes += bytes;
    this.#bounded();
  }

  #bounded(): void {
    const { maxWrites, maxBytes } = this.#context.limits;
    const writes = this.#staged.size + this.#entries.length;
    if (writes > maxWrites)
      throw new NsdbError('WEFT_TOO_LARGE', `The transaction writes more than ${maxWrites} items`);
    if (this.#bytes > maxBytes) throw new NsdbError('WEFT_TOO_LARGE', `The transaction is above ${maxBytes} bytes`);
  }

  /** Deletes by the object model's rules; what refuses is looked at when the transaction ends. */
  async #remove(staged: Staged): Promise<void> {
    const { type, id, value } = staged;
    const key = value?.tunnelKey;
    this.#stage(staged, null);
    if (this.#context.model.types[type].tunnelKey && typeof key === 'number') this.#keys.set(key, 'freed');
    for (const [kind, owners] of Object.entries(TABLE_OWNERS))
      if (owners.includes(type)) this.#drops.push({ op: 'dropTable', table: `${kind}/${id}` });
    for (const [kind, owners] of Object.entries(POOL_OWNERS)) {
      if (!owners.includes(type) || (await this.#read(ownedPoolsPath(kind, id))) === undefined) continue;
      // The numbers may be many: they are cleared away afterwards, in steps.
      this.#drops.push({ op: 'put', path: droppedOwnerPath(kind, id), json: '' });
      this.#droppedOwners.push({ kind, id });
    }
    const followed = (this.#context.incoming.get(type) ?? []).filter(
      ({ onTargetDelete }) => onTargetDelete !== 'refuse',
    );
    const sets = await Promise.all(followed.map((reference) => this.referrers(reference.type, reference.field, id)));
    for (const [i, reference] of followed.entries()) {
      for (const referrer of sets[i]) {
        const held = await this.#current(reference.type, referrer, undefined).catch(absent);
        if (held === undefined || held.value === null) continue;
        if (reference.onTargetDelete === 'cascade') await this.#remove(held);
        else this.#stage(held, this.#validate(reference.type, withoutId(held.value, reference.field, id)));
      }
    }
  }

  async #allocateKey(): Promise<number> {
    const key = await allocateTunnelKey(
      this.#context.store,
      {
        read: (path) => this.#read(path),
        passed: (revision) => this.#context.passed(revision),
        taken: (candidate) => this.#keys.has(candidate),
      },
      this.#context.tunnelKeys,
    );
    this.#keys.set(key, 'held');
    return key;
  }

  // ---- ending ----

  async #compile(): Promise<NodeOp[]> {
    const claims = new Map<string, { staged: Staged; code: string; message: string | undefined }>();
    const releases = new Set<string>();
    const all = [...this.#staged.values()];
    await Promise.all(
      all.map((staged) => (staged.value === null ? this.#checkUnused(staged) : this.#checkReferences(staged))),
    );
    for (const staged of all) this.#collectUnique(staged, claims, releases);
    await Promise.all([...claims.keys()].map((path) => this.#read(path)));
    for (const [path, { staged, code, message }] of claims) {
      const node = await this.#read(path);
      if (node !== undefined && !releases.has(path)) {
        const { id } = JSON.parse(node.json) as { id: string };
        throw duplicate(staged, id, code, message);
      }
    }
    await this.#checkModel();
    await this.#checkTableOwners();

    const ops: NodeOp[] = [];
    for (const [path, { before, value, type, id }] of this.#staged) {
      if (value === null) {
        if (before !== undefined) ops.push({ op: 'remove', path });
      } else if (!isDeepStrictEqual(value, before?.value)) ops.push({ op: 'put', path, json: JSON.stringify(value) });
      if (typeof value?.tunnelKey === 'number' && this.#keys.get(value.tunnelKey) === 'held')
        ops.push({ op: 'put', path: tunnelKeyPath(value.tunnelKey), json: JSON.stringify({ type, id }) });
    }
    for (const [key, state] of this.#keys)
      if (state === 'freed') ops.push({ op: 'put', path: tunnelKeyPath(key), json: '' });
    for (const [stamp, delta] of this.#indexDelta) {
      ops.push({ op: 'put', path: stamp, json: '' });
      for (const [id, present] of delta)
        ops.push(
          present
            ? { op: 'put', path: markerPath(stamp, id), json: '' }
            : { op: 'remove', path: markerPath(stamp, id) },
        );
    }
    for (const path of releases) if (!claims.has(path)) ops.push({ op: 'remove', path });
    for (const [path, { staged }] of claims) ops.push({ op: 'put', path, json: JSON.stringify({ id: staged.id }) });
    ops.push(...this.#drops, ...this.#entries);
    return [...this.#checks(), ...ops];
  }

  #checks(): NodeOp[] {
    const checks: NodeOp[] = [];
    for (const [path, version] of this.#reads) checks.push({ op: 'check', path, version });
    for (const path of this.#present)
      if (!this.#reads.has(path)) checks.push({ op: 'check', path, version: 'present' });
    return checks;
  }

  async #checkReferences({ type, id, before, value }: Staged): Promise<void> {
    for (const { field, target } of this.#context.model.types[type].references) {
      const old = new Set(before === undefined ? [] : idsOf(before.value, field));
      for (const targetId of idsOf(value!, field)) {
        const path = objectPath(target, targetId);
        const staged = this.#staged.get(path);
        if (staged === undefined && old.has(targetId)) continue;
        checkId(targetId);
        if (staged === undefined && (await this.#context.store.get(path)) !== undefined) this.#present.add(path);
        else if (staged === undefined || staged.value === null) {
          // Recorded, so that the refusal is of a state that held.
          if (staged === undefined) await this.#read(path);
          throw new NsdbError('WEFT_REFERENCE', `${type} ${id}: ${field} names ${target} ${targetId}`, [
            { property: field, message: `there is no ${target} ${targetId}` },
          ]);
        }
      }
    }
  }

  async #checkUnused({ type, id, before }: Staged): Promise<void> {
    if (before === undefined) return;
    const refusing = (this.#context.incoming.get(type) ?? []).filter(
      ({ onTargetDelete }) => onTargetDelete === 'refuse',
    );
    const sets = await Promise.all(refusing.map((reference) => this.referrers(reference.type, reference.field, id)));
    for (const [i, reference] of refusing.entries()) {
      const [referrer] = sets[i];
      if (referrer !== undefined)
        throw new NsdbError('WEFT_IN_USE', `${type} ${id} is ${reference.field} of ${reference.type} ${referrer}`);
    }
  }

  #collectUnique(
    staged: Staged,
    claims: Map<string, { staged: Staged; code: string; message: string | undefined }>,
    releases: Set<string>,
  ): void {
    const { type, before, value } = staged;
    for (const unique of this.#context.model.types[type].unique) {
      const old = before && uniquePath(type, unique, before.value);
      const now = value === null ? undefined : uniquePath(type, unique, value);
      if (old === now) continue;
      if (old !== undefined) releases.add(old);
      if (now === undefined) continue;
      const code = unique.code ?? 'WEFT_DUPLICATE';
      const message = unique.message ?? `another ${type} has the same ${unique.fields.join(', ')}`;
      const rival = claims.get(now);
      if (rival !== undefined) throw duplicate(staged, rival.staged.id, code, message);
      claims.set(now, { staged, code, message });
    }
  }

  async #checkModel(): Promise<void> {
    const { model } = this.#context;
    if (model.check === undefined) return;
    const lookup = {
      get: async (type: string, id: string) => (await this.get(type, id))?.value,
      referrers: (type: string, field: string, id: string) => this.referrers(type, field, id),
    };
    for (const { type, id, value, before, direct } of [...this.#staged.values()]) {
      if (value === null || !direct) continue;
      const result = await model.check(type, value, lookup, before?.value);
      if (!result.ok) throw NsdbError.of(result.code, `${type} ${id}: ${result.message}`, result.violations);
    }
  }

  async #checkTableOwners(): Promise<void> {
    const seen = new Set<string>();
    for (const op of this.#entries) {
      if (op.op !== 'putEntry' || seen.has(op.table)) continue;
      seen.add(op.table);
      const { kind, id } = tableOwner(op.table);
      const owners = TABLE_OWNERS[kind];
      if (owners === undefined) continue;
      let found = false;
      for (const type of owners) if (type in this.#context.model.types && (await this.#exists(type, id))) found = true;
      if (!found)
        throw new NsdbError('WEFT_NOT_FOUND', `State table ${op.table} has no owner: no ${owners.join(' or ')} ${id}`);
    }
  }

  async #exists(type: string, id: string): Promise<boolean> {
    const path = objectPath(type, id);
    const staged = this.#staged.get(path);
    if (staged !== undefined) return staged.value !== null;
    if ((await this.#context.store.get(path)) !== undefined) {
      this.#present.add(path);
      return true;
    }
    await this.#read(path);
    return false;
  }

  #open(type: string): TypeSpec {
    this.#usable();
    if (!Object.hasOwn(this.#context.model.types, type))
      throw new NsdbError('WEFT_UNKNOWN_TYPE', `"${String(type).slice(0, 100)}" is not an object type`);
    return this.#context.model.types[type];
  }

  #usable(): void {
    if (this.#done)
      throw new NsdbError('WEFT_INVALID', 'The transaction has ended; its object cannot be used any longer');
  }
}

function absent(error: unknown): undefined {
  if (error instanceof NsdbError && error.code === 'WEFT_NOT_FOUND') return undefined;
  throw error;
}

function duplicate({ type, id }: Staged, holder: string, code: string, message: string | undefined): NsdbError {
  return NsdbError.of(code, `${type} ${id}: ${message} (${type} ${holder})`);
}
