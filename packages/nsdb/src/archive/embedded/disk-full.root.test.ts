import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FlowStateArchive } from '../contract.ts';
import { newRecord, readAll, version } from '../testing.ts';
import { TestMachine } from './testing.ts';

const PORT = '11111111-1111-4111-8111-111111111111';
const DISK = 256 * 1024;
const skip = process.geteuid?.() === 0 ? false : 'needs root (a file system of its own)';

test('a full disk costs what no longer fits, never what is there, and is over when there is room', {
  skip,
}, async (t) => {
  const mount = mkdtempSync(join(tmpdir(), 'weft-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'weft-full', mount]);
  let archive: FlowStateArchive | undefined;
  t.after(async () => {
    await archive?.close();
    execFileSync('umount', [mount]);
    rmSync(mount, { recursive: true });
  });
  const machine = new TestMachine(join(mount, 'archive'));
  mkdirSync(machine.dir);
  archive = machine.open();
  const record = (n: number) =>
    newRecord({ name: `n${n}`, ingress: PORT, egress: undefined, version: version(n), bytes: new Uint8Array(900) });
  let given = 0;
  while (archive.stats().failed === 0) {
    assert.ok(given < 1_000, 'the disk never filled');
    archive.put(Array.from({ length: 10 }, () => record(given++)));
    await archive.flush();
  }
  const { written, failed, up } = archive.stats();
  assert.equal(up, false);
  assert.equal(written + failed, given);
  assert.ok(statSync(machine.logOf(PORT)).size > 0.9 * DISK, 'the disk was used up');
  assert.equal((await readAll(archive, PORT)).size, written, 'what was written before is whole');
  assert.equal(archive.stats().damaged, 0);

  execFileSync('mount', ['-o', `remount,size=${8 * DISK}`, mount]);
  archive.put([record(5_000)]);
  await archive.flush();
  assert.equal(archive.stats().up, true);
  const found = await readAll(archive, PORT);
  assert.equal(found.size, written + 1);
  assert.ok(found.has('n5000'), 'an entry that was written in part hides none behind it');
});
