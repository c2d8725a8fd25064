/**
 * Reads a store's directory, also while a process serves it: LMDB shows every reader one commit, for as long as it reads. Commits hold groups
 * of whole transactions with their revision, so what is seen is the state at one revision. It costs the process that serves the
 * store nothing but disk: pages that were freed meanwhile are not used again before the reading has ended.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { NsdbError } from '../errors.ts';
import { LOADING, type StoreContent, unfinished } from '../transfer/records.ts';
import { META_PREFIX, recordsOf } from './content.ts';
import { FORMAT } from './lmdb-store.ts';

/** @throws NsdbError WEFT_NOT_FOUND, WEFT_STORE_FORMAT (also of what a restore has not finished) */
export function openContent(dir: string): StoreContent {
  if (!existsSync(join(dir, 'data.mdb'))) throw new NsdbError('WEFT_NOT_FOUND', `There is no store in ${dir}`);
  const root = open<string, string>({ path: dir, noSubdir: false, encoding: 'string', maxDbs: 4, readOnly: true });
  const nodes = root.openDB<string, string>({ name: 'nodes', encoding: 'string' });
  const meta = root.openDB<string, string>({ name: 'meta', encoding: 'string' });
  const transaction = root.useReadTransaction();
  const close = async () => {
    transaction.done();
    await root.close();
  };
  const read = (key: string) => meta.get(key, { transaction });
  try {
    const format = read('format');
    if (format !== FORMAT) throw new NsdbError('WEFT_STORE_FORMAT', `${dir} has format ${format?.slice(0, 20)}`);
    if (read(META_PREFIX + LOADING)) throw unfinished();
    return {
      generation: read('generation')!,
      revision: Number(read('revision') ?? 0),
      garbage: 0,
      records: { [Symbol.iterator]: () => recordsOf({ nodes, meta }, transaction) },
      close,
    };
  } catch (error) {
    void close();
    throw error;
  }
}
