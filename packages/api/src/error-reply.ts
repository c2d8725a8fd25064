/** From whatever was thrown to the error body of the API: `{message, code, error, violations?}`. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { ApiError, type ApiErrorCode, type Violation } from './errors.ts';

export const ErrorSchema = Type.Object(
  {
    message: Type.String({ description: 'What is wrong and what to do, for people' }),
    code: Type.Integer({ description: 'The HTTP status' }),
    error: Type.String({ pattern: '^WEFT_[A-Z0-9_]+$', description: 'The kind of error, for programs' }),
    violations: Type.Optional(
      Type.Array(Type.Object({ property: Type.String(), message: Type.String() }), {
        description: 'Property by property what is wrong',
      }),
    ),
  },
  { $id: 'Error', description: 'Why a request was refused' },
);

/** Status of the codes that come from the store and the object model. What is not listed and coded is a 409. */
const STATUS: Readonly<Record<string, number>> = {
  WEFT_INVALID: 400,
  WEFT_IMMUTABLE: 400,
  WEFT_ROUTE_PORT_ON_OTHER_ROUTER: 400,
  WEFT_RULE_POSITION: 400,
  WEFT_UNKNOWN_TYPE: 404,
  WEFT_NOT_FOUND: 404,
  WEFT_VERSION_CONFLICT: 412,
  WEFT_TOO_LARGE: 413,
  WEFT_STORE_FAILED: 503,
  WEFT_STORE_AWAY: 503,
  WEFT_STORE_CLOSED: 503,
  WEFT_OUTCOME_UNKNOWN: 503,
  WEFT_KEYS_EXHAUSTED: 503,
  WEFT_PROTOCOL: 503,
  WEFT_STORE_LOCKED: 503,
  WEFT_STORE_FORMAT: 503,
};

/** What Fastify refuses before a handler sees it. */
const FASTIFY: Readonly<Record<string, [status: number, code: ApiErrorCode, message: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: [413, 'WEFT_API_BODY_TOO_LARGE', 'The body exceeds 1 MiB (bulk requests: 4 MiB).'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, 'WEFT_API_MEDIA_TYPE', 'Send the body as application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, 'WEFT_API_BAD_REQUEST', 'The body is not as long as Content-Length says.'],
  FST_ERR_BAD_URL: [400, 'WEFT_API_BAD_REQUEST', 'The URL is malformed.'],
  FST_ERR_MAX_PARAM_LENGTH: [404, 'WEFT_API_NO_SUCH_PATH', 'The path is too long.'],
};

interface Coded {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly violations?: readonly Violation[];
}

/** The HTTP status of a coded error; undefined: an error that nobody foresaw. */
export function statusOf(error: Error): number | undefined {
  if (error instanceof ApiError) return error.status;
  const { code } = error as Coded;
  return typeof code === 'string' && code.startsWith('WEFT_') ? (STATUS[code] ?? 409) : undefined;
}

export function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { code, message, violations = [] } = (thrown ?? {}) as Coded;
  const known = typeof code === 'string' ? FASTIFY[code] : undefined;
  if (known) return answer(reply, known[0], known[1], known[2]);
  if (typeof code === 'string' && code.startsWith('WEFT_') && thrown instanceof Error) {
    const status = thrown instanceof ApiError ? thrown.status : (STATUS[code] ?? 409);
    return answer(reply, status, code, String(message), violations);
  }
  // The client learns where to look, not what it was: the cause may name paths or data of others.
  request.log.error({ event: 'api.internal_error', err: thrown }, 'request failed');
  return answer(
    reply,
    500,
    'WEFT_API_INTERNAL',
    `The server failed; its log has the details under request ${request.id}.`,
  );
}

function answer(
  reply: FastifyReply,
  status: number,
  error: string,
  message: string,
  violations: readonly Violation[] = [],
): FastifyReply {
  if (status === 401 && !reply.hasHeader('WWW-Authenticate')) reply.header('WWW-Authenticate', 'Bearer');
  if (status === 503) reply.header('Retry-After', '1');
  return reply
    .code(status)
    .type('application/json')
    .send({ message, code: status, error, ...(violations.length > 0 ? { violations } : {}) });
}
