/** Bodies of requests for traces, read field by field: what is not understood is refused by name. */
import { AgentError } from '../errors.ts';
import type { TraceRequest } from '../explain/trace.ts';
import type { LiveRequest } from './live-trace.ts';

type Kind = 'string' | 'number' | 'boolean' | 'strings';

const TRACE: Readonly<Record<string, Kind>> = {
  port: 'string',
  packet: 'string',
  frame: 'string',
  length: 'number',
  payload: 'boolean',
};

const LIVE: Readonly<Record<string, Kind>> = {
  port: 'string',
  packet: 'string',
  sources: 'strings',
  ingress: 'boolean',
  arrivals: 'boolean',
  count: 'number',
  seconds: 'number',
  payload: 'boolean',
};

function read(body: Record<string, unknown>, kinds: Readonly<Record<string, Kind>>): void {
  for (const [name, value] of Object.entries(body)) {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (kind === undefined) {
      throw new AgentError('WEFT_AGENT_CONTROL', `unknown field "${name}"; known: ${Object.keys(kinds).join(', ')}`);
    }
    const fits =
      kind === 'strings'
        ? Array.isArray(value) && value.every((one) => typeof one === 'string')
        : typeof value === kind;
    if (!fits) throw new AgentError('WEFT_AGENT_CONTROL', `field "${name}" must be of type ${kind}`);
  }
}

/** @throws AgentError WEFT_AGENT_CONTROL */
export function traceRequest(body: Record<string, unknown>): TraceRequest {
  read(body, TRACE);
  if (body.port === undefined) throw new AgentError('WEFT_AGENT_CONTROL', 'field "port" is missing');
  return body as unknown as TraceRequest;
}

/** @throws AgentError WEFT_AGENT_CONTROL */
export function liveRequest(body: Record<string, unknown>): LiveRequest {
  read(body, LIVE);
  return body;
}
