/**
 * What the state database delivered, as delivered, by interest. Missing (never delivered) and absent (delivered as null or
 * empty) are different things here; everything compiled derives from this.
 */
import type { Change } from '../contract.ts';

type Value = Record<string, unknown>;

export class Raw {
  /** `o/…` → value, or null: absent. */
  readonly objects = new Map<string, Value | null>();
  /** `i/…` → ids. */
  readonly indexes = new Map<string, Set<string>>();
  /** `t/…` → key → value. */
  readonly tables = new Map<string, Map<string, string>>();

  /** Takes a change in; false if its kind of interest is none that the view uses. */
  take(change: Change): boolean {
    const { interest } = change;
    switch (change.kind) {
      case 'object':
        this.objects.set(interest, change.object === null ? null : change.object.value);
        return true;
      case 'index': {
        const set = change.reset ? new Set<string>() : (this.indexes.get(interest) ?? new Set<string>());
        for (const id of change.removed) set.delete(id);
        for (const id of change.added) set.add(id);
        this.indexes.set(interest, set);
        return true;
      }
      case 'table': {
        const table = change.reset
          ? new Map<string, string>()
          : (this.tables.get(interest) ?? new Map<string, string>());
        for (const key of change.removed) table.delete(key);
        for (const entry of change.upserts) table.set(entry.key, entry.value);
        this.tables.set(interest, table);
        return true;
      }
      default:
        return false;
    }
  }

  has(interest: string): boolean {
    return this.objects.has(interest) || this.indexes.has(interest) || this.tables.has(interest);
  }

  forget(interest: string): void {
    this.objects.delete(interest);
    this.indexes.delete(interest);
    this.tables.delete(interest);
  }

  interests(): string[] {
    return [...this.objects.keys(), ...this.indexes.keys(), ...this.tables.keys()];
  }
}

/** `kind/name/id` → its parts; null if it has another form. */
export function parseInterest(interest: string): { kind: string; name: string; id: string } | null {
  const first = interest.indexOf('/');
  const second = interest.indexOf('/', first + 1);
  if (first < 0 || second < 0) return null;
  return { kind: interest.slice(0, first), name: interest.slice(first + 1, second), id: interest.slice(second + 1) };
}
