/**
 * Ports that rules name together. Which ports are in it stands in the ports (`portGroupIds`), so that one more member
 * changes one port and wakes nobody who watches the others.
 */
import Type, { type Static } from 'typebox';
import { id, name, tenantId } from '../fields.ts';
import { defineObject } from '../spec.ts';

const PortGroupSchema = Type.Object(
  {
    id: id(),
    tenantId: Type.Optional(tenantId()),
    name: Type.Optional(name()),
    stateful: Type.Boolean({
      default: false,
      description: 'true: the members share flow state, because return traffic may come by another of them',
    }),
  },
  { additionalProperties: false, description: 'Ports that rules name together' },
);
export type PortGroup = Static<typeof PortGroupSchema>;

export const PortGroupSpec = defineObject('PortGroup', PortGroupSchema);
