/**
 * Where things are among the nodes.
 *
 * | node | content |
 * |---|---|
 * | `o/<Type>/<id>` | the object |
 * | `i/<Type>.<field>/<target>/<id>` | marker: the object `<id>` refers to `<target>` |
 * | `i/<Type>.<field>/<target>` | stamp: rewritten whenever a marker below comes or goes, so that the set has a version |
 * | `u/<Type>/<fields>/<hash of the values>` | `{id}` of the one object with these values |
 * | `k/<tunnel key>` | `{type, id}` of its holder; empty: freed by the revision that is the node's version |
 * | `n/<pool>/<number>` | a number of a pool: last holder, token, cooling (`PoolNumber`) |
 * | `h/<host>/<pool>\|<number>` | marker: the host holds the number |
 * | `l/<host>` | whether a host that may hold numbers lives (`HostLife`) |
 * | `p/<kind>\|<owner>`, `p/<kind>\|<owner>/<pool>` | stamp and marker: the owner has this pool |
 * | `d/<kind>\|<owner>` | the owner was deleted, its pools are still being cleared away |
 * | `f/token` | highest token of numbers that were cleared away, where the time is not above it anyhow |
 *
 * Names of pools are one part of a path: `|` stands for their `/`.
 */
import { createHash } from 'node:crypto';
import type { Unique } from '@weft/topology';

export const objectPath = (type: string, id: string): string => `o/${type}/${id}`;
export const typePath = (type: string): string => `o/${type}`;
export const stampPath = (type: string, field: string, target: string): string => `i/${type}.${field}/${target}`;
export const markerPath = (stamp: string, id: string): string => `${stamp}/${id}`;
export const tunnelKeyPath = (key: number): string => `k/${key}`;

const poolPart = (pool: string): string => pool.replaceAll('/', '|');
export const numbersPath = (pool: string): string => `n/${poolPart(pool)}`;
export const numberPath = (pool: string, index: number): string => `n/${poolPart(pool)}/${index}`;
export const holdingsPath = (hostId: string): string => `h/${hostId}`;
export const holdingPath = (hostId: string, pool: string, index: number): string =>
  `h/${hostId}/${poolPart(pool)}|${index}`;
export const LIVES_PATH = 'l';
export const lifePath = (hostId: string): string => `l/${hostId}`;
export const ownedPoolsPath = (kind: string, ownerId: string): string => `p/${kind}|${ownerId}`;
export const ownedPoolPath = (kind: string, ownerId: string, pool: string): string =>
  `p/${kind}|${ownerId}/${poolPart(pool)}`;
export const DROPPED_OWNERS_PATH = 'd';
export const droppedOwnerPath = (kind: string, ownerId: string): string => `d/${kind}|${ownerId}`;
export const TOKEN_FLOOR_PATH = 'f/token';

/** Last part of a node's path. */
export const lastPart = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Pool and number that a holding's node is of. */
export function holdingOf(path: string): { pool: string; index: number } {
  const parts = lastPart(path).split('|');
  return { index: Number(parts.pop()), pool: parts.join('/') };
}

/** Pool that an owner's marker is of. */
export const poolOf = (path: string): string => lastPart(path).replaceAll('|', '/');

/** Kind and id of the owner that a node of dropped owners is of. */
export function droppedOwnerOf(path: string): { kind: string; id: string } {
  const [kind, id] = lastPart(path).split('|');
  return { kind, id };
}

/** Node of a unique combination, or undefined where the object lacks one of the fields. */
export function uniquePath(type: string, unique: Unique, value: Record<string, unknown>): string | undefined {
  const fields = unique.scope === undefined ? unique.fields : [unique.scope, ...unique.fields];
  const values: unknown[] = [];
  for (const field of fields) {
    const part = fieldOf(value, field);
    if (part === undefined || part === null || part === '') return undefined;
    values.push(part);
  }
  const hash = createHash('sha256').update(JSON.stringify(values)).digest('base64url');
  return `u/${type}/${fields.join('+')}/${hash}`;
}

/** A field by its dotted name. */
function fieldOf(value: Record<string, unknown>, field: string): unknown {
  if (!field.includes('.')) return value[field];
  let at: unknown = value;
  for (const part of field.split('.')) at = (at as Record<string, unknown> | undefined)?.[part];
  return at;
}

/** The ids that a reference field holds. */
export function idsOf(value: Record<string, unknown>, field: string): string[] {
  const held = fieldOf(value, field);
  if (typeof held === 'string') return [held];
  return Array.isArray(held) ? held.filter((id): id is string => typeof id === 'string') : [];
}

/** A copy of the value without this id in the reference field. */
export function withoutId(value: Record<string, unknown>, field: string, id: string): Record<string, unknown> {
  const copy = structuredClone(value);
  const parts = field.split('.');
  const last = parts.pop()!;
  let at: Record<string, unknown> = copy;
  for (const part of parts) at = at[part] as Record<string, unknown>;
  if (Array.isArray(at[last])) at[last] = at[last].filter((held) => held !== id);
  else delete at[last];
  return copy;
}
