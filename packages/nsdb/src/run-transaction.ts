/** The retry loop of `transact`, the same for every back end and for the remote client. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Conflict } from './backend.ts';
import type { Revision, Transaction } from './contract.ts';
import { NsdbError } from './errors.ts';

const MAX_ATTEMPTS = 64;
/** Attempts that run freely. After that the unlucky ones queue up behind each other, so that not all of them fail anew. */
const FREE_ATTEMPTS = 3;

/** One attempt. `commit` rejects with `Conflict`; `stillHolds` says whether all reads are still true. */
export interface Attempt extends Transaction {
  commit(): Promise<Revision>;
  stillHolds(): Promise<boolean>;
}

export class TransactionRunner {
  readonly #begin: () => Attempt;
  #turn: Promise<void> = Promise.resolve();

  constructor(begin: () => Attempt) {
    this.#begin = begin;
  }

  async run<R>(body: (tx: Transaction) => Promise<R>): Promise<{ revision: Revision; result: R }> {
    for (let attempt = 0; attempt < FREE_ATTEMPTS; attempt++) {
      const done = await this.#attempt(body);
      if (done !== undefined) return done;
    }
    const before = this.#turn;
    let release = (): void => {};
    this.#turn = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    try {
      for (let attempt = FREE_ATTEMPTS; attempt < MAX_ATTEMPTS; attempt++) {
        const done = await this.#attempt(body);
        if (done !== undefined) return done;
        if (attempt > 2 * FREE_ATTEMPTS) await sleep(Math.random() * Math.min(attempt, 20));
      }
    } finally {
      release();
    }
    throw new NsdbError('WEFT_CONFLICT');
  }

  /** Undefined: what it had read changed meanwhile. */
  async #attempt<R>(body: (tx: Transaction) => Promise<R>): Promise<{ revision: Revision; result: R } | undefined> {
    const tx = this.#begin();
    let result: R;
    try {
      result = await body(tx);
    } catch (error) {
      // An error counts only if what the body saw was true.
      if (await tx.stillHolds()) throw error;
      return undefined;
    }
    try {
      return { revision: await tx.commit(), result };
    } catch (error) {
      if (error instanceof Conflict) return undefined;
      if (error instanceof NsdbError && !NOT_OF_DATA.has(error.code) && !(await tx.stillHolds())) return undefined;
      throw error;
    }
  }
}

/** Errors that say nothing about what the transaction read. */
const NOT_OF_DATA = new Set([
  'WEFT_STORE_AWAY',
  'WEFT_STORE_FAILED',
  'WEFT_STORE_CLOSED',
  'WEFT_OUTCOME_UNKNOWN',
  'WEFT_TOO_LARGE',
  'WEFT_PROTOCOL',
]);
