/**
 * Keys in LMDB. Nodes keep their path; an entry is `t/<table> TAB <key> TAB <owner>` (owner empty: persistent), so that a
 * table, and all entries of one key, are each one range. Paths and keys hold no control characters.
 */
import type { RawEntry, StoreNode } from '../backend.ts';

const TAB = '\t';

export const entryKey = (table: string, key: string, owner: string | null): string =>
  `t/${table}${TAB}${key}${TAB}${owner ?? ''}`;
export const tablePrefix = (table: string): string => `t/${table}${TAB}`;
export const entryPrefix = (table: string, key: string): string => `t/${table}${TAB}${key}${TAB}`;

export function splitEntryKey(path: string): { table: string; key: string; owner: string | null } {
  const a = path.indexOf(TAB);
  const b = path.lastIndexOf(TAB);
  return {
    table: path.slice(2, a),
    key: path.slice(a + 1, b),
    owner: b + 1 === path.length ? null : path.slice(b + 1),
  };
}

/** First string after all those that start with `prefix` (which ends in an ASCII character). */
export function prefixEnd(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

/** The prefix under which a key is listed: of a node the path with its last slash, of an entry its table. */
export function listPrefix(path: string): string {
  return path.startsWith('t/') ? path.slice(0, path.indexOf(TAB) + 1) : path.slice(0, path.lastIndexOf('/') + 1);
}

/** Value in LMDB: version, newline, content. */
export const encode = (version: number, json: string): string => `${version}\n${json}`;

export function decode(path: string, stored: string): StoreNode {
  const at = stored.indexOf('\n');
  return { path, version: Number(stored.slice(0, at)), json: stored.slice(at + 1) };
}

export function toEntry(node: StoreNode): RawEntry {
  const { key, owner } = splitEntryKey(node.path);
  return { key, owner, version: node.version, value: node.json };
}
