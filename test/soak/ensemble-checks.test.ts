/** Every check of both scenarios on three servers of ZooKeeper: with the API, and then, but for what needs it, without. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  DEFAULT_SCENARIO,
  GATEWAY_SCENARIO,
  type Lab,
  labDown,
  labUp,
  openLab,
  runChecksWithoutApi,
  selectChecks,
} from '@weft/lab';
import { needsServer } from '@weft/zookeeper/testing';
import { redTwice, skipInHaste } from './soak.ts';

const LABS = [
  { name: 'soak-zk', scenario: DEFAULT_SCENARIO },
  { name: 'soak-zkgw', scenario: GATEWAY_SCENARIO },
];

for (const { name, scenario } of LABS) {
  describe(name, { skip: skipInHaste || needsServer() }, () => {
    before(async () => {
      await labDown(name);
      await labUp(scenario, { name, store: 'zookeeper' });
    });
    after(() => labDown(name));

    test('all checks are green', async (t) => {
      assert.deepEqual(await redTwice(t, await openLab(name)), []);
    });

    test('all that need no API are green with the API stopped', async (t) => {
      const lab = await openLab(name);
      const needless = selectChecks(lab, []).filter(({ needsApi }) => !needsApi);
      assert.ok(needless.length > 10);
      t.diagnostic(`${needless.length} of ${selectChecks(lab, []).length} checks need no API`);
      const red = (names: readonly string[]) => redWithoutApi(lab, names);
      const first = await red(needless.map((check) => check.name));
      for (const one of first) t.diagnostic(`${one} red once`);
      assert.deepEqual(first.length === 0 ? [] : await red(first), []);
    });
  });
}

async function redWithoutApi(lab: Lab, names: readonly string[]): Promise<string[]> {
  const { checks } = await runChecksWithoutApi(lab, names);
  return checks.filter(({ ok, skipped }) => !ok && skipped === undefined).map((check) => check.name);
}
