/** Ports, which bridges and routers share most of. */
import type { FieldType, ObjectType } from '../types.ts';
import { adminState, flag, integer, list, reference, text } from '../values.ts';

const common: readonly FieldType[] = [
  { name: 'id', property: 'id', value: reference },
  { name: 'device', property: 'deviceId', value: reference, readOnly: true },
  { name: 'state', property: 'adminStateUp', value: adminState },
];

const ends: readonly FieldType[] = [
  { name: 'peer', property: 'peerId', value: reference },
  { name: 'infilter', property: 'inboundFilterId', value: reference },
  { name: 'outfilter', property: 'outboundFilterId', value: reference },
  { name: 'host', property: 'hostId', value: reference, readOnly: true },
  { name: 'interface', property: 'interfaceName', value: text, readOnly: true },
  { name: 'tunnel-key', property: 'tunnelKey', value: integer, readOnly: true },
];

const shape = {
  name: 'port',
  aliases: [],
  collection: 'ports',
  item: 'ports',
  children: [],
  special: { peer: { path: 'link', property: 'peerId' } },
  verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
} as const;

export const BRIDGE_PORT: ObjectType = {
  ...shape,
  fields: [...common, { name: 'vlan', property: 'vlanId', value: integer }, ...ends],
};

export const ROUTER_PORT: ObjectType = {
  ...shape,
  fields: [
    ...common,
    { name: 'mac', property: 'portMac', value: text },
    { name: 'addresses', property: 'portSubnet', value: list },
    ...ends,
  ],
};

/** Fields of `learned`-like marks that lists show. */
export const LEARNED: FieldType = { name: 'learned', property: 'learned', value: flag, readOnly: true };
