/** The default lab over the underlays and drivers of which `make test` makes some checks only, or none: here all of them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DEFAULT_SCENARIO, type Lab, type LabOptions, labDown, labUp } from '@weft/lab';
import { redTwice, skip } from './soak.ts';

const LABS: readonly (LabOptions & { readonly name: string })[] = [
  { name: 'soak-gre6', encap: 'gre', underlay: 'ipv6', hosts: 2 },
  { name: 'soak-gre4', encap: 'gre', underlay: 'ipv4' },
  { name: 'soak-user', datapath: 'userspace', encap: 'vxlan', underlay: 'ipv6' },
];

for (const options of LABS) {
  const { name, datapath = 'ebpf', encap, underlay } = options;
  describe(`${datapath}, ${encap} over ${underlay}`, { skip }, () => {
    let lab: Lab;
    before(async () => {
      await labDown(name);
      ({ lab } = await labUp(DEFAULT_SCENARIO, options));
    });
    after(() => labDown(name));

    test('every check passes', async (t) => {
      assert.deepEqual(await redTwice(t, lab), []);
    });
  });
}
