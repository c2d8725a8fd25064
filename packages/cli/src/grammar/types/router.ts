/** router, and what is below it: ports, routes, its table of neighbours. */
import type { ObjectType } from '../types.ts';
import { address, adminState, flag, id, integer, oneOf, prefix, reference, text } from '../values.ts';
import { ROUTER_PORT } from './port.ts';
import { ARP_TABLE } from './table.ts';

const ROUTE: ObjectType = {
  name: 'route',
  aliases: [],
  doc: 'where the router sends packets for a prefix',
  model: 'Route',
  collection: 'routes',
  item: 'routes',
  parent: 'routerId',
  alias: 'route',
  fields: [
    { name: 'id', property: 'id', value: id },
    { name: 'type', property: 'type', value: oneOf(['normal', 'blackhole', 'reject', 'local']) },
    { name: 'src', property: 'srcSubnet', value: prefix },
    { name: 'dst', property: 'dstSubnet', value: prefix },
    { name: 'gw', property: 'nextHopGateway', value: address },
    { name: 'port', property: 'nextHopPort', value: reference('port') },
    { name: 'weight', property: 'weight', value: integer },
    { name: 'learned', property: 'learned', value: flag, readOnly: true },
  ],
  examples: [
    'router ROUTER add route type normal src 0.0.0.0/0 dst 10.0.0.0/24 port PORT',
    'router ROUTER add route type normal src 0.0.0.0/0 dst 0.0.0.0/0 gw 192.0.2.1 port PORT',
    'router ROUTER list route',
  ],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const ROUTER_TYPES: readonly ObjectType[] = [
  {
    name: 'router',
    aliases: [],
    doc: 'a virtual router',
    model: 'Router',
    collection: 'routers',
    item: 'routers',
    alias: 'router',
    fields: [
      { name: 'id', property: 'id', value: id },
      { name: 'tenant', property: 'tenantId', value: text },
      { name: 'name', property: 'name', value: text },
      { name: 'state', property: 'adminStateUp', value: adminState },
      { name: 'infilter', property: 'inboundFilterId', value: reference('chain') },
      { name: 'outfilter', property: 'outboundFilterId', value: reference('chain') },
      { name: 'local-redirect-chain', property: 'localRedirectChainId', value: reference('chain') },
      { name: 'forward-chain', property: 'forwardChainId', value: reference('chain') },
      { name: 'asn', property: 'asNumber', value: integer },
    ],
    examples: ['router create name edge', 'router name edge list route'],
    children: [ROUTER_PORT, ROUTE, ARP_TABLE],
    verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
  },
];
