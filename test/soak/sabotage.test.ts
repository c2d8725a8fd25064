/** Each sabotage turns exactly its own check red and no other, in random order for as long as there is time. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { DEFAULT_SCENARIO, labDown, labUp, openLab, plantFault, removeFault, selectChecks } from '@weft/lab';
import { randomFrom, redTwice, SOAK_SECONDS, SOAK_SEED, shuffled, skip } from './soak.ts';

const NAME = 'soak-fault';

before(async () => {
  if (skip) return;
  await labDown(NAME);
  await labUp(DEFAULT_SCENARIO, { name: NAME });
});

after(async () => {
  if (!skip) await labDown(NAME);
});

test(`one fault, one red check, for ${SOAK_SECONDS} s`, { skip }, async (t) => {
  t.diagnostic(`SOAK_SEED=${SOAK_SEED}`);
  const deadline = performance.now() + SOAK_SECONDS * 1000;
  const checks = shuffled(selectChecks(await openLab(NAME), []), randomFrom(SOAK_SEED));
  let planted = 0;
  for (const check of checks) {
    if (planted > 0 && performance.now() > deadline) break;
    const lab = await openLab(NAME);
    await plantFault(lab, check.name, await check.sabotage(lab));
    try {
      assert.deepEqual(await redTwice(t, lab), [check.name]);
    } finally {
      await removeFault(lab, check.name);
    }
    planted++;
  }
  t.diagnostic(`${planted} of ${checks.length} faults planted`);
});
