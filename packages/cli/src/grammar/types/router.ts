/** router, and the ports and routes below it. */
import type { ObjectType } from '../types.ts';
import { adminState, integer, prefix, reference, text, word } from '../values.ts';
import { LEARNED, ROUTER_PORT } from './port.ts';

const ROUTE: ObjectType = {
  name: 'route',
  aliases: [],
  collection: 'routes',
  item: 'routes',
  fields: [
    { name: 'id', property: 'id', value: reference },
    { name: 'type', property: 'type', value: word },
    { name: 'src', property: 'srcSubnet', value: prefix },
    { name: 'dst', property: 'dstSubnet', value: prefix },
    { name: 'gw', property: 'nextHopGateway', value: text },
    { name: 'port', property: 'nextHopPort', value: reference },
    { name: 'weight', property: 'weight', value: integer },
    LEARNED,
  ],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const ROUTER_TYPES: readonly ObjectType[] = [
  {
    name: 'router',
    aliases: [],
    collection: 'routers',
    item: 'routers',
    fields: [
      { name: 'id', property: 'id', value: reference },
      { name: 'tenant', property: 'tenantId', value: text },
      { name: 'name', property: 'name', value: text },
      { name: 'state', property: 'adminStateUp', value: adminState },
      { name: 'infilter', property: 'inboundFilterId', value: reference },
      { name: 'outfilter', property: 'outboundFilterId', value: reference },
      { name: 'local-redirect-chain', property: 'localRedirectChainId', value: reference },
      { name: 'forward-chain', property: 'forwardChainId', value: reference },
      { name: 'asn', property: 'asNumber', value: integer },
    ],
    children: [ROUTER_PORT, ROUTE],
    verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
  },
];
