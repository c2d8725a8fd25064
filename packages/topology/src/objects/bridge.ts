/** A virtual switch. */
import Type, { type Static } from 'typebox';
import { adminStateUp, id, name, ref, tenantId, tunnelKey } from '../fields.ts';
import { defineObject } from '../spec.ts';

const BridgeSchema = Type.Object(
  {
    id: id(),
    tenantId: Type.Optional(tenantId()),
    name: Type.Optional(name()),
    adminStateUp: adminStateUp(),
    tunnelKey: Type.Optional(tunnelKey('Flood key: marks replicated frames of this bridge in tunnels')),
    inboundFilterId: Type.Optional(ref('Chain', 'clear', 'Chain that frames pass when they enter the bridge')),
    outboundFilterId: Type.Optional(ref('Chain', 'clear', 'Chain that frames pass when they leave the bridge')),
  },
  { additionalProperties: false, description: 'A virtual switch' },
);
export type Bridge = Static<typeof BridgeSchema>;

export const BridgeSpec = defineObject('Bridge', BridgeSchema);
