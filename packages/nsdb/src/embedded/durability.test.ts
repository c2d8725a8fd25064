/** What was acknowledged survives; what was not is there wholly or not at all; a restored store is of a new generation. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { newBridge, newHost, newPort, refused, update } from '../compliance/harness.ts';
import { openEmbedded } from './index.ts';
import type { LmdbStore } from './lmdb-store.ts';
import { restoreEmbedded } from './restore.ts';

const root = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
after(() => rmSync(root, { recursive: true, force: true }));

/** Runs the child until it has acknowledged so many commits, kills it, and returns them. */
async function commitAndKill(dir: string, commits: number): Promise<string[][]> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'durability.child.ts'), dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  let lines = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    lines += text.split('\n').length - 1;
    if (lines >= commits) child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.once('close', resolve));
  return output
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' '));
}

describe('embedded store on disk', () => {
  it('kill -9: everything acknowledged is there, nothing is there in part, revisions go on', async () => {
    const dir = join(root, 'killed');
    const acknowledged: string[][] = [];
    for (const commits of [50, 400, 1_500]) {
      const lines = await commitAndKill(dir, commits);
      assert.ok(lines.length >= commits, `the child committed (${lines.length})`);
      acknowledged.push(...lines);
      const nsdb = await openEmbedded({ dir });
      try {
        const bridges = new Map((await nsdb.list('Bridge')).map((object) => [object.id, object]));
        const ports = new Map((await nsdb.list('Port')).map((object) => [object.id, object]));
        for (const [revision, name, bridge, port] of acknowledged) {
          assert.equal(bridges.get(bridge)?.version, Number(revision));
          assert.equal(bridges.get(bridge)?.value.name, name);
          assert.equal(ports.get(port)?.version, Number(revision));
        }
        assert.equal(bridges.size, ports.size);
        const keys = new Set<unknown>();
        for (const { id, version, value } of bridges.values()) {
          const [port, ...more] = await nsdb.referrers('Port', 'bridgeId', id);
          assert.equal(more.length, 0);
          assert.equal(ports.get(port)!.version, version, 'bridge and port are of one transaction');
          const [entry] = await nsdb.entries(`mac/${id}`);
          assert.deepEqual([entry.value, entry.version], [port, version]);
          keys.add(value.tunnelKey).add(ports.get(port)!.value.tunnelKey);
        }
        assert.equal(keys.size, 2 * bridges.size, 'no tunnel key twice, across crashes');
        const last = await nsdb.revision();
        assert.ok(last >= Math.max(...acknowledged.map(([revision]) => Number(revision))));
        assert.ok((await nsdb.transact((tx) => tx.create('Bridge', { name: 'next' }))).revision > last);
        for (const { id } of (await nsdb.list('Bridge')).filter(({ value }) => value.name === 'next'))
          await nsdb.transact((tx) => tx.delete('Bridge', id));
      } finally {
        await nsdb.close();
      }
    }
  });

  it('belongs to one process at a time, and is not blocked by a dead one', async () => {
    const dir = join(root, 'owned');
    const nsdb = await openEmbedded({ dir });
    assert.equal(statSync(dir).mode & 0o777, 0o700);
    await refused(openEmbedded({ dir }), 'WEFT_STORE_LOCKED');
    await nsdb.close();
    writeFileSync(join(dir, 'owner'), '4194304 1234\n');
    await (await openEmbedded({ dir })).close();
    // The number of a living process that is not the one that took the store.
    writeFileSync(join(dir, 'owner'), `${process.pid} 1\n`);
    await (await openEmbedded({ dir })).close();
  });

  it('a backup taken under load restores to one revision, under a new generation', async () => {
    const nsdb = await openEmbedded({ dir: join(root, 'original') });
    const host = await newHost(nsdb);
    const session = await nsdb.openSession(host);
    const bridge = await newBridge(nsdb, 'kept');
    await newPort(nsdb, bridge);
    session.reportApplied(await nsdb.revision());
    let running = true;
    const load = (async () => {
      while (running) await newPort(nsdb, bridge);
    })();
    await (nsdb.store as LmdbStore).backup(join(root, 'backup'));
    running = false;
    await load;
    await update(nsdb, 'Bridge', bridge, { name: 'lost' });
    const { generation } = nsdb;
    await nsdb.close();

    await refused(restoreEmbedded({ backup: join(root, 'backup'), dir: join(root, 'original') }), 'WEFT_DUPLICATE');
    await refused(restoreEmbedded({ backup: join(root, 'nowhere'), dir: join(root, 'x') }), 'WEFT_NOT_FOUND');
    const restored = await restoreEmbedded({ backup: join(root, 'backup'), dir: join(root, 'restored') });
    const again = await openEmbedded({ dir: join(root, 'restored') });
    assert.notEqual(again.generation, generation);
    assert.equal(again.generation, restored.generation);
    assert.equal((await again.get('Bridge', bridge))!.value.name, 'kept');
    const ports = await again.list('Port');
    assert.equal((await again.referrers('Port', 'bridgeId', bridge)).length, ports.length);
    assert.ok(Math.max(...ports.map(({ version }) => version)) <= (await again.revision()));
    const [convergence] = await again.convergence();
    assert.equal(convergence.applied, null, 'reports of the old generation say nothing about this one');
    await again.close();
  });

  it('refuses a store of another format', async () => {
    const dir = join(root, 'format');
    await (await openEmbedded({ dir })).close();
    const { open } = await import('lmdb');
    const db = open<string, string>({ path: dir, noSubdir: false, encoding: 'string', maxDbs: 4 });
    await db.openDB<string, string>({ name: 'meta', encoding: 'string' }).put('format', '99');
    await db.close();
    await refused(openEmbedded({ dir }), 'WEFT_STORE_FORMAT');
  });
});
