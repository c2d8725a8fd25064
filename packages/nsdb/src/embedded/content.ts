/** The content of LMDB as records. */
import type { Database, Transaction } from 'lmdb';
import type { StoreRecord } from '../transfer/records.ts';
import { decode, prefixEnd, splitEntryKey } from './keys.ts';

export interface Databases {
  readonly nodes: Database<string, string>;
  readonly meta: Database<string, string>;
}

/** Where facts of `putMeta` and numbers of sequences are. */
export const META_PREFIX = 'x/';
export const SEQUENCE_PREFIX = 'sequence/';

/** All of it, as `transaction` sees it: without one, as it is at the moment, which is the same only for who does not wait meanwhile. */
export function* recordsOf({ nodes, meta }: Databases, transaction?: Transaction): Generator<StoreRecord> {
  const within = transaction === undefined ? {} : { transaction };
  for (const { key: path, value } of nodes.getRange(within)) {
    const { json } = decode(path, value);
    if (path.startsWith('t/')) yield { kind: 'entry', ...splitEntryKey(path), value: json };
    else yield { kind: 'node', path, json };
  }
  const below = (prefix: string) => meta.getRange({ start: prefix, end: prefixEnd(prefix), ...within });
  for (const { key, value } of below(META_PREFIX)) yield { kind: 'meta', key: key.slice(META_PREFIX.length), value };
  for (const { key, value } of below(SEQUENCE_PREFIX))
    yield { kind: 'sequence', name: key.slice(SEQUENCE_PREFIX.length), next: Number(value) };
}
