/** What the tables of bridges and routers have in common. */
import type { FieldType, ObjectType } from '../types.ts';
import { address, flag, mac, reference } from '../values.ts';

export const LEARNED: FieldType = {
  name: 'learned',
  property: 'learned',
  value: flag,
  readOnly: true,
  doc: 'true: by a host, from traffic; false: written by an operator',
};

export const LEARNED_BY: FieldType = {
  name: 'host',
  property: 'hostId',
  value: reference('host'),
  readOnly: true,
  doc: 'the host that learned it',
};

export const ARP_TABLE: ObjectType = {
  name: 'arp-table',
  aliases: [],
  doc: 'which MAC address an IP address has, learned from traffic or seeded here',
  collection: 'arp_table',
  fields: [
    { name: 'address', property: 'ip', value: address, doc: 'IPv4 or IPv6 address' },
    { name: 'mac', property: 'mac', value: mac, doc: 'its MAC address' },
    { name: 'port', property: 'portId', value: reference('port'), readOnly: true, doc: 'of a link-local neighbour' },
    LEARNED,
    LEARNED_BY,
  ],
  examples: ['bridge BRIDGE list arp-table', 'bridge BRIDGE add arp-table address 10.0.0.5 mac 02:00:00:00:00:01'],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};
