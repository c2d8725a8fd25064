/** A virtual router. */
import Type, { type Static } from 'typebox';
import { adminStateUp, id, name, ref, tenantId } from '../fields.ts';
import { defineObject } from '../spec.ts';

const RouterSchema = Type.Object(
  {
    id: id(),
    tenantId: Type.Optional(tenantId()),
    name: Type.Optional(name()),
    adminStateUp: adminStateUp(),
    inboundFilterId: Type.Optional(ref('Chain', 'clear', 'Chain before routing')),
    outboundFilterId: Type.Optional(ref('Chain', 'clear', 'Chain after routing')),
    localRedirectChainId: Type.Optional(ref('Chain', 'clear', 'Chain before the inbound filter')),
    forwardChainId: Type.Optional(ref('Chain', 'clear', 'Chain before the outbound filter')),
    asNumber: Type.Integer({
      minimum: -1,
      maximum: 2 ** 32 - 1,
      default: -1,
      description: 'Autonomous system of the router; -1: none',
    }),
  },
  { additionalProperties: false, description: 'A virtual router' },
);
export type Router = Static<typeof RouterSchema>;

export const RouterSpec = defineObject('Router', RouterSchema);
