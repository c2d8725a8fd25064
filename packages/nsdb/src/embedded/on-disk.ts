/** What subscribers are shown, read from LMDB alone: it stands at the published revision whenever this runs. */
import type { StoreNode } from '../backend.ts';
import type { Change, Interest, StoredObject } from '../contract.ts';
import { allInterest, parseInterest, tableInterest } from '../interests.ts';
import type { HubChange } from '../subscription/hub.ts';
import { winners } from '../tables.ts';
import { entryPrefix, splitEntryKey, tablePrefix, toEntry } from './keys.ts';

export interface OnDisk {
  load(path: string): StoreNode | undefined;
  loadRange(prefix: string): StoreNode[];
}

/** The whole content of an interest. */
export function contentOf(disk: OnDisk, interest: Interest): Change {
  const parsed = parseInterest(interest);
  switch (parsed.kind) {
    case 'object':
      return { interest, kind: 'object', object: toObject(disk.load(interest)) };
    case 'objects': {
      const upserts = disk.loadRange(`o/${parsed.type}/`).map((node) => toObject(node)!);
      return { interest, kind: 'objects', reset: true, upserts, removed: [] };
    }
    case 'index': {
      const added = disk.loadRange(`${interest}/`).map(({ path }) => path.slice(interest.length + 1));
      return { interest, kind: 'index', reset: true, added, removed: [] };
    }
    case 'table': {
      const entries = winners(disk.loadRange(tablePrefix(parsed.table)).map(toEntry));
      return { interest, kind: 'table', reset: true, upserts: [...entries.values()], removed: [] };
    }
  }
}

/** What a group of commits left behind (null: removed), in terms of interests. */
export function* changesOf(disk: OnDisk, dirty: ReadonlyMap<string, StoreNode | null>): Generator<HubChange> {
  const keysSeen = new Set<string>();
  for (const [path, node] of dirty) {
    if (path.startsWith('o/')) {
      const [, type, id] = path.split('/');
      let loaded: StoredObject | null | undefined;
      const load = () => (loaded === undefined ? (loaded = toObject(node ?? undefined)) : loaded);
      yield { interest: path, kind: 'object', key: id, load };
      yield { interest: allInterest(type), kind: 'objects', key: id, load };
    } else if (path.startsWith('i/')) {
      const at = path.lastIndexOf('/');
      if (path.indexOf('/', 2) === at) continue; // the stamp above the markers
      yield { interest: path.slice(0, at), kind: 'index', key: path.slice(at + 1), load: () => (node ? true : null) };
    } else if (path.startsWith('t/')) {
      const { table, key } = splitEntryKey(path);
      const prefix = entryPrefix(table, key);
      if (keysSeen.has(prefix)) continue;
      keysSeen.add(prefix);
      const load = () => winners(disk.loadRange(prefix).map(toEntry)).get(key) ?? null;
      yield { interest: tableInterest(table), kind: 'table', key, load };
    }
  }
}

function toObject(node: StoreNode | undefined): StoredObject | null {
  if (node === undefined) return null;
  const [, type, id] = node.path.split('/');
  return { type, id, version: node.version, value: JSON.parse(node.json) as Record<string, unknown> };
}
