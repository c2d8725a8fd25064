/**
 * Contestants take turns (A B C, C B A, A B C, …), so that whatever drifts on the machine meets all of them alike, and
 * medians are compared.
 */
import type { Sample } from './result.ts';
import { sampleOf } from './statistics.ts';

export interface Contestant<T> {
  readonly name: string;
  measure(): Promise<T>;
}

/** All measurements of each contestant, by name, in the order in which they were made. */
export async function takeTurns<T>(contestants: readonly Contestant<T>[], rounds: number): Promise<Map<string, T[]>> {
  const taken = new Map<string, T[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? contestants : [...contestants].reverse();
    for (const contestant of order) taken.get(contestant.name)!.push(await contestant.measure());
  }
  return taken;
}

/** One number of each measurement, as samples by contestant. */
export function samplesOf<T>(
  taken: ReadonlyMap<string, readonly T[]>,
  pick: (value: T) => number,
): Map<string, Sample> {
  return new Map([...taken].map(([name, values]) => [name, sampleOf(values.map(pick))]));
}
