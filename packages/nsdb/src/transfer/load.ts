/** Fills an empty store with the content of another. */
import { parseLife } from '../allocations/number.ts';
import { RESTORED } from '../allocations/quarantine.ts';
import type { NodeOp, NodeStore } from '../backend.ts';
import { NsdbError } from '../errors.ts';
import { lastPart } from '../objects/paths.ts';
import { AWAY, LOADING, type StoreImage, type StoreRecord, type Transferable } from './records.ts';

/** Bytes and records in one commit at most. */
const MAX_BYTES = 300_000;
const MAX_OPS = 500;

export interface LoadOptions {
  /**
   * Nothing was written to the old store behind the image: it was stopped, and has moved. Otherwise numbers of pools that look free stay
   * unused for the grace and cooling times, as others may have been given them.
   */
  readonly complete: boolean;
  /** Records that are done. */
  onProgress?(done: number): void;
}

/**
 * Loads the image. The store must hold no nodes: WEFT_DUPLICATE. If it is interrupted, the store stays marked as unfinished, and is
 * to be made anew. Revisions begin anew, in the store's own generation.
 */
export async function loadStore(
  store: NodeStore & Transferable,
  image: StoreImage,
  { complete, onProgress }: LoadOptions,
): Promise<void> {
  const before = await store.image();
  if (before.records.some(({ kind }) => kind === 'node' || kind === 'entry'))
    throw new NsdbError('WEFT_DUPLICATE', 'The store is not empty; load into an empty one');
  await store.putMeta(LOADING, image.generation);
  let ops: NodeOp[] = [];
  let bytes = 0;
  let done = 0;
  const flush = async () => {
    if (ops.length > 0) await store.commit(ops);
    done += ops.length;
    [ops, bytes] = [[], 0];
    onProgress?.(done);
  };
  // A stamp is above its markers: shorter paths first.
  for (const record of ordered(image.records)) {
    if (record.kind === 'node') ops.push({ op: 'put', path: record.path, json: record.json });
    else if (record.kind === 'entry') {
      const { table, key, value, owner } = record;
      ops.push({ op: 'putEntry', table, key, value, owner });
    } else {
      if (record.kind === 'meta') await store.putMeta(record.key, record.value);
      else await store.setSequence(record.name, record.next);
      done++;
    }
    bytes += 200 + JSON.stringify(record).length;
    if (ops.length >= MAX_OPS || bytes >= MAX_BYTES) await flush();
  }
  await flush();
  await rememberSessions(store, image.records);
  if (!complete) await store.putMeta(RESTORED, '');
  await store.putMeta(LOADING, '');
}

function ordered(records: readonly StoreRecord[]): StoreRecord[] {
  const depth = (record: StoreRecord) => (record.kind === 'node' ? record.path.split('/').length : 99);
  return records.filter(keep).sort((a, b) => depth(a) - depth(b));
}

/** Not what is about the old store itself. */
function keep(record: StoreRecord): boolean {
  return record.kind !== 'meta' || !([LOADING, RESTORED].includes(record.key) || record.key.startsWith(AWAY));
}

/** Where one process serves all sessions it remembers incarnations for itself: from the hosts' lives. */
async function rememberSessions(store: NodeStore, records: readonly StoreRecord[]): Promise<void> {
  for (const record of records) {
    if (record.kind !== 'node' || !record.path.startsWith('l/')) continue;
    const { incarnation, died } = parseLife({ ...record, version: 0 });
    const session = { incarnation, present: died === null, applied: null };
    await store.putMeta(`session/${lastPart(record.path)}`, JSON.stringify(session));
  }
}
