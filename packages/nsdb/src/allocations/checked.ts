/** Read, decide, commit; again when what was read has changed meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Conflict, type NodeOp, type NodeStore, type StoreNode } from '../backend.ts';
import { NsdbError } from '../errors.ts';

const MAX_ATTEMPTS = 64;
/** Attempts that follow each other at once. */
const FREE_ATTEMPTS = 3;

/** Reads whose truth is checked when the attempt commits. */
export class CheckedReads {
  readonly #store: NodeStore;
  readonly #checks = new Map<string, NodeOp>();

  constructor(store: NodeStore) {
    this.#store = store;
  }

  async get(path: string): Promise<StoreNode | undefined> {
    const node = await this.#store.get(path);
    this.expect(path, node);
    return node;
  }

  /** Has the commit check that the node is still what an earlier, unchecked read has shown. */
  expect(path: string, node: StoreNode | undefined): void {
    this.#checks.set(path, { op: 'check', path, version: node?.version ?? 'absent' });
  }

  ops(): NodeOp[] {
    return [...this.#checks.values()];
  }
}

/**
 * Runs `body` until what it read still held at its commit. Resolves once its writes, or what it has read, are durable. An
 * error of the body counts only if what it saw was true. WEFT_CONFLICT when the attempts are used up.
 */
export async function commitChecked<R>(
  store: NodeStore,
  random: () => number,
  body: (reads: CheckedReads) => Promise<{ readonly ops: readonly NodeOp[]; readonly result: R }>,
): Promise<R> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    if (attempt >= FREE_ATTEMPTS) await sleep(random() * Math.min(attempt, 20));
    const reads = new CheckedReads(store);
    try {
      let done: { readonly ops: readonly NodeOp[]; readonly result: R };
      try {
        done = await body(reads);
      } catch (error) {
        if (error instanceof NsdbError) await store.commit(reads.ops());
        throw error;
      }
      await store.commit([...reads.ops(), ...done.ops]);
      return done.result;
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
    }
  }
  throw new NsdbError('WEFT_CONFLICT');
}
