/** The default lab over the underlay that `make test` leaves out: GRE over IPv6, on two hosts. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { DEFAULT_SCENARIO, type Lab, labDown, labUp } from '@weft/lab';
import { redTwice, skip } from './soak.ts';

const NAME = 'soak-gre6';

let lab: Lab;

before(async () => {
  if (skip) return;
  await labDown(NAME);
  ({ lab } = await labUp(DEFAULT_SCENARIO, { name: NAME, encap: 'gre', underlay: 'ipv6', hosts: 2 }));
});

after(async () => {
  if (!skip) await labDown(NAME);
});

test('every check passes over GRE and IPv6', { skip }, async (t) => {
  assert.deepEqual(await redTwice(t, lab), []);
});
