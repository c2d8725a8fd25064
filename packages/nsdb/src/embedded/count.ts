/** How many nodes there are, counted in slices, so that nobody who waits for the store waits for the counting. */
import { setImmediate } from 'node:timers/promises';
import type { Database } from 'lmdb';
import { prefixEnd } from './keys.ts';

/** Keys that are looked at in one turn of the event loop: some milliseconds. */
const SLICE = 5_000;

/**
 * Counts the keys below `root/` by the part that follows it. What is written meanwhile may count or not. `check` is called before each slice, and
 * throws to end it.
 */
export async function countBelow(
  nodes: Database<string, string>,
  root: string,
  check: () => void,
): Promise<Record<string, number>> {
  const prefix = `${root}/`;
  const counts: Record<string, number> = {};
  for (let start = prefix; ; ) {
    check();
    let last: string | undefined;
    let seen = 0;
    for (const key of nodes.getKeys({ start, exclusiveStart: true, end: prefixEnd(prefix), limit: SLICE })) {
      const kind = key.slice(prefix.length, key.indexOf('/', prefix.length));
      counts[kind] = (counts[kind] ?? 0) + 1;
      last = key;
      seen++;
    }
    if (last === undefined || seen < SLICE) return counts;
    start = last;
    await setImmediate();
  }
}
