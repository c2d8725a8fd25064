import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { open } from 'lmdb';
import { countBelow } from './count.ts';

test('keys are counted by what follows the root, in turns of the event loop, and the counting can be ended', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-count-'));
  const nodes = open<string, string>({ path: dir, noSubdir: false, encoding: 'string' });
  try {
    const expected = { A: 1, B: 12_000, C: 4_999, D: 5_001 };
    await nodes.batch(() => {
      for (const [kind, count] of Object.entries(expected))
        for (let i = 0; i < count; i++) void nodes.put(`o/${kind}/${i}`, '');
      for (const other of ['n/A/1', 'o', 'oo/A/1', 'p/A/1']) void nodes.put(other, '');
    });
    let [turns, slices] = [0, 0];
    const turning = setInterval(() => turns++, 0);
    const counts = await countBelow(nodes, 'o', () => slices++);
    clearInterval(turning);
    assert.deepEqual(counts, expected);
    assert.ok(slices >= 5, `${slices} slices`);
    assert.ok(turns > 0, 'others had their turn');
    const ended = new Error('closed');
    await assert.rejects(
      countBelow(nodes, 'o', () => {
        throw ended;
      }),
      ended,
    );
  } finally {
    await nodes.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
