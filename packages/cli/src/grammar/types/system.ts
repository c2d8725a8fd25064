/** What the API tells of itself and of who uses it. */
import type { ObjectType } from '../types.ts';
import { id, shown, text } from '../values.ts';

export const SYSTEM_TYPES: readonly ObjectType[] = [
  {
    name: 'system-state',
    aliases: [],
    doc: 'version and revision of the store',
    collection: 'system_state',
    singleton: true,
    fields: [
      { name: 'state', property: 'state', value: shown, readOnly: true, doc: 'ACTIVE' },
      { name: 'availability', property: 'availability', value: shown, readOnly: true, doc: 'READWRITE' },
      { name: 'version', property: 'version', value: shown, readOnly: true, doc: 'of the API' },
      { name: 'revision', property: 'revision', value: shown, readOnly: true, doc: 'of the store' },
      { name: 'generation', property: 'generation', value: id, readOnly: true, doc: 'of the store' },
    ],
    examples: ['system-state show', 'show system-state revision'],
    children: [],
    verbs: ['show', 'describe'],
  },
  {
    name: 'tenant',
    aliases: [],
    doc: 'a tenant that the API knows of',
    collection: 'tenants',
    item: 'tenants',
    fields: [
      { name: 'id', property: 'id', value: text, readOnly: true, doc: 'what tenant fields hold' },
      { name: 'name', property: 'name', value: text, readOnly: true, doc: 'name for people' },
    ],
    examples: ['tenant list'],
    children: [],
    verbs: ['list', 'describe'],
  },
];
