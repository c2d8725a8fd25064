/** What connections a request means, read field by field: a misspelt one must not widen it. */
import { AgentError } from '../errors.ts';
import type { ConnectionQuery } from '../explain/connection-filter.ts';

const FIELDS = ['port', 'host', 'address', 'protocol', 'state', 'device'] as const;
const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 100_000;

/** Of a query string. @throws AgentError WEFT_AGENT_CONTROL */
export function connectionQuery(params: URLSearchParams): ConnectionQuery {
  const { limit, ...fields } = Object.fromEntries(params) as Record<string, unknown>;
  return { ...chosen(fields), limit: limitOf(limit === undefined ? undefined : Number(limit)) };
}

/** Of a body that asks for connections to be ended: it must say which. @throws AgentError WEFT_AGENT_CONTROL */
export function cutRequest(body: Record<string, unknown>): ConnectionQuery {
  const { limit, ...fields } = body;
  const query = chosen(fields);
  if (Object.keys(query).length === 0) {
    throw new AgentError('WEFT_AGENT_CONTROL', `say which connections to end, by one or more of ${FIELDS.join(', ')}`);
  }
  return { ...query, limit: limitOf(limit) };
}

function chosen(fields: Record<string, unknown>): Omit<ConnectionQuery, 'limit'> {
  for (const [name, value] of Object.entries(fields)) {
    if (!FIELDS.includes(name as (typeof FIELDS)[number])) {
      const known = ['limit', ...FIELDS].join(', ');
      throw new AgentError('WEFT_AGENT_CONTROL', `unknown field "${name}"; known: ${known}`);
    }
    if (typeof value !== 'string' || value === '') {
      throw new AgentError('WEFT_AGENT_CONTROL', `field "${name}" must be a string, and not empty`);
    }
  }
  return fields;
}

function limitOf(limit: unknown = DEFAULT_LIMIT): number {
  if (Number.isInteger(limit) && (limit as number) >= 1 && (limit as number) <= MAX_LIMIT) return limit as number;
  throw new AgentError('WEFT_AGENT_CONTROL', `limit must be a whole number from 1 to ${MAX_LIMIT}`);
}
