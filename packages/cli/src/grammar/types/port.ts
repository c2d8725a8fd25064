/** Ports, which bridges and routers share most of. */
import type { FieldType, ObjectType } from '../types.ts';
import { addresses, adminState, id, integer, mac, reference, references, text } from '../values.ts';

const common: readonly FieldType[] = [
  { name: 'id', property: 'id', value: id },
  { name: 'device', property: 'deviceId', value: reference('device'), readOnly: true, doc: 'the bridge or router' },
  { name: 'state', property: 'adminStateUp', value: adminState },
];

const ends: readonly FieldType[] = [
  { name: 'peer', property: 'peerId', value: reference('port') },
  { name: 'infilter', property: 'inboundFilterId', value: reference('chain') },
  { name: 'outfilter', property: 'outboundFilterId', value: reference('chain') },
  { name: 'host', property: 'hostId', value: reference('host'), readOnly: true },
  { name: 'interface', property: 'interfaceName', value: text, readOnly: true },
  { name: 'vif', property: 'vifId', value: text },
  { name: 'port-groups', property: 'portGroupIds', value: references('port-group'), readOnly: true },
  { name: 'tunnel-key', property: 'tunnelKey', value: integer, readOnly: true },
];

const shape = {
  name: 'port',
  aliases: [],
  model: 'Port',
  collection: 'ports',
  item: 'ports',
  parent: 'deviceId',
  alias: 'port',
  children: [],
  special: { peer: { path: 'link', property: 'peerId' } },
  verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
} as const;

export const BRIDGE_PORT: ObjectType = {
  ...shape,
  doc: 'a port of the bridge: bound to an interface of a host, or linked to a port of another device',
  fields: [...common, { name: 'vlan', property: 'vlanId', value: integer }, ...ends],
  examples: [
    'bridge BRIDGE add port',
    'bridge BRIDGE port PORT set infilter CHAIN',
    'bridge BRIDGE port PORT clear infilter',
  ],
};

export const ROUTER_PORT: ObjectType = {
  ...shape,
  doc: 'a port of the router: bound to an interface of a host, or linked to a port of another device',
  fields: [
    ...common,
    { name: 'mac', property: 'portMac', value: mac },
    { name: 'addresses', property: 'portSubnet', value: addresses },
    ...ends,
  ],
  examples: ['router ROUTER add port addresses 10.0.0.1/24,fd00::1/64', 'router ROUTER port PORT set peer PORT'],
};
