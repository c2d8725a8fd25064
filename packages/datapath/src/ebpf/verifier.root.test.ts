/** What the kernel's verifier spends on the programs. It gives up at 1,000,000 instructions, and other kernels and compilers may need more. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { verifiedInstructions } from '@weft/sys';
import { OBJECT_DIRECTORY, openObject, tableLayout } from './object.ts';
import { bpffs, needsEbpf } from './testing.ts';
import { removePins } from './upgrade/pins.ts';

describe('ebpf: verifier', { skip: needsEbpf() }, () => {
  test('needs a fraction of what it would spend', () => {
    const directory = join(bpffs(), '0123456789abcdef');
    const options = { instance: 'test', encap: 'vxlan', maxFlows: 64, stateDir: bpffs() } as const;
    try {
      const object = openObject(options, directory, tableLayout(), {}, OBJECT_DIRECTORY, 'weft.bpf.o');
      for (const [name, fd] of Object.entries(object.program)) {
        const instructions = verifiedInstructions(fd);
        assert.ok(instructions > 0 && instructions < 250_000, `${name}: ${instructions}`);
      }
      object.close();
    } finally {
      removePins(directory);
    }
  });
});
