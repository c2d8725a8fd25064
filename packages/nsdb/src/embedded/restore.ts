/** Bringing a backup back. */
import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { RESTORED } from '../allocations/quarantine.ts';
import { NsdbError } from '../errors.ts';
import { FORMAT, metaKey } from './lmdb-store.ts';

/**
 * Makes a store out of a backup (see `LmdbStore.backup`), in a directory that holds none. The store gets a new generation:
 * revisions after the backup were taken back, so whoever knew them must not compare the two. Numbers that hosts may have been
 * given after the backup stay unused for the grace time and their cooling time, counted from the store's first start.
 * `complete`: nothing was written after the backup (the store was stopped, and has moved); then nothing need be held back.
 */
export async function restoreEmbedded(options: {
  backup: string;
  dir: string;
  complete?: boolean;
}): Promise<{ generation: string }> {
  const { backup, dir, complete = false } = options;
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
    if (!complete) await meta.put(metaKey(RESTORED), '');
    await root.flushed;
    return { generation };
  } finally {
    await root.close();
  }
}
