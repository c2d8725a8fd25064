/** Puts the API together: Fastify, routes, doors. */
import type { Nsdb } from '@weft/nsdb';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { Logger } from 'pino';
import { controlAccess } from './access.ts';
import { audit } from './audit/audit.ts';
import type { AuthConfig } from './auth/config.ts';
import type { Context } from './context.ts';
import { type Door, type ListenOptions, openDoor, tokenFromFile } from './doors.ts';
import { sendError } from './error-reply.ts';
import { ApiError } from './errors.ts';
import { asDocumented, JSON_BODY } from './media.ts';
import { registerOpenApi } from './openapi.ts';
import { bulkRoutes } from './routes/bulk.ts';
import { convergenceRoutes } from './routes/convergence.ts';
import { type EventOptions, eventRoutes } from './routes/events.ts';
import { groupMemberRoutes } from './routes/group-members.ts';
import { hostRoutes } from './routes/hosts.ts';
import { objectRoutes } from './routes/objects.ts';
import { portLinkRoutes } from './routes/port-links.ts';
import { portMigrationRoutes } from './routes/port-migration.ts';
import { rootRoutes } from './routes/root.ts';
import { securityChainRoutes } from './routes/security-chains.ts';
import { tableRoutes } from './routes/tables.ts';
import { tenantRoutes } from './routes/tenants.ts';

export interface ApiOptions {
  readonly nsdb: Nsdb;
  /** A pino logger; default: none. */
  readonly logger?: Logger;
  /** Token that TCP clients must send; at least 16 characters. */
  readonly token?: string;
  /** Where the token is kept instead; made at the first start. */
  readonly tokenFile?: string;
  /** Identity providers, lifetime of tokens, CORS. */
  readonly auth?: AuthConfig;
  /** Where the audit log goes: see `auditFile`. Default: nowhere. */
  readonly auditLog?: Logger;
  /** Log every request to `logger`. */
  readonly requestLog?: boolean;
  /** Limits of the stream of changes. */
  readonly events?: EventOptions;
}

export interface Api {
  /** For tests (`inject`, which needs no token) and for adding routes before `listen`. */
  readonly fastify: FastifyInstance;
  /** Opens a door; may be called several times. Resolves with the address: a URL, or the path of the socket. */
  listen(options: ListenOptions): Promise<string>;
  /** Reads certificates and keys of all TLS doors again; where that fails the old ones stay, and the log says why. */
  reloadTls(): void;
  /** Closes the doors, cutting open connections, and frees what the API holds; the database stays open. */
  close(): Promise<void>;
}

const BODY_LIMIT = 1024 * 1024;
/** Methods that are answered with 405 where they do nothing. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY'] as const;

/** Builds the REST API over a state database. */
export async function createApi(options: ApiOptions): Promise<Api> {
  const { nsdb, logger, token, tokenFile, events } = options;
  const secret = token ?? (tokenFile === undefined ? undefined : tokenFromFile(tokenFile));
  if (secret !== undefined && secret.length < 16) {
    throw new ApiError(500, 'WEFT_API_NO_TOKEN', 'The token must have at least 16 characters.');
  }
  const fastify = Fastify({
    ...(logger ? { loggerInstance: logger as FastifyBaseLogger } : {}),
    // Who writes logs of requests decides what is in them: see `audit`.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 200, ignoreTrailingSlash: true },
    frameworkErrors: (error, request, reply) => sendError(error, request, reply),
    return503OnClosing: false,
  }) as FastifyInstance;

  // The object model validates and describes; Fastify routes. One schema language decides, not two.
  fastify.setValidatorCompiler(() => () => true);
  fastify.setSerializerCompiler(() => (data) => JSON.stringify(data));
  fastify.setErrorHandler(sendError);
  acceptJson(fastify);
  // Fastify refuses a QUERY without content type in a way of its own; here it is a method like others.
  fastify.addHttpMethod('QUERY', { overrideExisting: true });

  const access = controlAccess(fastify, { nsdb, secret, auth: options.auth });
  audit(fastify, options.auditLog, options.requestLog === true);

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

  const context: Context = {
    nsdb: access.nsdb,
    database: nsdb,
    tenantOf: ({ principal }) => principal?.tenantId,
    creators: [],
  };
  await registerOpenApi(fastify);
  rootRoutes(fastify, context);
  objectRoutes(fastify, context);
  portLinkRoutes(fastify, context);
  portMigrationRoutes(fastify, context);
  groupMemberRoutes(fastify, context);
  securityChainRoutes(fastify, context);
  hostRoutes(fastify, context);
  tableRoutes(fastify, context);
  tenantRoutes(fastify, context);
  bulkRoutes(fastify, context);
  eventRoutes(fastify, context, events);
  convergenceRoutes(fastify, context, events);
  access.routes();
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
          if (!('unixSocket' in options)) access.guard(request);
          fastify.routing(request, response);
        },
        await access.admitsSomebody(),
      );
      doors.push(door);
      fastify.log.info({ event: 'api.listening', address: door.address }, 'listening');
      return door.address;
    },
    reloadTls() {
      for (const { address, reloadTls } of doors) {
        if (reloadTls === undefined) continue;
        try {
          reloadTls();
          fastify.log.info({ event: 'api.tls_reloaded', address }, 'certificate read again');
        } catch (err) {
          fastify.log.error({ event: 'api.tls_reload_failed', address, err }, 'certificate not read again');
        }
      }
    },
    async close() {
      await Promise.all(doors.splice(0).map(({ server }) => closeServer(server)));
      await fastify.close();
    },
  };
}

function closeServer(server: Door['server']): Promise<void> {
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
