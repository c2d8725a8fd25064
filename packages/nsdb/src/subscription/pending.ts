/**
 * What a subscriber has not been handed yet, merged (or, where every interest began with its whole content, a mirror of it). Whole commits go in, whole batches come out: whatever is taken out
 * between two calls of the owner shows all of a commit or none.
 */
import type { Change, Interest, StoredObject, TableEntry } from '../contract.ts';

type Slot =
  | { kind: 'object'; object: StoredObject | null }
  | { kind: 'objects'; reset: boolean; items: Map<string, StoredObject | null> }
  | { kind: 'index'; reset: boolean; items: Map<string, true | null> }
  | { kind: 'table'; reset: boolean; items: Map<string, TableEntry | null> };

export class Pending {
  readonly #slots = new Map<Interest, Slot>();

  get empty(): boolean {
    return this.#slots.size === 0;
  }

  /** Merges one change behind what is already there. */
  add(change: Change): void {
    const { interest } = change;
    if (change.kind === 'object') {
      this.#slots.set(interest, { kind: 'object', object: change.object });
      return;
    }
    let slot = this.#slots.get(interest);
    if (change.reset || slot === undefined || slot.kind !== change.kind) {
      slot = { kind: change.kind, reset: change.reset, items: new Map() } as Slot;
      this.#slots.set(interest, slot);
    }
    if (change.kind === 'objects' && slot.kind === 'objects') {
      for (const id of change.removed) drop(slot, id);
      for (const object of change.upserts) slot.items.set(object.id, object);
    } else if (change.kind === 'index' && slot.kind === 'index') {
      for (const id of change.removed) drop(slot, id);
      for (const id of change.added) slot.items.set(id, true);
    } else if (change.kind === 'table' && slot.kind === 'table') {
      for (const key of change.removed) drop(slot, key);
      for (const entry of change.upserts) slot.items.set(entry.key, entry);
    }
  }

  forget(interest: Interest): void {
    this.#slots.delete(interest);
  }

  /** The interests of which something is there. */
  interests(): Interest[] {
    return [...this.#slots.keys()];
  }

  /** What is there of these interests (default: of all), left in place. */
  peek(interests: Iterable<Interest> = this.#slots.keys()): Change[] {
    const changes: Change[] = [];
    for (const interest of interests) {
      const slot = this.#slots.get(interest);
      if (slot !== undefined) changes.push(toChange(interest, slot));
    }
    return changes;
  }

  /** Takes everything out. */
  take(): Change[] {
    const changes = this.peek();
    this.#slots.clear();
    return changes;
  }
}

function toChange(interest: Interest, slot: Slot): Change {
  switch (slot.kind) {
    case 'object':
      return { interest, kind: 'object', object: slot.object };
    case 'objects':
      return { interest, kind: 'objects', reset: slot.reset, ...split(slot.items) };
    case 'table':
      return { interest, kind: 'table', reset: slot.reset, ...split(slot.items) };
    case 'index': {
      const added: string[] = [];
      const removed: string[] = [];
      for (const [id, present] of slot.items) (present ? added : removed).push(id);
      return { interest, kind: 'index', reset: slot.reset, added, removed };
    }
  }
}

/** After a reset nothing need be said of what is not there. */
function drop(slot: { reset: boolean; items: Map<string, unknown> }, key: string): void {
  if (slot.reset) slot.items.delete(key);
  else slot.items.set(key, null);
}

function split<T>(items: Map<string, T | null>): { upserts: T[]; removed: string[] } {
  const upserts: T[] = [];
  const removed: string[] = [];
  for (const [key, item] of items) {
    if (item === null) removed.push(key);
    else upserts.push(item);
  }
  return { upserts, removed };
}
