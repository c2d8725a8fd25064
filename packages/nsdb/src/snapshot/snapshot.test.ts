import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { newBridge, newHost, newPort, refused, until, update } from '../compliance/harness.ts';
import { connect } from '../connect.ts';
import type { Batch, Nsdb } from '../contract.ts';
import { openEmbedded } from '../embedded/index.ts';
import { serve } from '../remote/server.ts';
import { Pending } from '../subscription/pending.ts';
import { SnapshotFile } from './snapshot-file.ts';

const root = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const path = () => join(root, `s${count++}`);

async function start(dir: string, socket: string) {
  const nsdb = await openEmbedded({ dir });
  const server = await serve(nsdb, { socket });
  return {
    nsdb,
    stop: async () => {
      await server.close();
      await nsdb.close();
    },
  };
}

function record(nsdb: Nsdb, interests: string[]) {
  const batches: Batch[] = [];
  const subscription = nsdb.subscribe({ snapshot: 'agent', onBatch: (batch) => void batches.push(batch) });
  subscription.add(interests);
  return { batches, subscription };
}

describe('snapshot on disk', () => {
  it('serves an agent that starts while the store is away, and gives way when it returns', async () => {
    const [dir, socket, snapshotDir] = [path(), path(), path()];
    const reconnect = { first: 2, most: 20 };
    let store = await start(dir, socket);
    const [bridge, other] = [await newBridge(store.nsdb, 'one'), await newBridge(store.nsdb, 'other')];
    const port = await newPort(store.nsdb, bridge);
    const host = await newHost(store.nsdb);
    await (await store.nsdb.openSession(host)).put(`mac/${bridge}`, 'k', port);
    const interests = [`o/Bridge/${bridge}`, `i/Port.bridgeId/${bridge}`, `t/mac/${bridge}`, 'a/Host'];

    const first = await connect({ socket, reconnect, snapshotDir });
    const run = record(first, [...interests, `o/Bridge/${other}`]);
    await until(() => run.batches.length > 0, 'content');
    await update(store.nsdb, 'Bridge', bridge, { name: 'two' });
    const late = await newPort(store.nsdb, bridge);
    run.subscription.remove([`o/Bridge/${other}`]);
    const revision = await store.nsdb.revision();
    await until(() => run.batches.at(-1)!.revision >= revision, 'all changes');
    const contentAt = run.batches.findLast(({ changes }) => changes.length > 0)!.revision;
    await first.close();
    await store.stop();
    assert.equal(statSync(snapshotDir).mode & 0o777, 0o700);
    for (const file of readdirSync(snapshotDir)) assert.equal(statSync(join(snapshotDir, file)).mode & 0o777, 0o600);

    const second = await connect({ socket, reconnect, snapshotDir });
    await refused(second.revision(), 'WEFT_STORE_AWAY');
    const again = record(second, interests);
    again.subscription.add([`o/Bridge/${other}`]); // dropped in the first run: not in the snapshot
    await until(() => again.batches.length > 0, 'content from disk');
    const [offline] = again.batches;
    assert.equal(offline.fromSnapshot, true);
    assert.equal(offline.revision, contentAt);
    const state = new Pending();
    for (const change of offline.changes) state.add(change);
    const [object, index, table, hosts, ...rest] = state.peek(interests);
    assert.deepEqual(rest, []);
    assert.equal(object.kind === 'object' && object.object!.value.name, 'two');
    assert.deepEqual(index.kind === 'index' && [...index.added].sort(), [port, late].sort());
    assert.deepEqual(table.kind === 'table' && table.upserts.map(({ value, owner }) => [value, owner]), [[port, host]]);
    assert.deepEqual(hosts.kind === 'objects' && hosts.upserts.map(({ id }) => id), [host]);
    assert.ok(offline.changes.every(({ interest }) => interest !== `o/Bridge/${other}`));

    store = await start(dir, socket);
    await update(store.nsdb, 'Bridge', bridge, { name: 'three' });
    const target = await store.nsdb.revision();
    await until(() => again.batches.at(-1)!.revision >= target, 'the store is back');
    const live = again.batches.filter(({ fromSnapshot }) => !fromSnapshot);
    assert.deepEqual(
      live[0].changes.map(({ interest }) => interest).sort(),
      [...interests, `o/Bridge/${other}`].sort(),
      'everything anew, in one batch',
    );
    const objects = live.flatMap(({ changes }) => changes).filter(({ interest }) => interest === interests[0]);
    const newest = objects.at(-1)!;
    assert.equal(newest.kind === 'object' && newest.object!.value.name, 'three');
    await second.close();
    await store.stop();
  });

  it('any cut of the file leaves a state that was once true, never a mixture or an error', async () => {
    const file = join(path(), 'x.snapshot');
    const writer = new SnapshotFile(file, (error) => assert.fail(error));
    const content = new Pending();
    for (let i = 0; i < 20; i++) {
      // Two interests that always agree: a mixture shows.
      const changes = ['o/T/a', 'o/T/b'].map((interest) => ({
        interest,
        kind: 'object' as const,
        object: { type: 'T', id: 'x', version: i, value: {} },
      }));
      for (const change of changes) content.add(change);
      writer.append({ generation: 'g', revision: i, changes }, content);
    }
    await writer.close();
    const whole = readFileSync(file);
    const read = () => new SnapshotFile(file, () => {}).load();
    assert.equal(read()!.revision, 19);
    const consistent = () => {
      const snapshot = read();
      if (snapshot === undefined) return;
      for (const change of snapshot.content.peek())
        assert.equal(change.kind === 'object' && change.object!.version, snapshot.revision);
    };
    for (let length = 0; length < whole.length; length += 7) {
      writeFileSync(file, whole);
      truncateSync(file, length);
      consistent();
    }
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(whole);
        damaged[at] ^= flip;
        writeFileSync(file, damaged);
        consistent();
      }),
    );
  });

  it('does not grow without bound', async () => {
    const file = join(path(), 'x.snapshot');
    const writer = new SnapshotFile(file, (error) => assert.fail(error));
    const content = new Pending();
    for (let i = 0; i < 400; i++) {
      const object = { type: 'T', id: 'x', version: i, value: { text: 'x'.repeat(20_000) } };
      const change = { interest: 'o/T/x', kind: 'object' as const, object };
      content.add(change);
      writer.append({ generation: 'g', revision: i, changes: [change] }, content);
    }
    await writer.close();
    assert.ok(statSync(file).size < 1.5 * 2 ** 20, `${statSync(file).size} bytes`);
    assert.equal(new SnapshotFile(file, () => {}).load()!.revision, 399);
  });
});
