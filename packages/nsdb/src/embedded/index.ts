/** Opens the embedded store. */

import { StoreNsdb, type StoreNsdbOptions } from '../store-nsdb.ts';
import { LOADING, unfinished } from '../transfer/records.ts';
import { LmdbStore, type LmdbStoreOptions } from './lmdb-store.ts';

export interface EmbeddedOptions extends LmdbStoreOptions, StoreNsdbOptions {}

/** Opens (or creates) the store in `options.dir`. One process at a time: WEFT_STORE_LOCKED otherwise. */
export async function openEmbedded(options: EmbeddedOptions): Promise<StoreNsdb> {
  const store = new LmdbStore(options);
  try {
    if (store.getMeta(LOADING)) throw unfinished();
    return await StoreNsdb.over(store, options);
  } catch (error) {
    await store.close();
    throw error;
  }
}
