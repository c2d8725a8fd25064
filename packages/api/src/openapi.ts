/** Descriptions of routes for OpenAPI, generated from the table of resources; served as `/openapi.json`. */
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { MAX_PAGE, ROOT } from './context.ts';
import { ErrorSchema } from './error-reply.ts';
import { restSchema } from './represent.ts';
import { type Place, RESOURCES, type Resource, resourceOf } from './resources.ts';

type JsonSchema = Record<string, unknown>;

const ERROR_TEXT: Readonly<Record<number, string>> = {
  400: 'The request is invalid',
  401: 'The token is missing or does not count',
  403: 'Not allowed to this sender, or in this state',
  404: 'Not found',
  406: 'No such representation',
  409: 'Contradicts other objects',
  412: 'Not at the version that If-Match names',
  413: 'Too large',
  415: 'The body is not JSON',
  429: 'Too many attempts; Retry-After says when to try again',
  503: 'The state database cannot be reached',
};

/** Path parameters, all strings. */
export function params(...names: readonly string[]): JsonSchema {
  return { type: 'object', required: names, properties: Object.fromEntries(names.map((n) => [n, { type: 'string' }])) };
}

export const idParam = params('id');

/** What a request that carries a body can be refused for besides. */
export const BODY_ERRORS = [413, 415] as const;

/** Responses of a route: its own and the errors it can answer with. */
export function answers(
  own: Readonly<Record<number, JsonSchema>>,
  errors: readonly number[],
): Record<string, JsonSchema> {
  const all: Record<string, JsonSchema> = { ...own };
  for (const status of new Set([400, 401, 403, ...errors, 406, 503])) {
    all[status] ??= { description: ERROR_TEXT[status], $ref: 'Error#' };
  }
  return all;
}

/** Query of every list. */
export const LIST_QUERY = {
  type: 'object',
  properties: {
    limit: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_PAGE,
      description: 'Longest answer; the header Link has the next page',
    },
    marker: { type: 'string', description: 'Where the page starts: behind the item of this id' },
  },
};

type Action = 'create' | 'list' | 'get' | 'update' | 'delete';

/** Schema of a route of a resource, or of the same below its parent. */
export function describe(resource: Resource, action: Action, place?: Place): Record<string, unknown> {
  const { media, type } = resource;
  const own = place ?? (resource.path ? undefined : resource.places[0]);
  const parent = own && resourceOf(own.parent);
  const tags = [parent?.path ?? resource.path!];
  const item = { $ref: `${media}#` };
  const where = parent ? ` of a ${parent.media}` : '';
  const key = resource.path ? ['id'] : ['id', 'hostId'];
  const input = { $ref: `${media}Input#` };
  switch (action) {
    case 'create':
      return {
        tags,
        summary: `Create a ${type}${where}`,
        ...(place ? { params: idParam } : {}),
        body: input,
        response: answers({ 201: item }, [409, ...BODY_ERRORS, ...(place ? [404] : [])]),
      };
    case 'list': {
      const filters = place ? [] : Object.keys(resource.filters);
      const properties: Record<string, JsonSchema> = { ...LIST_QUERY.properties };
      for (const name of filters) properties[name] = { type: 'string', description: 'List only those with this value' };
      const listedBy = place ? [] : Object.entries(resource.listedBy ?? {});
      for (const [name, by] of listedBy) {
        properties[name] = { type: 'string', format: 'uuid', description: `List only those of this ${by.type}` };
      }
      return {
        tags,
        summary: `List the ${resource.plural}${where}`,
        ...(place ? { params: idParam } : {}),
        querystring: { type: 'object', properties },
        response: answers({ 200: { type: 'array', items: item } }, place || listedBy.length > 0 ? [404] : []),
      };
    }
    case 'get':
      return { tags, summary: `Get a ${type}`, params: params(...key), response: answers({ 200: item }, [404]) };
    case 'update':
      return {
        tags,
        summary: `Replace a ${type}`,
        params: params(...key),
        headers: IF_MATCH,
        body: input,
        response: answers(type === 'Host' ? { 200: { type: 'object', additionalProperties: true } } : NO_CONTENT, [
          404,
          409,
          412,
          ...BODY_ERRORS,
        ]),
      };
    case 'delete':
      return {
        tags,
        summary: `Delete a ${type}`,
        params: params(...key),
        headers: IF_MATCH,
        response: answers(type === 'Host' ? { 200: { type: 'object', additionalProperties: true } } : NO_CONTENT, [
          ...(type === 'Host' ? [403] : []),
          404,
          409,
          412,
          ...BODY_ERRORS,
        ]),
      };
  }
}

const IF_MATCH = {
  type: 'object',
  properties: { 'if-match': { type: 'string', description: 'ETag of the version that is meant' } },
};

const NO_CONTENT = { 204: { type: 'null', description: 'Done' } };

const VERBS: Readonly<Record<string, string>> = { POST: 'create', PUT: 'update', DELETE: 'delete' };

/** A name for generated clients: `GET /bridges/:id/ports` is `listBridgePorts`. */
function operationId(method: string, url: string, response: Readonly<Record<string, JsonSchema>>): string {
  const parts = url.replace(ROOT, '').split('/').filter(Boolean);
  const words = parts.flatMap((part, i) => {
    if (part.startsWith(':')) return [];
    // One of them, where an id follows.
    const one = parts[i + 1]?.startsWith(':') ? part.replace(/([^s])s$/, '$1') : part;
    return one.split('_').map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  });
  const verb = VERBS[method] ?? (response[200]?.type === 'array' ? 'list' : 'get');
  return `${verb}${words.join('') || 'Root'}`;
}

/** Registers the schemas and the generator; before the routes. */
export async function registerOpenApi(app: FastifyInstance): Promise<void> {
  app.addHook('onRoute', ({ method, url, schema }) => {
    const described = schema as
      | { hide?: boolean; operationId?: string; response?: Record<string, JsonSchema> }
      | undefined;
    if (!described?.response || described.hide || typeof method !== 'string') return;
    described.operationId ??= operationId(method, url, described.response);
  });
  app.addSchema(ErrorSchema);
  for (const resource of RESOURCES) {
    app.addSchema(restSchema(resource, 'output'));
    app.addSchema(restSchema(resource, 'input'));
  }
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Weft',
        version: '5.0.0',
        description: 'Virtual networks: bridges, routers, ports, chains, and the hosts that they live on.',
      },
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer' },
          token: { type: 'apiKey', in: 'header', name: 'X-Auth-Token' },
          cookie: { type: 'apiKey', in: 'cookie', name: 'sessionId' },
          basic: { type: 'http', scheme: 'basic', description: 'For /login only' },
        },
      },
      security: [{ bearer: [] }, { token: [] }, { cookie: [] }],
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `def-${i}`) },
  });
}
