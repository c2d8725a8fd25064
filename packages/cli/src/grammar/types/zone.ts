/** tunnel-zone, and its members. */
import type { ObjectType } from '../types.ts';
import { address, id, oneOf, reference, text } from '../values.ts';

const MEMBER: ObjectType = {
  name: 'member',
  aliases: [],
  doc: 'a host in the zone, and the address that its tunnels end at',
  model: 'TunnelZoneHost',
  collection: 'hosts',
  fields: [
    { name: 'zone', property: 'tunnelZoneId', value: reference('tunnel-zone'), readOnly: true },
    { name: 'host', property: 'hostId', value: reference('host') },
    { name: 'address', property: 'ipAddress', value: address },
  ],
  examples: ['tunnel-zone ZONE add member host HOST address 10.9.0.1', 'tunnel-zone ZONE member host HOST delete'],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const ZONE_TYPES: readonly ObjectType[] = [
  {
    name: 'tunnel-zone',
    aliases: ['tzone'],
    doc: 'hosts that tunnel to each other',
    model: 'TunnelZone',
    collection: 'tunnel_zones',
    item: 'tunnel_zones',
    alias: 'tzone',
    fields: [
      { name: 'id', property: 'id', value: id },
      { name: 'name', property: 'name', value: text },
      { name: 'type', property: 'type', value: oneOf(['gre', 'vxlan']) },
    ],
    examples: ['tunnel-zone create name tz type vxlan', 'tunnel-zone name tz list member'],
    children: [MEMBER],
    verbs: ['list', 'show', 'create', 'set', 'delete', 'describe'],
  },
];
