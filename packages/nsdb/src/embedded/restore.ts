/** Bringing a backup back. */
import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { NsdbError } from '../errors.ts';
import { FORMAT } from './lmdb-store.ts';

/**
 * Makes a store out of a backup (see `LmdbStore.backup`), in a directory that holds none. The store gets a new generation:
 * revisions after the backup were taken back, so whoever knew them must not compare the two.
 */
export async function restoreEmbedded(options: { backup: string; dir: string }): Promise<{ generation: string }> {
  const { backup, dir } = options;
  if (!existsSync(join(backup, 'data.mdb'))) throw new NsdbError('WEFT_NOT_FOUND', `There is no backup in ${backup}`);
  if (existsSync(dir) && readdirSync(dir).length > 0)
    throw new NsdbError('WEFT_DUPLICATE', `${dir} is not empty; restore into an empty directory`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  copyFileSync(join(backup, 'data.mdb'), join(dir, 'data.mdb'));
  const root = open<string, string>({ path: dir, noSubdir: false, encoding: 'string', maxDbs: 4 });
  try {
    const meta = root.openDB<string, string>({ name: 'meta', encoding: 'string' });
    if (meta.get('format') !== FORMAT) throw new NsdbError('WEFT_STORE_FORMAT', backup);
    const generation = randomUUID();
    await meta.put('generation', generation);
    await root.flushed;
    return { generation };
  } finally {
    await root.close();
  }
}
