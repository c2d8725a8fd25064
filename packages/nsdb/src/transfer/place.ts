/** Opens a store for its keeper: the directory of an embedded one that no process serves, or an ensemble. */
import { storeAddress } from '../address.ts';
import type { NodeStore } from '../backend.ts';
import { LmdbStore } from '../embedded/lmdb-store.ts';
import { openContent } from '../embedded/open-content.ts';
import { NsdbError } from '../errors.ts';
import { ZookeeperStore } from '../zookeeper/store.ts';
import { LOADING, type StoreContent, type Transferable, unfinished } from './records.ts';

export interface OpenedStore {
  readonly kind: 'embedded' | 'zookeeper';
  readonly store: NodeStore & Transferable;
}

/**
 * `place`: a directory, or `zookeeper://…`. Nothing but the store is started: no sessions, no cleaning up. Errors: WEFT_STORE_LOCKED (a
 * process has the directory open), WEFT_STORE_AWAY, WEFT_STORE_CONFIG, WEFT_STORE_INSECURE. Close `store`.
 */
export async function openPlace(place: string, configFile?: string): Promise<OpenedStore> {
  if (!place.startsWith('zookeeper://')) return { kind: 'embedded', store: new LmdbStore({ dir: place }) };
  const address = storeAddress(place, configFile);
  if (!('zookeeper' in address)) throw new NsdbError('WEFT_STORE_CONFIG', place);
  const store = new ZookeeperStore({ ...address.zookeeper, isLoader: true });
  try {
    await store.link.firstAttempt;
    store.link.use();
  } catch (error) {
    await store.close();
    throw error;
  }
  return { kind: 'zookeeper', store };
}

/**
 * What a place holds, at one revision; it may be served, and written, meanwhile. `onProgress` is told how much of an ensemble's has been read; a directory's is
 * read as it is asked for. Errors: as those of `openPlace` without WEFT_STORE_LOCKED, WEFT_NOT_FOUND, WEFT_STORE_FORMAT.
 */
export async function readPlace(
  place: string,
  configFile?: string,
  onProgress?: (read: number) => void,
): Promise<StoreContent> {
  if (!place.startsWith('zookeeper://')) return openContent(place);
  const { store } = await openPlace(place, configFile);
  try {
    if (await store.getMeta(LOADING)) throw unfinished();
    return { ...(await store.image(onProgress)), close: async () => {} };
  } finally {
    await store.close();
  }
}
