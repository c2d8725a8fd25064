/** A store that is read while another process writes it: whole transactions, all up to one revision and none beyond. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { newBridge } from '../compliance/harness.ts';
import { isNsdbError, type NsdbErrorCode } from '../errors.ts';
import { readBackup, writeBackup } from '../transfer/file.ts';
import { loadStore } from '../transfer/load.ts';
import { openPlace } from '../transfer/place.ts';
import { LOADING, type StoreContent, type StoreRecord } from '../transfer/records.ts';
import { verifyStore } from '../transfer/verify.ts';
import { openEmbedded } from './index.ts';
import { openContent } from './open-content.ts';

const root = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
after(() => rmSync(root, { recursive: true, force: true }));

function idsOf(records: Iterable<StoreRecord>, type: string): string[] {
  const prefix = `o/${type}/`;
  const nodes = [...records].filter((record) => record.kind === 'node' && record.path.startsWith(prefix));
  return nodes.map((node) => (node as { path: string }).path.slice(prefix.length)).sort();
}

test('backups that are made while transactions are committed are each of one revision, and restore to it', async () => {
  const dir = join(root, 'served');
  const writer = spawn(process.execPath, [join(import.meta.dirname, 'durability.child.ts'), dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const committed: { revision: number; bridge: string; port: string }[] = [];
  createInterface({ input: writer.stdout }).on('line', (line) => {
    const [revision, , bridge, port] = line.split(' ');
    committed.push({ revision: Number(revision), bridge: bridge!, port: port! });
  });
  const reach = async (count: number) => {
    while (committed.length < count) {
      assert.equal(writer.exitCode, null);
      await sleep(5);
    }
  };
  const contents: StoreContent[] = [];
  try {
    await reach(100);
    for (let round = 0; round < 5; round++) {
      const content = openContent(dir);
      contents.push(content);
      // Read in parts, with commits in between.
      const before = idsOf(content.records, 'Bridge');
      await reach(committed.length + 100);
      assert.deepEqual(idsOf(content.records, 'Bridge'), before);
      const count = writeBackup(join(root, `backup-${round}`), content);
      assert.equal(count, [...content.records].length);
      await content.close();
    }
    await reach(committed.length + 100);
  } finally {
    writer.kill('SIGKILL');
    await once(writer, 'close');
  }
  assert.ok(
    new Set(contents.map(({ revision }) => revision)).size === contents.length,
    'there were commits in between',
  );
  for (let round = 0; round < contents.length; round++) {
    const image = readBackup(join(root, `backup-${round}`));
    assert.equal(image.revision, contents[round]!.revision);
    assert.deepEqual(verifyStore(image), []);
    const then = committed.filter(({ revision }) => revision <= image.revision);
    assert.deepEqual(idsOf(image.records, 'Bridge'), then.map(({ bridge }) => bridge).sort());
    assert.deepEqual(idsOf(image.records, 'Port'), then.map(({ port }) => port).sort());
    const entries = image.records
      .filter(({ kind }) => kind === 'entry')
      .map((record) => (record as { value: string }).value);
    assert.deepEqual(entries.sort(), then.map(({ port }) => port).sort());
  }

  const last = readBackup(join(root, 'backup-4'));
  const { store } = await openPlace(join(root, 'restored'));
  await loadStore(store, last, { complete: false });
  await store.close();
  const restored = await openEmbedded({ dir: join(root, 'restored') });
  assert.deepEqual((await restored.list('Port')).map(({ id }) => id).sort(), idsOf(last.records, 'Port'));
  assert.notEqual(restored.generation, last.generation);
  // Sequences went along: what comes about now gets a number that nothing has.
  const bridge = await newBridge(restored);
  const keys = (await restored.list<{ tunnelKey: number }>('Bridge')).map(({ value }) => value.tunnelKey);
  assert.equal(new Set(keys).size, keys.length);
  assert.ok((await restored.get('Bridge', bridge)) !== undefined);
  await restored.close();
});

test('what is no store, or not yet one, is refused', async () => {
  const isError = (code: NsdbErrorCode) => (error: unknown) => isNsdbError(error, code);
  assert.throws(() => openContent(join(root, 'nowhere')), isError('WEFT_NOT_FOUND'));
  const dir = join(root, 'unfinished');
  const { store } = await openPlace(dir);
  await store.putMeta(LOADING, 'g');
  await store.close();
  assert.throws(() => openContent(dir), isError('WEFT_STORE_FORMAT'));
});
