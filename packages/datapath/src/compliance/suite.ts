/** One testbed shared by the tests of a group; each test begins with an empty table and silent wires. */
import { after, before, beforeEach, describe, test } from 'node:test';
import { Bench } from './bench.ts';
import { type DriverFactory, Testbed, type TestbedOptions } from './testbed.ts';
import { TwoHosts } from './two-hosts.ts';

/** Declares a test of the group; the bench is ready inside. */
export type GroupTest = (name: string, run: (b: Bench) => void) => void;

let guarded = false;

function closeAll(): void {
  Testbed.closeAll();
  TwoHosts.closeAll();
}

/** Namespaces outlive a process that is killed: not this one's. */
export function guard(): void {
  if (guarded) return;
  guarded = true;
  process.once('exit', closeAll);
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      closeAll();
      process.exit(code);
    });
  }
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
