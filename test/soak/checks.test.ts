/**
 * All checks of the default lab over and over, each time in another order, so that every fault that they cause (agents killed,
 * store away, links down, MACs moving) meets the traces of every other. In the end nothing may have grown.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { DEFAULT_SCENARIO, type Lab, labDown, labUp, openLab, selectChecks } from '@weft/lab';
import { type Footprint, footprint, randomFrom, redTwice, SOAK_SECONDS, SOAK_SEED, shuffled, skip } from './soak.ts';

const NAME = 'soak-checks';
/** A fresh process takes its time to reach its size; from there on. */
const GROWTH_MIB = 96;
const GROWTH_DESCRIPTORS = 32;

let lab: Lab;

before(async () => {
  if (skip) return;
  await labDown(NAME);
  ({ lab } = await labUp(DEFAULT_SCENARIO, { name: NAME }));
});

after(async () => {
  if (!skip) await labDown(NAME);
});

/** By process: agents are replaced by the checks, so that a pid names one life of an agent. */
async function footprints(): Promise<Map<number, Footprint>> {
  const { state } = await openLab(NAME);
  const identities = [state.processes.api!, ...Object.values(state.processes.agents)];
  return new Map(identities.map(({ pid }) => [pid, footprint(pid)]));
}

test(`checks in random orders for ${SOAK_SECONDS} s`, { skip }, async (t) => {
  t.diagnostic(`SOAK_SEED=${SOAK_SEED}`);
  const random = randomFrom(SOAK_SEED);
  const names = selectChecks(lab, []).map(({ name }) => name);
  const first = new Map<number, Footprint>();
  const deadline = performance.now() + SOAK_SECONDS * 1000;
  const done: string[] = [];
  // At least one full round, however short the time.
  for (let round = 0; round === 0 || performance.now() < deadline; round++) {
    for (const name of shuffled(names, random)) {
      if (round > 0 && performance.now() > deadline) break;
      // Faults restart processes: what the lab is made of is read anew each time.
      done.push(name);
      const red = await redTwice(t, await openLab(NAME), [name]);
      assert.deepEqual(red, [], `${name} after ${done.slice(-6, -1).join(', ')} (SOAK_SEED=${SOAK_SEED})`);
    }
    for (const [pid, size] of await footprints()) if (!first.has(pid)) first.set(pid, size);
  }
  t.diagnostic(`${done.length} checks`);
  for (const [pid, size] of await footprints()) {
    const start = first.get(pid)!;
    assert.ok(
      size.residentMib < start.residentMib + GROWTH_MIB,
      `process ${pid}: from ${start.residentMib} to ${size.residentMib} MiB`,
    );
    assert.ok(
      size.descriptors < start.descriptors + GROWTH_DESCRIPTORS,
      `process ${pid}: from ${start.descriptors} to ${size.descriptors} descriptors`,
    );
  }
});
