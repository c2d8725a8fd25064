/** `weft api` and `weft store` on ZooKeeper, run as their user does. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { connect, storeAddress } from '@weft/nsdb';
import { needsServer, startServers } from '@weft/zookeeper/testing';

const main = resolve(import.meta.dirname, '../main.ts');
const run = promisify(execFile);

test('weft api --zookeeper; weft store status, verify, backup, restore, migrate', {
  skip: needsServer(),
}, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-store-'));
  const ensemble = await startServers();
  t.after(async () => {
    await ensemble.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const servers = `${ensemble.connectString}/weft`;
  const place = `zookeeper://${servers}`;
  const apiSocket = join(dir, 'api.sock');
  const [server] = ensemble.servers;
  await server.stop();
  const api = spawn(process.execPath, [
    main,
    'api',
    '--zookeeper',
    servers,
    '--api-socket',
    apiSocket,
    '--socket',
    join(dir, 's'),
  ]);
  t.after(() => api.kill('SIGKILL'));
  let said = '';
  api.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const says = async (what: string) => {
    while (!said.includes(what)) {
      assert.equal(api.exitCode, null, said);
      await Promise.race([once(api.stderr, 'data'), once(api, 'exit')]);
    }
  };
  // Whoever starts before the servers do waits for them.
  await says('waiting for the store');
  await server.start();
  await says('REST API on');
  const weft = async (...words: string[]) => (await run(process.execPath, [main, ...words])).stdout;
  const nsdb = await connect(storeAddress(place));
  await nsdb.transact((tx) => tx.create('Bridge', { name: 'b' }));
  await nsdb.transact((tx) => tx.create('Host', { name: 'host-1' }));
  const status = await weft('store', 'status', '--zookeeper', servers);
  assert.match(status, new RegExp(`generation ${nsdb.generation}, revision \\d+, by ZooKeeper at `));
  assert.match(status, /\n2 objects \(Bridge 1, Host 1\), \d+ znodes on the servers\n/);
  assert.match(status, /host-1 .* away/);
  await nsdb.close();
  assert.match(await weft('store', 'verify', place), /; 0 findings/);
  const [file, store, second] = [join(dir, 'backup'), join(dir, 'store'), `${ensemble.connectString}/second`];
  await weft('store', 'backup', place, file);
  await weft('store', 'restore', file, store);
  assert.match(await weft('store', 'verify', store), /; 0 findings/);
  await assert.rejects(weft('store', 'restore', file, store), /WEFT_DUPLICATE|not empty/);
  await weft('store', 'migrate', store, `zookeeper://${second}`);
  const moved = await connect(storeAddress(`zookeeper://${second}`));
  assert.deepEqual(
    (await moved.list('Bridge')).map(({ value }) => value.name),
    ['b'],
  );
  await moved.close();
  await assert.rejects(weft('api'), /either --store or --zookeeper/);
  const ended = once(api, 'exit');
  api.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});
