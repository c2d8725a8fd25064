/**
 * A start over another build's tables is killed where most is undone: the kernel goes on forwarding, and the next start ends well, whichever
 * build it is of. Every place, and many in a row: `killed.soak.test.ts`.
 */
import { after, before, describe, test } from 'node:test';
import { needsEbpf } from '../testing.ts';
import { KillBench } from './kill-bench.ts';

describe('killed', { skip: needsEbpf() }, () => {
  let bench: KillBench;
  before(() => {
    bench = new KillBench();
  });
  after(() => bench?.close());

  test('behind the first of the two renames', () => bench.killed({ what: 'rename', times: 1 }, 'again'));
  test('when a port’s link is swapped, but not its pin', () => bench.killed({ what: 'swap', times: 3 }, 'back'));
  test('when a link has two pins', () => bench.killed({ what: 'pin', times: 3 }, 'back'));
});
