/** One testbed shared by the tests of a group; each test begins with an empty table and silent wires. */
import { after, before, beforeEach, describe, test } from 'node:test';
import { Bench } from './bench.ts';
import { atEnd } from './leftovers.ts';
import { type DriverFactory, Testbed, type TestbedOptions } from './testbed.ts';
import { TwoHosts } from './two-hosts.ts';

/** Declares a test of the group; the bench is ready inside. */
export type GroupTest = (name: string, run: (b: Bench) => void) => void;

/** Namespaces outlive a process that is killed: not this one's, and those of others go now. */
export function guard(): void {
  atEnd(Testbed.closeAll);
  atEnd(TwoHosts.closeAll);
}

/** A group of tests on one testbed, ports and underlay attached. */
export function group(
  name: string,
  factory: DriverFactory,
  options: TestbedOptions,
  declare: (t: GroupTest) => void,
): void {
  guard();
  const skip = factory.skip();
  describe(`${factory.kind}: ${name}`, { skip }, () => {
    let bench: Bench;
    before(() => {
      const testbed = new Testbed(factory, options);
      testbed.attachAll();
      bench = new Bench(testbed);
    });
    after(() => bench?.testbed.close());
    beforeEach(() => bench.reset());
    declare((title, run) => test(title, () => run(bench)));
  });
}
