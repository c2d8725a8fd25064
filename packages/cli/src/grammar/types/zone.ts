/** tunnel-zone, and its members. */
import type { ObjectType } from '../types.ts';
import { reference, text, word } from '../values.ts';

const MEMBER: ObjectType = {
  name: 'member',
  aliases: [],
  collection: 'hosts',
  key: 'hostId',
  fields: [
    { name: 'zone', property: 'tunnelZoneId', value: reference, readOnly: true },
    { name: 'host', property: 'hostId', value: reference },
    { name: 'address', property: 'ipAddress', value: text },
  ],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const ZONE_TYPES: readonly ObjectType[] = [
  {
    name: 'tunnel-zone',
    aliases: ['tzone'],
    collection: 'tunnel_zones',
    item: 'tunnel_zones',
    fields: [
      { name: 'id', property: 'id', value: reference },
      { name: 'name', property: 'name', value: text },
      { name: 'type', property: 'type', value: word },
    ],
    children: [MEMBER],
    verbs: ['list', 'show', 'create', 'set', 'delete', 'describe'],
  },
];
