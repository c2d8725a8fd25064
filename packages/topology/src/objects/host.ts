/** A machine that runs the agent. Created by the agent, not by the user; deleted only when nothing is bound to it. */
import Type, { type Static } from 'typebox';
import { id, name } from '../fields.ts';
import { defineObject } from '../spec.ts';

const HostSchema = Type.Object(
  {
    id: id(),
    name: Type.Optional(name()),
    floodingProxyWeight: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 1,
      description: 'Share of the floods towards hardware VTEPs that go through this host; 0: none',
    }),
    containerWeight: Type.Integer({ minimum: 0, maximum: 65_535, default: 1 }),
    containerLimit: Type.Integer({ minimum: -1, maximum: 2 ** 31 - 1, default: -1, description: '-1: no limit' }),
    enforceContainerLimit: Type.Boolean({ default: false }),
  },
  { additionalProperties: false, description: 'A machine that runs the agent' },
);
export type Host = Static<typeof HostSchema>;

export const HostSpec = defineObject('Host', HostSchema);
