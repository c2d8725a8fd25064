/** A host's life follows its sessions, in whatever order their ends and beginnings arrive, and over a crash between the two. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { TestClock } from '../compliance/harness.ts';
import { LmdbStore } from '../embedded/lmdb-store.ts';
import { lifePath } from '../objects/paths.ts';
import { HostLives } from './host-lives.ts';
import { parseLife } from './number.ts';

it('the newest incarnation counts; a start of the store ends what a crash has cut in two', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
  const clock = new TestClock();
  const store = new LmdbStore({ dir, clock });
  try {
    const lives = new HostLives(store);
    const life = () => parseLife(store.get(lifePath('h'))!);
    const start = store.now();
    await lives.end('h', 1);
    assert.equal(store.get(lifePath('h')), undefined, 'nothing is known of a host that never began');
    await lives.begin('h', 1);
    assert.deepEqual(life(), { incarnation: 1, died: null });
    await lives.end('h', 1);
    clock.advance(5);
    await lives.end('h', 1);
    assert.deepEqual(life(), { incarnation: 1, died: start }, 'it dies once');
    await lives.begin('h', 2);
    await lives.end('h', 1);
    await lives.begin('h', 1);
    assert.deepEqual(life(), { incarnation: 2, died: null }, 'what an older start left under way does nothing');

    await lives.reconcile(() => ({ incarnation: 2, present: false }));
    assert.deepEqual(life(), { incarnation: 2, died: start + 5 });
    clock.advance(5);
    await lives.reconcile(() => ({ incarnation: 2, present: false }));
    assert.deepEqual(life(), { incarnation: 2, died: start + 5 });
    await lives.reconcile(() => ({ incarnation: 2, present: true }));
    assert.deepEqual(life(), { incarnation: 2, died: null });
    await lives.reconcile(() => undefined);
    assert.deepEqual(life(), { incarnation: 2, died: start + 10 });
  } finally {
    await store.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
