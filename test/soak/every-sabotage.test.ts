/** The fault of every check turns it red; when it is taken away all are green again. Takes what it takes, about ten minutes. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  DEFAULT_SCENARIO,
  GATEWAY_SCENARIO,
  labDown,
  labUp,
  openLab,
  plantFault,
  removeFault,
  runChecks,
  selectChecks,
} from '@weft/lab';
import { redTwice, skip } from './soak.ts';

const LABS = [
  { name: 'soak-every', scenario: DEFAULT_SCENARIO },
  { name: 'soak-gateway', scenario: GATEWAY_SCENARIO },
];

for (const { name, scenario } of LABS) {
  describe(name, { skip }, () => {
    before(async () => {
      await labDown(name);
      await labUp(scenario, { name });
    });

    after(() => labDown(name));

    test('each sabotage turns its check red, its removal green again', async (t) => {
      const lab = await openLab(name);
      for (const one of selectChecks(lab, [])) {
        await t.test(one.name, async () => {
          await plantFault(lab, one.name, await one.sabotage(lab));
          try {
            const { checks } = await runChecks(lab, [one.name]);
            assert.deepEqual(
              checks.map((result) => result.ok),
              [false],
            );
          } finally {
            await removeFault(lab, one.name);
          }
        });
      }
      assert.deepEqual(await redTwice(t, lab), []);
    });
  });
}
