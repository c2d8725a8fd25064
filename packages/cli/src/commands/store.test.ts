/** `weft store`, run as its user does, on a served store. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openEmbedded, serve } from '@weft/nsdb';

const main = resolve(import.meta.dirname, '../main.ts');
const run = promisify(execFile);

test('weft store pool names who holds which numbers, and what cools', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-store-'));
  const socket = join(dir, 'socket');
  const nsdb = await openEmbedded({ dir: join(dir, 'store') });
  const server = await serve(nsdb, { socket });
  try {
    const host = crypto.randomUUID();
    await nsdb.transact((tx) => tx.create('Host', { id: host, name: 'gateway-1' }));
    const router = (await nsdb.transact((tx) => tx.create('Router', { name: 'r' }))).result.id;
    const pool = `nat/${router}/198.51.100.1`;
    const session = await nsdb.openSession(host);
    const [held] = await session.allocate(pool, { first: 16, last: 16 }, 1, 60_000);
    await session.release(await session.allocate(pool, { first: 17, last: 17 }, 1, 3_600_000));
    const ask = async (...words: string[]) =>
      (await run(process.execPath, [main, 'store', 'pool', ...words, '--socket', socket])).stdout;
    const [head, first, second] = (await ask(pool)).split('\n').map((line) => line.trim().split(/ {2,}/));
    assert.deepEqual(head, ['NUMBER', 'HOST', 'ID', 'TOKEN', 'STATE']);
    assert.deepEqual(first, ['16', 'gateway-1', host, String(held.token), 'held']);
    assert.deepEqual(second!.slice(0, 3), ['17', 'gateway-1', host]);
    assert.match(second![4]!, /^cools for 3[56]\d\d s$/);
    assert.equal(JSON.parse(await ask(pool, '--json')).length, 2);
    await assert.rejects(ask('nonsense'), /WEFT_INVALID|is not a pool/);
  } finally {
    await server.close();
    await nsdb.close();
    rmSync(dir, { recursive: true, force: true });
  }
});

test('weft store status, backup and verify, of a store that a process has open; restore makes the same of it', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-store-'));
  const [place, file, second] = ['store', 'backup', 'second'].map((name) => join(dir, name));
  const nsdb = await openEmbedded({ dir: place! });
  const weft = async (...words: string[]) => (await run(process.execPath, [main, 'store', ...words])).stdout;
  try {
    const { revision } = await nsdb.transact((tx) => tx.create('Bridge', { name: 'b' }));
    const server = await serve(nsdb, { socket: join(dir, 'socket') });
    const status = await weft('status', '--socket', join(dir, 'socket'));
    assert.match(status, /\n1 objects \(Bridge 1\), 0 entries of tables, \d+\.\d MiB on disk\n/);
    const { size } = JSON.parse(await weft('status', '--json', '--socket', join(dir, 'socket')));
    assert.deepEqual({ ...size, bytes: 0 }, { objects: { Bridge: 1 }, entries: {}, bytes: 0, znodes: null });
    await server.close();
    assert.match(await weft('verify', place!), new RegExp(`^\\d+ records at revision ${revision}; 0 findings`));
    assert.match(await weft('backup', place!, file!), new RegExp(`^\\d+ records at revision ${revision} in `));
    await nsdb.transact((tx) => tx.create('Bridge', { name: 'later' }));
    await weft('restore', file!, second!);
    await assert.rejects(weft('migrate', place!, join(dir, 'third')), /WEFT_STORE_LOCKED/);
    await assert.rejects(weft('backup', join(dir, 'nowhere'), file!), /WEFT_NOT_FOUND/);
  } finally {
    await nsdb.close();
  }
  const restored = await openEmbedded({ dir: second! });
  assert.deepEqual(
    (await restored.list('Bridge')).map(({ value }) => value.name),
    ['b'],
  );
  await restored.close();
  rmSync(dir, { recursive: true, force: true });
});
