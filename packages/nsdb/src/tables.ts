/** Which of several entries of one key counts. */
import type { TableEntry } from './contract.ts';

/** Learned beats persistent; among equals the highest version wins, and then, for a total order, the higher owner. */
function beats(a: TableEntry, b: TableEntry): boolean {
  if ((a.owner === null) !== (b.owner === null)) return a.owner !== null;
  if (a.version !== b.version) return a.version > b.version;
  return (a.owner ?? '') > (b.owner ?? '');
}

/** The winning entry of each key. */
export function winners(entries: Iterable<TableEntry>): Map<string, TableEntry> {
  const best = new Map<string, TableEntry>();
  for (const entry of entries) {
    const rival = best.get(entry.key);
    if (rival === undefined || beats(entry, rival)) best.set(entry.key, entry);
  }
  return best;
}
