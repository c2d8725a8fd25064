/** Interests, node paths and table names: how they are written, and the limits that keep them bounded. */
import type { Interest } from './contract.ts';
import { NsdbError } from './errors.ts';

/** Object ids: lower-case UUIDs in general; composed ids (`zone:host`) fit too. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const NAME = /^[A-Z][A-Za-z0-9]{0,63}$/;
const FIELD = /^[a-z][A-Za-z0-9.]{0,63}$/;
const TABLE = /^[a-z][a-z0-9-]{0,31}(\/[A-Za-z0-9][A-Za-z0-9._:-]{0,127}){1,3}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it forbids (tab separates parts of LMDB keys)
const CONTROL = /[\u0000-\u001f\u007f]/;

const MAX_ENTRY_KEY = 128;
const MAX_ENTRY_VALUE = 1024;

export type ParsedInterest =
  | { readonly kind: 'object'; readonly type: string; readonly id: string }
  | { readonly kind: 'objects'; readonly type: string }
  | { readonly kind: 'index'; readonly index: string; readonly id: string }
  | { readonly kind: 'table'; readonly table: string };

export const objectInterest = (type: string, id: string): Interest => `o/${type}/${id}`;
export const allInterest = (type: string): Interest => `a/${type}`;
export const indexInterest = (type: string, field: string, id: string): Interest => `i/${type}.${field}/${id}`;
export const tableInterest = (table: string): Interest => `t/${table}`;

/** Takes an interest apart, or throws WEFT_INVALID. */
export function parseInterest(interest: Interest): ParsedInterest {
  const parts = interest.split('/');
  switch (parts[0]) {
    case 'o':
      if (parts.length === 3 && NAME.test(parts[1]) && ID.test(parts[2]))
        return { kind: 'object', type: parts[1], id: parts[2] };
      break;
    case 'a':
      if (parts.length === 2 && NAME.test(parts[1])) return { kind: 'objects', type: parts[1] };
      break;
    case 'i': {
      const dot = parts.length === 3 ? parts[1].indexOf('.') : -1;
      if (dot > 0 && NAME.test(parts[1].slice(0, dot)) && FIELD.test(parts[1].slice(dot + 1)) && ID.test(parts[2]))
        return { kind: 'index', index: parts[1], id: parts[2] };
      break;
    }
    case 't':
      if (TABLE.test(interest.slice(2))) return { kind: 'table', table: interest.slice(2) };
      break;
  }
  throw new NsdbError('WEFT_INVALID', `"${interest.slice(0, 200)}" is not an interest`, [
    { property: 'interest', message: 'one of o/<Type>/<id>, a/<Type>, i/<Type>.<field>/<id>, t/<table>' },
  ]);
}

export function checkId(id: string): void {
  if (typeof id !== 'string' || !ID.test(id))
    throw new NsdbError('WEFT_INVALID', `"${String(id).slice(0, 200)}" is not an object id`, [
      { property: 'id', message: 'letters, digits and . _ : - only, 1 to 128 characters' },
    ]);
}

export function checkTable(table: string): void {
  if (typeof table !== 'string' || !TABLE.test(table))
    throw new NsdbError('WEFT_INVALID', `"${String(table).slice(0, 200)}" is not a state table`, [
      { property: 'table', message: '<kind>/<id of its owner>, e.g. mac/<bridge>' },
    ]);
}

/** Refuses entries beyond the limits of `TableEntry`. `value` null: a removal. */
export function checkEntry(table: string, key: string, value: string | null): void {
  checkTable(table);
  if (typeof key !== 'string' || key === '' || Buffer.byteLength(key) > MAX_ENTRY_KEY || CONTROL.test(key))
    throw new NsdbError('WEFT_INVALID', `Bad key in state table ${table}`, [
      { property: 'key', message: `1 to ${MAX_ENTRY_KEY} bytes without control characters` },
    ]);
  if (value !== null && (typeof value !== 'string' || Buffer.byteLength(value) > MAX_ENTRY_VALUE))
    throw new NsdbError(
      'WEFT_TOO_LARGE',
      `The value of ${key} in state table ${table} is above ${MAX_ENTRY_VALUE} bytes`,
    );
}

/** Which objects own a kind of table: their deletion drops it, and without them nothing can be put into it. Other kinds have no owner. */
export const TABLE_OWNERS: Readonly<Record<string, readonly string[]>> = {
  mac: ['Bridge'],
  arp: ['Router', 'Bridge'],
  nd: ['Router', 'Bridge'],
  active: ['Port'],
  routes: ['Port', 'Router'],
  peering: ['Port'],
  addresses: ['IpAddrGroup'],
};

/** Kinds of tables that belong to the topology: written by transactions alone, never by a host's session. */
export const TOPOLOGY_TABLES: ReadonlySet<string> = new Set(['addresses']);

/** Kind and owner's id of a table: `mac/<bridge>` and `mac/<bridge>/<vlan>` belong to the bridge. */
export function tableOwner(table: string): { kind: string; id: string } {
  const parts = table.split('/');
  return { kind: parts[0], id: parts[1] };
}
