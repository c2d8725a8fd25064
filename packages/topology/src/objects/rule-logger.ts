/** Says which decisions of a chain are logged, and where. */
import Type, { type Static } from 'typebox';
import { id, ref } from '../fields.ts';
import { defineObject } from '../spec.ts';

const RuleLoggerSchema = Type.Object(
  {
    id: id(),
    chainId: ref('Chain', 'cascade', 'Chain whose deciding rules are logged'),
    event: Type.Enum(['accept', 'drop', 'all'], {
      description: 'accept: rules that accept or return; drop: rules that drop or reject; all: both',
    }),
    loggingResourceId: ref('LoggingResource', 'cascade', 'Where the log goes'),
  },
  { additionalProperties: false, description: 'Which decisions of a chain are logged, and where' },
);
export type RuleLogger = Static<typeof RuleLoggerSchema>;

export const RuleLoggerSpec = defineObject('RuleLogger', RuleLoggerSchema, { immutable: ['chainId'] });
