/**
 * The compliance suite of the state database: every implementation of the contract runs it, unchanged.
 *
 *     nsdbCompliance('embedded', async (options) => …)
 */
import { describe } from 'node:test';
import { allocationTests } from './allocations.ts';
import type { Factory } from './harness.ts';
import { objectTests } from './objects.ts';
import { sessionTests } from './sessions.ts';
import { subscriptionTests } from './subscriptions.ts';
import { tableTests } from './tables.ts';
import { tokenTests } from './token.ts';
import { transactionTests } from './transactions.ts';

export { type Factory, type Harness, type HarnessOptions, until, Watcher } from './harness.ts';

export function nsdbCompliance(name: string, factory: Factory): void {
  describe(`nsdb: ${name}`, () => {
    objectTests(factory);
    transactionTests(factory);
    subscriptionTests(factory);
    tokenTests(factory);
    tableTests(factory);
    sessionTests(factory);
    allocationTests(factory);
  });
}
