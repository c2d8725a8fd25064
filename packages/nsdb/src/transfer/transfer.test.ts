/** Content that moves between back ends stays the same, is whole, and sound; what is not sound is found. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { needsServer, startServers, type TestEnsemble } from '@weft/zookeeper/testing';
import { newBridge, newHost, newPort, refused, until } from '../compliance/harness.ts';
import type { Nsdb } from '../contract.ts';
import { openEmbedded } from '../embedded/index.ts';
import { NsdbError } from '../errors.ts';
import { openZookeeper } from '../zookeeper/index.ts';
import { readBackup, writeBackup } from './file.ts';
import { loadStore } from './load.ts';
import { openPlace } from './place.ts';
import type { StoreImage, StoreRecord } from './records.ts';
import { verifyStore } from './verify.ts';

const dir = mkdtempSync(join(tmpdir(), 'weft-transfer-'));
let starting: Promise<TestEnsemble> | undefined;
const skip = needsServer();
let places = 0;
const embedded = () => join(dir, `store-${++places}`);
const ensemble = async () => {
  starting ??= startServers();
  return `zookeeper://${(await starting).connectString}/store-${++places}`;
};

after(async () => {
  await (await starting)?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Some of everything. */
async function fill(nsdb: Nsdb): Promise<{ host: string; pool: string }> {
  const bridge = await newBridge(nsdb, 'ü');
  const ports = [await newPort(nsdb, bridge, { vlanId: 3 }), await newPort(nsdb, bridge)];
  await nsdb.transact((tx) => tx.delete('Port', ports[1]));
  const gone = await newHost(nsdb);
  await newPort(nsdb, bridge, { previousHostId: gone });
  await nsdb.transact((tx) => tx.delete('Host', gone));
  const host = await newHost(nsdb);
  const session = await nsdb.openSession(host);
  await session.put(`mac/${bridge}`, '02:00:00:00:00:01', ports[0]);
  await session.put(`mac/${bridge}/3`, 'a/b|c%', 'x');
  await nsdb.transact(async (tx) => tx.putEntry(`arp/${bridge}`, '192.0.2.1', 'y'));
  const router = (await nsdb.transact((tx) => tx.create('Router', { name: 'r' }))).result.id;
  const pool = `nat/${router}/198.51.100.1`;
  const given = await session.allocate(pool, { first: 0, last: 9 }, 4, 60_000);
  await session.release(given.slice(0, 1));
  await session.close();
  return { host, pool };
}

/** What is the same wherever it is. Names of sequences count, how many numbers are left over does not. */
const essence = ({ records }: StoreImage) =>
  records
    .filter(({ kind }) => kind === 'node' || kind === 'entry')
    .map((record) => JSON.stringify(Object.entries(record).sort()))
    .sort();

async function imageOf(place: string): Promise<StoreImage> {
  const { store } = await openPlace(place);
  try {
    return await store.image();
  } finally {
    await store.close();
  }
}

async function load(image: StoreImage, place: string, complete = true): Promise<void> {
  const { store } = await openPlace(place);
  try {
    await loadStore(store, image, { complete });
  } finally {
    await store.close();
  }
}

const sound: StoreRecord[] = [
  { kind: 'node', path: 'o/Bridge/b', json: '{"id":"b","name":"b","tunnelKey":1}' },
  { kind: 'node', path: 'k/1', json: '{"type":"Bridge","id":"b"}' },
  { kind: 'entry', table: 'mac/b', key: 'k', value: 'v', owner: null },
  { kind: 'node', path: 'n/nat|r|x/5', json: '{"host":"h","token":1,"cool":0,"released":null}' },
  { kind: 'node', path: 'h/h/nat|r|x|5', json: '' },
];

