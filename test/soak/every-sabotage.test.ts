/** The fault of every check turns it red; when it is taken away all are green again. Takes what it takes, about five minutes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { DEFAULT_SCENARIO, labDown, labUp, openLab, plantFault, removeFault, runChecks, selectChecks } from '@weft/lab';
import { redTwice, skip } from './soak.ts';

const NAME = 'soak-every';

before(async () => {
  if (skip) return;
  await labDown(NAME);
  await labUp(DEFAULT_SCENARIO, { name: NAME });
});

after(async () => {
  if (!skip) await labDown(NAME);
});

test('each sabotage turns its check red, its removal green again', { skip }, async (t) => {
  const lab = await openLab(NAME);
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
