/** Looks for what must not be in a store: references that lead nowhere, indexes and names that do not agree with the objects. */
import type { PoolNumber } from '../allocations/number.ts';
import { TABLE_OWNERS, tableOwner } from '../interests.ts';
import { type ObjectModel, topologyModel } from '../objects/model.ts';
import { holdingPath, idsOf, markerPath, objectPath, stampPath, uniquePath } from '../objects/paths.ts';
import type { StoreContent } from './records.ts';

export interface Finding {
  readonly what: 'dangling' | 'index' | 'unique' | 'key' | 'table' | 'pool';
  readonly path: string;
  readonly message: string;
}

/** All that is wrong; none: the store is sound. */
export function verifyStore({ records }: Pick<StoreContent, 'records'>, model: ObjectModel = topologyModel): Finding[] {
  const findings: Finding[] = [];
  const nodes = new Map<string, string>();
  for (const record of records) if (record.kind === 'node') nodes.set(record.path, record.json);
  const find = (what: Finding['what'], path: string, message: string) => findings.push({ what, path, message });
  const markers = new Set<string>();
  const names = new Set<string>();
  for (const [path, json] of nodes) {
    if (!path.startsWith('o/')) continue;
    const [, type, id] = path.split('/');
    const spec = Object.hasOwn(model.types, type) ? model.types[type] : undefined;
    if (spec === undefined) {
      find('dangling', path, `there is no type ${type}`);
      continue;
    }
    const value = JSON.parse(json) as Record<string, unknown>;
    for (const { field, target } of spec.references)
      for (const held of idsOf(value, field)) {
        if (!nodes.has(objectPath(target, held))) find('dangling', path, `${field} names ${target} ${held}`);
        const marker = markerPath(stampPath(type, field, held), id);
        markers.add(marker);
        if (!nodes.has(marker)) find('index', marker, `${path} is not in the index of its ${field}`);
      }
    for (const unique of spec.unique) {
      const name = uniquePath(type, unique, value);
      if (name === undefined) continue;
      names.add(name);
      const holder = nodes.get(name);
      if (holder === undefined || (JSON.parse(holder) as { id: string }).id !== id)
        find('unique', name, `${path} does not hold its ${unique.fields.join(', ')}`);
    }
    const key = value.tunnelKey;
    if (spec.tunnelKey && typeof key === 'number') {
      const holder = nodes.get(`k/${key}`);
      if (holder !== JSON.stringify({ type, id })) find('key', `k/${key}`, `${path} does not hold its tunnel key`);
    }
  }
  for (const [path, json] of nodes) {
    if (path.startsWith('i/') && path.split('/').length === 4 && !markers.has(path))
      find('index', path, 'the object does not refer there');
    if (path.startsWith('u/') && !names.has(path)) find('unique', path, 'no object has these values');
    if (path.startsWith('k/') && json !== '') {
      const { type, id } = JSON.parse(json) as { type: string; id: string };
      if (!nodes.has(objectPath(type, id))) find('key', path, `${type} ${id} does not exist`);
    }
    if (path.startsWith('n/')) {
      const [, pool, index] = path.split('/');
      const { host, released } = JSON.parse(json) as PoolNumber;
      if (released === null && !nodes.has(holdingPath(host, pool, Number(index))))
        find('pool', path, `host ${host} holds it and does not list it`);
    }
  }
  for (const record of records) {
    if (record.kind !== 'entry') continue;
    const { kind, id } = tableOwner(record.table);
    const owners = TABLE_OWNERS[kind];
    if (owners !== undefined && !owners.some((type) => nodes.has(objectPath(type, id))))
      find('table', `t/${record.table}`, `entry ${record.key}: there is no ${owners.join(' or ')} ${id}`);
  }
  return findings;
}
