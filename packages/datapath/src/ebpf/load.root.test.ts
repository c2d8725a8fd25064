/** Programs that are verified in the background stand over the same tables as those that are not, and are refused with the same words. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { verifiedInstructions } from '@weft/sys';
import { u32Key } from './layout.ts';
import { OBJECT_DIRECTORY, type ObjectRequest, openObject, openObjectInBackground, tableLayout } from './object.ts';
import { bpffs, needsEbpf } from './testing.ts';
import { removePins } from './upgrade/pins.ts';

function request(directory: string): ObjectRequest {
  return {
    options: { instance: 'test', encap: 'vxlan', maxFlows: 64, stateDir: directory },
    directory,
    layout: tableLayout(),
    config: {},
    objects: OBJECT_DIRECTORY,
    objectName: 'weft.bpf.o',
  };
}

const descriptors = () => readdirSync('/proc/self/fd').length;

describe('ebpf: programs in the background', { skip: needsEbpf() }, () => {
  test('share their tables, with each other and with the next process', async () => {
    const directory = join(bpffs(), '0123456789abcdef');
    const before = descriptors();
    try {
      const first = await openObjectInBackground(request(directory));
      assert.equal(new Set(Object.values(first.program)).size, 4);
      assert.equal(readdirSync(directory).length, Object.keys(first.map).length);
      first.map.weft_replicas.update(u32Key(7), new Uint8Array(first.map.weft_replicas.info.valueSize).fill(1));
      first.close();
      const second = openObject(request(directory));
      const seen = new Uint8Array(second.map.weft_replicas.info.valueSize);
      assert.ok(second.map.weft_replicas.lookup(u32Key(7), seen));
      assert.equal(seen[0], 1);
      second.close();
      assert.equal(descriptors(), before);
    } finally {
      removePins(directory);
    }
  });

  test('cost the verifier a fraction of what it would spend on them: other kernels, and other builds of clang, may need more', () => {
    const directory = join(bpffs(), 'fedcba9876543210');
    try {
      const object = openObject(request(directory));
      for (const [name, fd] of Object.entries(object.program)) {
        const instructions = verifiedInstructions(fd);
        assert.ok(instructions > 0 && instructions < 250_000, `${name}: ${instructions}`);
      }
      object.close();
    } finally {
      removePins(directory);
    }
  });

  test('are refused as others are, and nothing stays open', async () => {
    // Tables cannot be pinned outside of a bpffs.
    const directory = mkdtempSync(join(tmpdir(), 'weft-load-'));
    const before = descriptors();
    try {
      const refusal = await openObjectInBackground(request(directory)).catch((error: Error) => error);
      assert.ok(refusal instanceof Error);
      assert.throws(() => openObject(request(directory)), { message: refusal.message, code: 'WEFT_SYS_BPF_LOAD' });
      assert.equal(descriptors(), before);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
