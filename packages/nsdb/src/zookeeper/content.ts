/** What the mirror holds of an interest, where it is among the znodes, and how one znode's change becomes one of it. */
import type { Change, Interest, StoredObject, TableEntry } from '../contract.ts';
import { allInterest, type ParsedInterest, tableInterest } from '../interests.ts';
import type { HubChange } from '../subscription/hub.ts';
import { winners } from '../tables.ts';
import { entryOf, nodeZnode, tablePlace, toNode, type Znode } from './layout.ts';
import type { Reader } from './reader.ts';
import { readTable, toEntry } from './tables.ts';

export type Content = { bytes: number } & (
  | { readonly kind: 'object'; object: StoredObject | null }
  | { readonly kind: 'objects'; readonly items: Map<string, StoredObject> }
  | { readonly kind: 'index'; readonly ids: Set<string> }
  | {
      readonly kind: 'table';
      readonly epoch: string | undefined;
      /** By key and then by znode, losing ones included. */
      readonly keys: Map<string, Map<string, TableEntry>>;
    }
);

/** What is to be watched for an interest. */
export function watchOf(parsed: ParsedInterest, interest: Interest): { path: string; recursive: boolean } {
  switch (parsed.kind) {
    case 'object':
      return { path: nodeZnode(interest), recursive: false };
    case 'objects':
      return { path: nodeZnode(`o/${parsed.type}`), recursive: true };
    case 'index':
      return { path: nodeZnode(interest), recursive: true };
    case 'table':
      return { path: tablePlace(parsed.table).root, recursive: true };
  }
}

/**
 * What an event at this path asks for: to read it, to read all of the interests that watch it (`whole`), or nothing: directories and
 * stamps tell nothing that the znodes below them do not.
 */
export function readOf(path: string): 'it' | 'whole' | undefined {
  const parts = path.split('/');
  if (parts[1] === 'n') {
    if (parts[2] === 'o') return parts.length === 5 ? 'it' : undefined;
    return parts[2] === 'i' && parts.length === 6 ? 'it' : undefined;
  }
  if (parts[1] === 't') return parts.length === 4 ? 'whole' : parts.length === 9 ? 'it' : undefined;
  return undefined;
}

/** The interests that a znode, for which `readOf` says `it`, can be of. */
export function locate(path: string): Interest[] {
  const parts = path.split('/');
  if (parts[1] === 'n' && parts[2] === 'o') return [`o/${parts[3]}/${parts[4]}`, allInterest(parts[3])];
  if (parts[1] === 'n') return [`i/${parts[3]}/${parts[4]}`];
  const sub = parts[5] === '_' ? '' : `/${parts[5].replaceAll('|', '/')}`;
  return [tableInterest(`${parts[2]}/${parts[3]}${sub}`)];
}

/** Reads all of it. What changes meanwhile is told by the watch. */
export async function loadContent(reader: Reader, parsed: ParsedInterest, interest: Interest): Promise<Content> {
  switch (parsed.kind) {
    case 'object':
      return objectContent(interest, await reader.data(nodeZnode(interest)));
    case 'objects': {
      const directory = nodeZnode(`o/${parsed.type}`);
      const items = new Map<string, StoredObject>();
      let bytes = 0;
      await Promise.all(
        (await reader.children(directory)).map(async (id) => {
          const znode = await reader.data(`${directory}/${id}`);
          const object = toObject(`o/${parsed.type}/${id}`, znode);
          if (object !== null) items.set(id, object);
          bytes += znode?.data.length ?? 0;
        }),
      );
      return { kind: 'objects', items, bytes };
    }
    case 'index': {
      const ids = new Set(await reader.children(nodeZnode(interest)));
      return { kind: 'index', ids, bytes: 36 * ids.size };
    }
    case 'table': {
      const { epoch, entries } = await readTable(reader, parsed.table);
      const keys = new Map<string, Map<string, TableEntry>>();
      let bytes = 0;
      for (const [path, entry] of entries) {
        slot(keys, entry.key).set(path, entry);
        bytes += entry.key.length + entry.value.length;
      }
      return { kind: 'table', epoch, keys, bytes };
    }
  }
}

/** What an object's interest holds when its znode is this. */
export function objectContent(interest: Interest, znode: Znode | undefined): Content {
  return { kind: 'object', object: toObject(interest, znode), bytes: znode?.data.length ?? 0 };
}

/** The whole content as a change. */
export function contentChange(interest: Interest, content: Content): Change {
  switch (content.kind) {
    case 'object':
      return { interest, kind: 'object', object: content.object };
    case 'objects':
      return { interest, kind: 'objects', reset: true, upserts: [...content.items.values()], removed: [] };
    case 'index':
      return { interest, kind: 'index', reset: true, added: [...content.ids], removed: [] };
    case 'table': {
      const upserts = [...content.keys].map(([key, entries]) => winners(entries.values()).get(key)!);
      return { interest, kind: 'table', reset: true, upserts, removed: [] };
    }
  }
}

/** Takes over what a znode is now; what that changes, or undefined. */
export function updateContent(
  interest: Interest,
  content: Content,
  path: string,
  znode: Znode | undefined,
): HubChange | undefined {
  const bytes = znode?.data.length ?? 0;
  switch (content.kind) {
    case 'object': {
      const object = toObject(interest, znode);
      if (object?.version === content.object?.version) return undefined;
      content.object = object;
      return { interest, kind: 'object', key: interest, load: () => object, bytes };
    }
    case 'objects': {
      const id = path.slice(path.lastIndexOf('/') + 1);
      const object = toObject(path.slice('/n/'.length), znode);
      if (object?.version === content.items.get(id)?.version) return undefined;
      if (object === null) content.items.delete(id);
      else content.items.set(id, object);
      return { interest, kind: 'objects', key: id, load: () => object, bytes };
    }
    case 'index': {
      const id = path.slice(path.lastIndexOf('/') + 1);
      if (content.ids.has(id) === (znode !== undefined)) return undefined;
      if (znode === undefined) content.ids.delete(id);
      else content.ids.add(id);
      return { interest, kind: 'index', key: id, load: () => (znode === undefined ? null : true), bytes };
    }
    case 'table': {
      if (path.split('/')[4] !== content.epoch) return undefined;
      const { key } = entryOf(path);
      const entries = slot(content.keys, key);
      const before = winners(entries.values()).get(key);
      if (znode === undefined) entries.delete(path);
      else entries.set(path, toEntry(path, znode));
      const winner = winners(entries.values()).get(key) ?? null;
      if (entries.size === 0) content.keys.delete(key);
      if (winner?.version === before?.version && winner?.owner === before?.owner) return undefined;
      return { interest, kind: 'table', key, load: () => winner, bytes };
    }
  }
}

function slot(keys: Map<string, Map<string, TableEntry>>, key: string): Map<string, TableEntry> {
  let entries = keys.get(key);
  if (entries === undefined) keys.set(key, (entries = new Map()));
  return entries;
}

function toObject(path: string, znode: Znode | undefined): StoredObject | null {
  const node = toNode(path, znode);
  if (node === undefined) return null;
  const [, type, id] = path.split('/');
  return { type, id, version: node.version, value: JSON.parse(node.json) as Record<string, unknown> };
}
