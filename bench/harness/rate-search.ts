/**
 * The highest rate at which something holds without a fault: upwards until a rate fails twice, then twice between the last good and
 * the first bad one. Contestants are searched in turns, one try each, so that whatever drifts on the machine meets both alike.
 */

/** One try of a rate. */
export interface Attempt {
  readonly rate: number;
  /** What is wrong with it; empty when it counts. */
  readonly faults: readonly string[];
}

/** Rates that are tried one after the other, 1/s. */
export const RATE_STEPS = [5_000, 10_000, 20_000, 30_000, 40_000, 55_000, 70_000, 85_000, 100_000];

/** A search as a plan: yields a rate, is given what came of it, and ends in the best attempt (a failed one: none passed). */
export function* searchRate<T extends Attempt>(steps: readonly number[] = RATE_STEPS): Generator<number, T, T> {
  let good: T | undefined;
  let bad: T | undefined;
  for (const rate of steps) {
    const result: T = yield* twice<T>(rate);
    if (result.faults.length > 0) {
      bad = result;
      break;
    }
    good = result;
  }
  if (good === undefined) return bad!;
  for (let i = 0; i < 2 && bad !== undefined; i++) {
    const result: T = yield* twice<T>(Math.round((good.rate + bad.rate) / 2));
    if (result.faults.length > 0) bad = result;
    else good = result;
  }
  return good;
}

/** A machine that was disturbed for a moment gets a second chance. */
function* twice<T extends Attempt>(rate: number): Generator<number, T, T> {
  const first = yield rate;
  return first.faults.length === 0 ? first : yield rate;
}

export interface RateContestant<T extends Attempt> {
  readonly name: string;
  readonly steps?: readonly number[];
  attempt(rate: number): Promise<T>;
}

/** Searches for each contestant, in turns. The best attempts, in the contestants' order. */
export async function searchInTurns<T extends Attempt>(contestants: readonly RateContestant<T>[]): Promise<T[]> {
  const searches = contestants.map(({ steps, attempt }) => {
    const search = searchRate<T>(steps);
    return { search, attempt, next: search.next() as IteratorResult<number, T> };
  });
  for (let open = true; open; ) {
    open = false;
    for (const one of searches) {
      if (one.next.done) continue;
      one.next = one.search.next(await one.attempt(one.next.value));
      open = true;
    }
  }
  return searches.map(({ next }) => next.value as T);
}
