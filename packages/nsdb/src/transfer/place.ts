/** Opens a store for its keeper: the directory of an embedded one that no process serves, or an ensemble. */
import { storeAddress } from '../address.ts';
import type { NodeStore } from '../backend.ts';
import { LmdbStore } from '../embedded/lmdb-store.ts';
import { NsdbError } from '../errors.ts';
import { ZookeeperStore } from '../zookeeper/store.ts';
import type { Transferable } from './records.ts';

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
