/** Upcalls that executions cause while nobody polls: few (too big, TTL), so they may be copied. Bounded. */
import type { Upcall } from '../contract.ts';

const LIMIT = 1024;

export class UpcallQueue {
  #items: Upcall[] = [];

  /** Keeps a copy. False if the queue is full. */
  push(u: Upcall): boolean {
    if (this.#items.length === LIMIT) return false;
    this.#items.push({ ...u, key: u.key.slice(), frame: u.frame.slice(), vnetHeader: u.vnetHeader.slice() });
    return true;
  }

  shift(): Upcall | undefined {
    return this.#items.shift();
  }
}
