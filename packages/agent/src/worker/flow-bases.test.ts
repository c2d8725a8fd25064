import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openFlowBases } from './flow-bases.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-flow-bases-'));
after(() => rmSync(directory, { recursive: true }));

test('what one process wrote the next one reads; another size begins from 0', () => {
  const file = join(directory, 'bases');
  const first = openFlowBases(file, 100);
  first.packets[99] = 7;
  first.bytes[0] = 2 ** 40;
  first.close();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const second = openFlowBases(file, 100);
  assert.deepEqual([second.packets[99], second.bytes[0], second.packets[0]], [7, 2 ** 40, 0]);
  second.close();
  const larger = openFlowBases(file, 200);
  assert.ok([...larger.packets, ...larger.bytes].every((n) => n === 0));
  larger.close();
});
