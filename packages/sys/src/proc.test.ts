import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from './lock.ts';
import { isAlive, processIdentity, signalProcess } from './proc.ts';

test('a process lives as long as one of its threads: it holds its files', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-proc-'));
  const file = join(dir, 'lock');
  const child = spawn(process.execPath, [join(import.meta.dirname, 'half-dead.child.ts'), file], { stdio: 'inherit' });
  try {
    const state = () => readFileSync(`/proc/${child.pid}/stat`, 'latin1').replace(/.*\) /, '')[0];
    while (state() !== 'Z') await sleep(5);
    const identity = processIdentity(child.pid!)!;
    assert.ok(!tryLock(openSync(file, 'a')));
    assert.ok(isAlive(identity));
    signalProcess(identity, 'SIGKILL');
    while (isAlive(identity)) await sleep(1);
    assert.ok(tryLock(openSync(file, 'a')));
  } finally {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true });
  }
});
