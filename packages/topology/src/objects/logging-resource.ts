/** Where rule loggers write to. */
import Type, { type Static } from 'typebox';
import { id } from '../fields.ts';
import { defineObject } from '../spec.ts';

const LoggingResourceSchema = Type.Object(
  {
    id: id(),
    type: Type.Enum(['file'], {
      default: 'file',
      description: 'file: a file on each host, where its agent keeps logs',
    }),
    enabled: Type.Boolean({ default: true, description: 'false: the loggers that point here write nothing' }),
  },
  { additionalProperties: false, description: 'Where rule loggers write to' },
);
export type LoggingResource = Static<typeof LoggingResourceSchema>;

export const LoggingResourceSpec = defineObject('LoggingResource', LoggingResourceSchema);
