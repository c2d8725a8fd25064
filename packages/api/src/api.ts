/** Puts the API together: Fastify, routes, doors. */
import type { Server } from 'node:http';
import type { Nsdb } from '@weft/nsdb';
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Context } from './context.ts';
import { type Door, type ListenOptions, openDoor, tokenCheck, tokenFromFile } from './doors.ts';
import { sendError } from './error-reply.ts';
import { ApiError } from './errors.ts';
import { asDocumented, JSON_BODY } from './media.ts';
import { registerOpenApi } from './openapi.ts';
import { bulkRoutes } from './routes/bulk.ts';
import { convergenceRoutes } from './routes/convergence.ts';
import { groupMemberRoutes } from './routes/group-members.ts';
import { hostRoutes } from './routes/hosts.ts';
import { objectRoutes } from './routes/objects.ts';
import { portLinkRoutes } from './routes/port-links.ts';
import { rootRoutes } from './routes/root.ts';
import { tableRoutes } from './routes/tables.ts';

export interface ApiOptions {
  readonly nsdb: Nsdb;
  /** A pino logger; default: none. */
  readonly logger?: Logger;
  /** Token that TCP clients must send; at least 16 characters. */
  readonly token?: string;
  /** Where the token is kept instead; made at the first start. */
  readonly tokenFile?: string;
}

export interface Api {
  /** For tests (`inject`, which needs no token) and for adding routes before `listen`. */
  readonly fastify: FastifyInstance;
  /** Opens a door; may be called several times. Resolves with the address: a URL, or the path of the socket. */
  listen(options: ListenOptions): Promise<string>;
  /** Closes the doors, cutting open connections, and frees what the API holds; the database stays open. */
  close(): Promise<void>;
}

const BODY_LIMIT = 1024 * 1024;
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/** Builds the REST API over a state database. */
export async function createApi({ nsdb, logger, token, tokenFile }: ApiOptions): Promise<Api> {
  const secret = token ?? (tokenFile === undefined ? undefined : tokenFromFile(tokenFile));
  if (secret !== undefined && secret.length < 16) {
    throw new ApiError(500, 'WEFT_API_NO_TOKEN', 'The token must have at least 16 characters.');
  }
  const fastify = Fastify({
    ...(logger ? { loggerInstance: logger as FastifyBaseLogger } : {}),
    bodyLimit: BODY_LIMIT,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 200 },
    frameworkErrors: (error, request, reply) => sendError(error, request, reply),
    return503OnClosing: false,
  }) as FastifyInstance;

  // The object model validates and describes; Fastify routes. One schema language decides, not two.
  fastify.setValidatorCompiler(() => () => true);
  fastify.setSerializerCompiler(() => (data) => JSON.stringify(data));
  fastify.setErrorHandler(sendError);
  acceptJson(fastify);

  const admitted = secret === undefined ? () => false : tokenCheck(secret);
  const guarded = new WeakSet<object>();
  fastify.addHook('onRequest', async (request) => {
    if (guarded.has(request.raw) && !admitted(request.raw)) {
      throw new ApiError(401, 'WEFT_API_UNAUTHORIZED', 'Send the token as Authorization: Bearer or X-Auth-Token.');
    }
  });

  fastify.addHook('onSend', async (_request, reply) => {
    const media = asDocumented(reply.getHeader('content-type'));
    if (media) reply.header('content-type', media);
  });

  const methods = new Map<string, Set<string>>();
  fastify.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set();
    for (const one of [method].flat()) known.add(one);
    methods.set(url, known);
  });

  const context: Context = { nsdb, creators: [] };
  await registerOpenApi(fastify);
  rootRoutes(fastify, context);
  objectRoutes(fastify, context);
  portLinkRoutes(fastify, context);
  groupMemberRoutes(fastify, context);
  hostRoutes(fastify, context);
  tableRoutes(fastify, context);
  bulkRoutes(fastify, context);
  convergenceRoutes(fastify, context);
  fastify.get('/openapi.json', { schema: { hide: true } as object }, async () => fastify.swagger());
  refuseOtherMethods(fastify, methods);
  fastify.setNotFoundHandler(() => {
    throw new ApiError(
      404,
      'WEFT_API_NO_SUCH_PATH',
      'There is no resource at this path; /midonet-api lists what there is.',
    );
  });
  await fastify.ready();

  const doors: Door[] = [];
  return {
    fastify,
    async listen(options) {
      const door: Door = await openDoor(
        options,
        (request, response) => {
          if (!('unixSocket' in options)) guarded.add(request);
          fastify.routing(request, response);
        },
        secret !== undefined,
      );
      doors.push(door);
      fastify.log.info({ event: 'api.listening', address: door.address }, 'listening');
      return door.address;
    },
    async close() {
      await Promise.all(doors.splice(0).map(({ server }) => closeServer(server)));
      await fastify.close();
    },
  };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** JSON under any of its names; a body without a content type is taken for JSON too, as some clients send `{}` that way. */
function acceptJson(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', { parseAs: 'string', bodyLimit: BODY_LIMIT }, (request, body, done) => {
    const type = request.headers['content-type'];
    if (type !== undefined && type !== '' && !JSON_BODY.test(type)) {
      return done(
        new ApiError(415, 'WEFT_API_MEDIA_TYPE', `Send the body as application/json, not ${type.slice(0, 100)}.`),
      );
    }
    if (body === '') return done(null, undefined);
    try {
      done(null, JSON.parse(body as string));
    } catch (error) {
      done(new ApiError(400, 'WEFT_API_MALFORMED_JSON', `The body is not JSON: ${(error as Error).message}`));
    }
  });
}

/** A known path with another method is a 405 that says which there are. */
function refuseOtherMethods(fastify: FastifyInstance, methods: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, known] of [...methods]) {
    const allow = [...known].join(', ');
    const others = METHODS.filter((method) => !known.has(method));
    fastify.route({
      method: others,
      url,
      schema: { hide: true } as object,
      handler: async (request, reply) => {
        reply.header('Allow', allow);
        throw new ApiError(405, 'WEFT_API_METHOD', `${request.method} is not possible here, only ${allow}.`);
      },
    });
  }
}
