/**
 * Clears away what counts for nothing: tombstones that are older than anything that may still check them, tables of epochs that were
 * dropped by somebody who did not get to it, and roots without tables.
 */
import type { ZooKeeper } from '@weft/zookeeper';
import { isLive } from './layout.ts';
import type { ZookeeperStore } from './store.ts';
import { clearAway, ignoring } from './tables.ts';

/**
 * Milliseconds that a tombstone stands at least: longer than `Committer` remembers data versions, which begin anew when a znode is made
 * again.
 */
export const TOMBSTONE_AGE = 3_600_000;

/** Directories of nodes that become tombstones, by how deep they are below their root. */
const ROOTS = [
  ['/n/o', 1],
  ['/n/u', 2],
  ['/n/n', 1],
  ['/n/p', 0],
  ['/n/d', 0],
] as const;

/** `age`: of what may go, ms. Resolves with the number of znodes that went, those below dropped tables not counted. */
export async function sweep(store: ZookeeperStore, age = TOMBSTONE_AGE): Promise<number> {
  const zk = store.link.use();
  const before = (await store.leaderTime()) - age;
  let gone = 0;
  for (const [root, depth] of ROOTS) {
    for (const directory of await below(store, root, depth))
      gone += await sweepTombstones(store, zk, directory, before);
  }
  for (const kind of await below(store, '/t', 1)) {
    for (const owner of await store.reader.children(kind))
      gone += await sweepTables(store, zk, `${kind}/${owner}`, before);
  }
  return gone;
}

async function below(store: ZookeeperStore, root: string, depth: number): Promise<string[]> {
  let paths = [root];
  for (let level = 0; level < depth; level++) {
    const lists = await Promise.all(
      paths.map(async (path) => (await store.reader.children(path)).map((name) => `${path}/${name}`)),
    );
    paths = lists.flat();
  }
  return paths;
}

async function sweepTombstones(
  store: ZookeeperStore,
  zk: ZooKeeper,
  directory: string,
  before: number,
): Promise<number> {
  const names = await store.reader.children(directory);
  const swept = await Promise.all(
    names.map(async (name) => {
      const path = `${directory}/${name}`;
      const znode = await store.reader.data(path);
      if (znode === undefined || isLive(znode) || znode.stat.mtime > before || znode.stat.numChildren > 0) return 0;
      return deleteAt(zk, path, znode.stat.version);
    }),
  );
  return swept.reduce<number>((sum, one) => sum + one, 0);
}

async function sweepTables(store: ZookeeperStore, zk: ZooKeeper, root: string, before: number): Promise<number> {
  const znode = await store.reader.data(root);
  if (znode === undefined || znode.stat.mtime > before) return 0;
  const epoch = Buffer.from(znode.data).toString();
  const epochs = await store.reader.children(root);
  for (const name of epochs) if (name !== epoch) await clearAway(zk, `${root}/${name}`);
  return epochs.includes(epoch) ? 0 : deleteAt(zk, root, znode.stat.version);
}

async function deleteAt(zk: ZooKeeper, path: string, version: number): Promise<number> {
  const deleted = await zk
    .delete(path, { version })
    .then(() => true)
    .catch(ignoring('WEFT_ZK_BAD_VERSION', 'WEFT_ZK_NOT_EMPTY', 'WEFT_ZK_NO_NODE'));
  return deleted ? 1 : 0;
}
