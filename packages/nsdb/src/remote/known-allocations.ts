/**
 * The numbers that a client's session knows to hold, so that it can say so to a store that has been restored from a backup,
 * which may have forgotten some of them.
 */
import type { Claim } from '../allocations/allocations.ts';
import type { Allocation } from '../contract.ts';

export class KnownAllocations {
  readonly #held = new Map<string, Claim>();
  /** Generation of the store that has told of them. */
  #generation: string | undefined;
  /** Whether these are all, also those of earlier starts of the host. */
  #isComplete = false;

  /** What the store has given. */
  add(generation: string, given: readonly Claim[]): void {
    this.#generation = generation;
    for (const claim of given) this.#held.set(keyOf(claim), claim);
  }

  /** All that the store says this host holds. */
  replace(generation: string, held: readonly Claim[]): void {
    this.#held.clear();
    this.add(generation, held);
    this.#isComplete = true;
  }

  /** About to be given back: whatever comes of the call, the host does not use them any more. */
  drop(released: readonly Allocation[]): void {
    for (const allocation of released) {
      const key = keyOf(allocation);
      if (this.#held.get(key)?.token === allocation.token) this.#held.delete(key);
    }
  }

  /** What to claim from a store of this generation; undefined: nothing, it is the one that told of them. */
  claims(generation: string): { claims: Claim[]; complete: boolean } | undefined {
    if (this.#generation === undefined || this.#generation === generation) return undefined;
    return { claims: [...this.#held.values()], complete: this.#isComplete };
  }

  /** A store of this generation has heard the claims. */
  claimed(generation: string): void {
    this.#generation = generation;
  }
}

function keyOf({ pool, index }: Allocation): string {
  return `${pool}/${index}`;
}
