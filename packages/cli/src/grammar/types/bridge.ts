/** bridge, and the ports below it. */
import type { ObjectType } from '../types.ts';
import { adminState, integer, reference, text } from '../values.ts';
import { BRIDGE_PORT } from './port.ts';

export const BRIDGE_TYPES: readonly ObjectType[] = [
  {
    name: 'bridge',
    aliases: [],
    collection: 'bridges',
    item: 'bridges',
    fields: [
      { name: 'id', property: 'id', value: reference },
      { name: 'tenant', property: 'tenantId', value: text },
      { name: 'name', property: 'name', value: text },
      { name: 'state', property: 'adminStateUp', value: adminState },
      { name: 'infilter', property: 'inboundFilterId', value: reference },
      { name: 'outfilter', property: 'outboundFilterId', value: reference },
      { name: 'tunnel-key', property: 'tunnelKey', value: integer, readOnly: true },
    ],
    children: [BRIDGE_PORT],
    verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
  },
];
