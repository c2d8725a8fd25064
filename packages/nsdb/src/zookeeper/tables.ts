/**
 * State tables: one znode for each entry, in directories by table, owner and hash of the key, below the epoch that counts. To drop
 * all tables of an owner is to name another epoch; what was below the old one is cleared away afterwards.
 */
import { isZooKeeperError, type ZooKeeper } from '@weft/zookeeper';
import type { RawEntry } from '../backend.ts';
import { TOPOLOGY_TABLES, tableOwner } from '../interests.ts';
import { COMMON_SPACE, entryOf, ownedZnode, tablePlace, type Znode } from './layout.ts';
import type { Reader } from './reader.ts';

export interface TableRoot {
  readonly epoch: string;
  /** Data version of the root's znode. */
  readonly version: number;
}

/** The space that the entries of an owner are in: a host's own, so that it alone may write there, or the common one. */
export function spaceOf(table: string, owner: string | null): string {
  return owner === null || TOPOLOGY_TABLES.has(tableOwner(table).kind) ? COMMON_SPACE : owner;
}

export function toRoot(znode: Znode | undefined): TableRoot | undefined {
  return znode && { epoch: Buffer.from(znode.data).toString(), version: znode.stat.version };
}

export function toEntry(path: string, znode: Znode): RawEntry {
  const version = Number(znode.stat.mzxid);
  return { ...entryOf(path), version, value: Buffer.from(znode.data).toString() };
}

/** The entries of a table by their znodes, in the epoch that counts; `space`: of one owner only. */
export async function readTable(
  reader: Reader,
  table: string,
  space?: string,
): Promise<{ epoch: string | undefined; entries: Map<string, RawEntry> }> {
  const { root, sub } = tablePlace(table);
  const entries = new Map<string, RawEntry>();
  const found = toRoot(await reader.data(root));
  if (found === undefined) return { epoch: undefined, entries };
  const directory = `${root}/${found.epoch}/${sub}`;
  const spaces = space === undefined ? await reader.children(directory) : [space];
  await Promise.all(
    spaces.map(async (name) => {
      const buckets = await reader.children(`${directory}/${name}`);
      await Promise.all(
        buckets.map(async (bucket) => {
          const at = `${directory}/${name}/${bucket}`;
          await Promise.all(
            (await reader.children(at)).map(async (child) => {
              const path = `${at}/${child}`;
              const znode = await reader.data(path);
              if (znode !== undefined) entries.set(path, toEntry(path, znode));
            }),
          );
        }),
      );
    }),
  );
  return { epoch: found.epoch, entries };
}

/** Tables in which the host may own something. */
export async function tablesOf(reader: Reader, hostId: string): Promise<string[]> {
  return (await reader.children(ownedZnode(hostId))).map(decodeURIComponent);
}

/** Deletes a directory with all that is below it. What others delete or add meanwhile does not matter: it counts no longer. */
export async function clearAway(zk: ZooKeeper, path: string): Promise<void> {
  const children = await zk.getChildren(path).catch(ignoring('WEFT_ZK_NO_NODE'));
  if (children === undefined) return;
  for (let at = 0; at < children.children.length; at += 200)
    await Promise.all(children.children.slice(at, at + 200).map((name) => clearAway(zk, `${path}/${name}`)));
  await zk.delete(path).catch(ignoring('WEFT_ZK_NO_NODE', 'WEFT_ZK_NOT_EMPTY'));
}

/** For `catch`: undefined for these codes. */
export function ignoring(...codes: Parameters<typeof isZooKeeperError>[1][]) {
  return (error: unknown): undefined => {
    if (!isZooKeeperError(error, ...codes)) throw error;
  };
}