describe('a store that moves', () => {
  it('verify finds each thing that is wrong, and nothing in what is right', () => {
    assert.deepEqual(verifyStore({ records: sound }), []);
    const what = (records: StoreRecord[]) => [...new Set(verifyStore({ records }).map((finding) => finding.what))];
    const node = (path: string, json = ''): StoreRecord => ({ kind: 'node', path, json });
    assert.deepEqual(what([...sound, node('o/Port/p', '{"id":"p","bridgeId":"absent"}')]), ['dangling', 'index']);
    assert.deepEqual(what([...sound, node('i/Port.bridgeId/b/p')]), ['index']);
    assert.deepEqual(what([...sound, node('u/Port/x/y', '{"id":"p"}')]), ['unique']);
    assert.deepEqual(what(sound.filter((record) => !('path' in record && record.path === 'k/1'))), ['key']);
    assert.deepEqual(what(sound.filter((record) => !('path' in record && record.path === 'o/Bridge/b'))), [
      'key',
      'table',
    ]);
    assert.deepEqual(what(sound.filter((record) => !('path' in record && record.path.startsWith('h/')))), ['pool']);
    assert.deepEqual(what([node('o/Nonsense/x', '{}')]), ['dangling']);
  });

  it('a backup is whole or refused', () => {
    const image = { generation: 'g', revision: 7, records: sound, garbage: 0 };
    const file = join(dir, 'backup');
    writeBackup(file, image);
    assert.deepEqual(readBackup(file), image);
    const text = readFileSync(file, 'utf8');
    const lines = text.split('\n');
    for (const damaged of [
      '',
      text.slice(0, -2),
      text.replace('"v"', '"w"'),
      [...lines.slice(0, 2), ...lines.slice(3)].join('\n'),
      lines.slice(0, 3).join('\n'),
    ]) {
      writeFileSync(file, damaged);
      assert.throws(
        () => readBackup(file),
        (error) => error instanceof NsdbError && error.code === 'WEFT_STORE_FORMAT',
      );
    }
  });

  it('goes from a directory to an ensemble and back, and hosts go on', { skip }, async () => {
    const [first, second, third] = [embedded(), await ensemble(), embedded()];
    const nsdb = await openEmbedded({ dir: first });
    const { host, pool } = await fill(nsdb);
    const usage = (await nsdb.poolUsage(pool)).map(({ index, token }) => [index, token]);
    const { incarnation } = await nsdb.openSession(host);
    await nsdb.close();
    const image = await imageOf(first);
    assert.deepEqual(verifyStore(image), []);
    await load(image, second);
    assert.deepEqual(essence(await imageOf(second)), essence(image));
    await refused(load(image, second), 'WEFT_DUPLICATE');

    const moved = await openZookeeper({ servers: second.slice('zookeeper://'.length) });
    const session = await moved.openSession(host);
    assert.ok(session.incarnation > incarnation);
    assert.deepEqual((await session.allocations()).length, 3);
    assert.deepEqual(
      (await moved.poolUsage(pool)).map(({ index, token }) => [index, token]),
      usage,
    );
    assert.equal((await session.owned()).filter(({ table }) => table.startsWith('mac/')).length, 2);
    const [bridge] = await moved.list('Bridge');
    const port = await newPort(moved, bridge.id);
    const keys = (await moved.list<{ tunnelKey: number }>('Port')).map(({ value }) => value.tunnelKey);
    assert.equal(new Set([...keys, bridge.value.tunnelKey]).size, 4);
    await moved.transact((tx) => tx.delete('Port', port));
    await moved.close();

    const back = await imageOf(second);
    assert.deepEqual(verifyStore(back), []);
    await load(back, third);
    assert.deepEqual(essence(await imageOf(third)), essence(back));
    const last = await openEmbedded({ dir: third });
    const again = await last.openSession(host);
    assert.ok(again.incarnation > session.incarnation);
    assert.equal((await again.allocations()).length, 3);
    await last.close();
  });

  it('an image of an ensemble is of one revision while others write', { skip }, async () => {
    const place = await ensemble();
    const nsdb = await openZookeeper({ servers: place.slice('zookeeper://'.length) });
    const bridge = await newBridge(nsdb);
    let [running, changes] = [true, 0];
    const writer = async () => {
      while (running) {
        const port = await newPort(nsdb, bridge, { vlanId: 9 });
        await nsdb.transact((tx) => tx.delete('Port', port));
        changes++;
      }
    };
    const writing = writer();
    for (let round = 0; round < 5; round++) {
      const before = changes;
      assert.deepEqual(verifyStore(await imageOf(place)), []);
      await until(() => changes > before, 'a change in between');
    }
    running = false;
    await writing;
    await nsdb.close();
  });

  it('a load that was interrupted is no store', async () => {
    const place = embedded();
    const { store } = await openPlace(place);
    const stopped = new Error('stopped');
    await assert.rejects(
      loadStore(
        store,
        { generation: 'g', revision: 1, records: sound, garbage: 0 },
        {
          complete: true,
          onProgress: () => {
            throw stopped;
          },
        },
      ),
      stopped,
    );
    await store.close();
    await refused(openEmbedded({ dir: place }), 'WEFT_STORE_FORMAT');
  });
});
