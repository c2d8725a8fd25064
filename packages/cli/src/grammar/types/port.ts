/** Ports, which bridges and routers share most of. */
import { addressPairs } from '../security-values.ts';
import type { FieldType, ObjectType } from '../types.ts';
import { addresses, adminState, flag, id, integer, ips, mac, reference, references, text } from '../values.ts';

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
  fields: [
    ...common,
    { name: 'vlan', property: 'vlanId', value: integer },
    { name: 'mac', property: 'macAddress', value: mac },
    { name: 'ips', property: 'fixedIps', value: ips },
    { name: 'allowed-pairs', property: 'allowedAddressPairs', value: addressPairs },
    { name: 'port-security', property: 'portSecurityEnabled', value: flag },
    { name: 'security-groups', property: 'securityGroupIds', value: references('security-group') },
    ...ends,
  ],
  examples: [
    'bridge BRIDGE add port',
    'bridge BRIDGE port PORT set infilter CHAIN',
    'bridge BRIDGE port PORT clear infilter',
    'bridge BRIDGE add port mac 02:00:00:00:00:01 ips 10.0.0.5,fd00::5 port-security true security-groups GROUP',
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
