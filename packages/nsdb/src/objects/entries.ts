/** State-table entries that are there because of an object: each is owned by it, so that those of two objects do not meet. */
import type { NodeOp } from '../backend.ts';
import type { TypeSpec } from './model.ts';

type Value = Record<string, unknown>;
type EntryOp = Extract<NodeOp, { readonly op: 'putEntry' | 'removeEntry' }>;

/** What brings the entries of an object from one value to the next; null: not there. */
export function entryChanges(spec: TypeSpec, owner: string, before: Value | null, after: Value | null): EntryOp[] {
  if (spec.entries === undefined) return [];
  const old = keysOf(spec, before);
  const now = keysOf(spec, after);
  const changes: EntryOp[] = [];
  for (const [path, { table, key }] of old) if (!now.has(path)) changes.push({ op: 'removeEntry', table, key, owner });
  for (const [path, { table, key }] of now) {
    if (!old.has(path)) changes.push({ op: 'putEntry', table, key, value: '', owner });
  }
  return changes;
}

function keysOf(spec: TypeSpec, value: Value | null) {
  return new Map((value === null ? [] : spec.entries!(value)).map((entry) => [`${entry.table} ${entry.key}`, entry]));
}
