/** bridge, and what is below it: its ports, its tables of MAC and IP addresses. */
import type { ObjectType } from '../types.ts';
import { adminState, id, integer, mac, reference, text } from '../values.ts';
import { BRIDGE_PORT } from './port.ts';
import { ARP_TABLE, LEARNED, LEARNED_BY } from './table.ts';

const MAC_TABLE: ObjectType = {
  name: 'mac-table',
  aliases: [],
  doc: 'which port a MAC address is behind, learned from traffic or seeded here',
  collection: 'mac_table',
  fields: [
    { name: 'mac', property: 'macAddr', value: mac, doc: 'MAC address of what is attached' },
    { name: 'port', property: 'portId', value: reference('port'), doc: 'the port that it is behind' },
    { name: 'vlan', property: 'vlanId', value: integer, readOnly: true, doc: 'of tagged frames' },
    LEARNED,
    LEARNED_BY,
  ],
  examples: ['bridge BRIDGE list mac-table', 'bridge BRIDGE add mac-table mac 02:00:00:00:00:01 port PORT'],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const BRIDGE_TYPES: readonly ObjectType[] = [
  {
    name: 'bridge',
    aliases: [],
    doc: 'a virtual switch',
    model: 'Bridge',
    collection: 'bridges',
    item: 'bridges',
    alias: 'bridge',
    fields: [
      { name: 'id', property: 'id', value: id },
      { name: 'tenant', property: 'tenantId', value: text },
      { name: 'name', property: 'name', value: text },
      { name: 'state', property: 'adminStateUp', value: adminState },
      { name: 'infilter', property: 'inboundFilterId', value: reference('chain') },
      { name: 'outfilter', property: 'outboundFilterId', value: reference('chain') },
      { name: 'tunnel-key', property: 'tunnelKey', value: integer, readOnly: true },
    ],
    examples: ['bridge create name demo', 'bridge name demo set state down', 'bridge name demo list port'],
    children: [BRIDGE_PORT, MAC_TABLE, ARP_TABLE],
    verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
  },
];
