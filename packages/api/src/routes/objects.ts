/** Create, list, get, update and delete of every object type, generated from the table of resources. */
import type { StoredObject, Transaction } from '@weft/nsdb';
import {
  canonicalUuid,
  createObject,
  OBJECT_TYPES,
  type ObjectValue,
  tunnelZoneHostId,
  updateObject,
  validateObject,
} from '@weft/topology';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { baseUri, bodyOf, type Context, existing, idFrom, isStrict, pageOf, queryOf, ROOT, write } from '../context.ts';
import { type Creator, postRoute } from '../creators.ts';
import { ApiError, invalid } from '../errors.ts';
import { negotiate, typesOf } from '../media.ts';
import { describe } from '../openapi.ts';
import { aliveHosts, asMedia, readBody, represent } from '../represent.ts';
import { type Place, RESOURCES, type Resource, resourceOf } from '../resources.ts';
import { refuseDerived } from './derived.ts';

type Params = Record<string, string>;

export function objectRoutes(app: FastifyInstance, context: Context): void {
  for (const resource of RESOURCES) {
    const { path, verbs } = resource;
    if (path) {
      const collection = `${ROOT}/${path}`;
      if (verbs.includes('C')) createRoute(app, context, resource, `/${path}`);
      if (verbs.includes('L')) listRoute(app, context, resource, collection);
      itemRoutes(app, context, resource, `${collection}/:id`, verbs, (p) => idFrom(resource.type, p.id!));
    }
    for (const place of resource.places) {
      const path = `/${resourceOf(place.parent).path}/:id/${place.segment}`;
      const collection = ROOT + path;
      if (place.verbs.includes('C')) createRoute(app, context, resource, path, place);
      if (place.verbs.includes('L')) listRoute(app, context, resource, collection, place);
      itemRoutes(app, context, resource, `${collection}/:hostId`, place.verbs, (p) =>
        tunnelZoneHostId(idFrom(place.parent, p.id!), idFrom('Host', p.hostId!)),
      );
    }
  }
}

function createRoute(app: FastifyInstance, context: Context, resource: Resource, path: string, place?: Place): void {
  const { type } = resource;
  const creator: Creator = {
    path,
    types: typesOf(resource),
    prepare(params, body, strict) {
      const input = readBody(resource, body, strict);
      const parentId = place && idFrom(place.parent, params.id!);
      if (place) setParent(input, place, parentId!);
      const value = validated(resource, input, strict);
      const at = type === 'Rule' ? position(body.position) : 1;
      return {
        async run(tx, addTo) {
          if (place) {
            const parent = await existing(tx, place.parent, parentId!);
            if (type === 'Rule') await refuseDerived(tx, parent);
          }
          return type === 'Rule' ? addTo(tx, value, at) : createObject(tx, type, value);
        },
        created(_base, result, revision) {
          const made = result as ObjectValue;
          return { resource, stored: { type, id: made.id as string, version: revision, value: made } };
        },
      };
    },
  };
  postRoute(app, context, creator, describe(resource, 'create', place));
}

/** The parent is the one of the path; a body that names another one contradicts it. */
function setParent(input: ObjectValue, place: Place, parentId: string): void {
  const named = input[place.field];
  if (named !== undefined && named !== null && String(named).toLowerCase() !== parentId) {
    throw invalid([{ property: place.field, message: `contradicts the path, which names ${parentId}` }]);
  }
  input[place.field] = parentId;
}

function position(given: unknown): number {
  if (given === undefined || given === null) return 1;
  const number = typeof given === 'string' && /^\d{1,6}$/.test(given) ? Number(given) : given;
  if (typeof number !== 'number') throw invalid([{ property: 'position', message: 'must be an integer' }]);
  return number;
}

function validated({ type }: Resource, input: ObjectValue, strict: boolean): ObjectValue {
  const result = validateObject(type as string, input, { unknownKeys: 'drop', coerce: !strict });
  if (!result.ok) throw invalid(result.violations);
  return result.value;
}

function listRoute(app: FastifyInstance, context: Context, resource: Resource, url: string, place?: Place): void {
  const { type } = resource;
  const listTypes = typesOf(resource, true);
  app.get(url, { schema: describe(resource, 'list', place) }, async (request, reply) => {
    const media = negotiate(request.headers.accept, listTypes);
    let page: readonly StoredObject[];
    if (place) {
      const parentId = idFrom(place.parent, (request.params as Params).id!);
      const parent = await existing(context.nsdb, place.parent, parentId);
      const ids = pageOf(request, reply, await idsBelow(context, parent, resource, place), (id) => id);
      const found = await Promise.all(ids.map((id) => context.nsdb.get(type, id)));
      // Deleted between the two reads: not there any more.
      page = found.filter((object) => object !== undefined);
    } else {
      const wanted = Object.entries(resource.filters).map(
        ([query, field]) => [field, queryOf(request, query)] as const,
      );
      const all = (await candidates(context, request, resource)).filter(({ value }) =>
        wanted.every(([field, text]) => text === undefined || value[field] === text),
      );
      all.sort((a, b) => (a.id < b.id ? -1 : 1));
      page = pageOf(request, reply, all, ({ id }) => id);
    }
    return reply.type(media).send(asMedia(media, resource, await represent(context, baseUri(request), resource, page)));
  });
}

/** What a list filters: the objects that a query parameter leads to through another object, else all of the type. */
async function candidates({ nsdb }: Context, request: FastifyRequest, resource: Resource): Promise<StoredObject[]> {
  for (const [query, { type, field }] of Object.entries(resource.listedBy ?? {})) {
    const id = queryOf(request, query);
    if (id === undefined) continue;
    const { value } = await existing(nsdb, type, idFrom(type, id));
    const ids = (value[field] ?? []) as string[];
    const found = await Promise.all(ids.map((one) => nsdb.get(resource.type, one)));
    return found.filter((object) => object !== undefined);
  }
  return nsdb.list(resource.type);
}

/** Rules in the chain's order, everything else by id. */
async function idsBelow({ nsdb }: Context, parent: StoredObject, resource: Resource, place: Place): Promise<string[]> {
  if (resource.type === 'Rule') return parent.value.ruleIds as string[];
  return (await nsdb.referrers(resource.type, place.field, parent.id)).sort();
}

function itemRoutes(
  app: FastifyInstance,
  context: Context,
  resource: Resource,
  url: string,
  verbs: readonly string[],
  idOf: (params: Params) => string,
): void {
  const { type } = resource;
  const types = typesOf(resource);
  if (verbs.includes('G')) {
    app.get(url, { schema: describe(resource, 'get') }, async (request, reply) => {
      const media = negotiate(request.headers.accept, types);
      const stored = await existing(context.nsdb, type, idOf(request.params as Params));
      const [shown] = asMedia(media, resource, await represent(context, baseUri(request), resource, [stored]));
      return reply.header('ETag', etag(stored)).type(media).send(shown);
    });
  }
  if (verbs.includes('U')) {
    app.put(url, { schema: describe(resource, 'update') }, async (request, reply) => {
      const id = idOf(request.params as Params);
      const strict = isStrict(request);
      const input = readBody(resource, bodyOf(request), strict);
      if (typeof input.id === 'string' && input.id.toLowerCase() !== id) {
        throw invalid([{ property: 'id', message: `contradicts the path, which names ${id}` }]);
      }
      const { result } = await write(context, reply, async (tx) => {
        const stored = await existing(tx, type, id);
        await refuseDerived(tx, stored);
        const wanted = { ...merged(resource, stored.value, input), id };
        if (type === 'Port') noteMove(stored.value, wanted);
        const value = validated(resource, wanted, strict);
        return updateObject(tx, type, id, value, ifVersion(request, stored));
      });
      return done(reply, resource, result);
    });
  }
  if (verbs.includes('D')) {
    app.delete(url, { schema: describe(resource, 'delete') }, async (request, reply) => {
      const id = idOf(request.params as Params);
      if (type === 'Host') await refuseLiveHost(context, id);
      await write(context, reply, async (tx) => {
        const stored = await existing(tx, type, id);
        await refuseDerived(tx, stored);
        if (type === 'Host') await refuseNamedHost(tx, id);
        await tx.delete(type, id, ifVersion(request, stored));
      });
      return done(reply, resource);
    });
  }
}

/** MidoNet's clients expect 204 of all changes but those of hosts. */
function done(reply: FastifyReply, resource: Resource, value?: ObjectValue): FastifyReply {
  if (resource.type === 'Host') return reply.code(200).send(value ?? {});
  return reply.code(204).send();
}

/** A PUT replaces the object, except what the system keeps and what cannot change and was left out. */
function merged(resource: Resource, stored: ObjectValue, input: ObjectValue): ObjectValue {
  const result = { ...input };
  for (const field of resource.managed) result[field] = stored[field];
  for (const field of resource.keptUnlessNull ?? []) if (input[field] === undefined) result[field] = stored[field];
  for (const field of [...resource.kept, ...OBJECT_TYPES[resource.type].immutable]) result[field] ??= stored[field];
  return result;
}

/** A port that is bound elsewhere, or nowhere, remembers where it was; a move that was prepared is void. */
function noteMove(stored: ObjectValue, wanted: ObjectValue): void {
  if (stored.hostId === undefined || stored.hostId === canonicalUuid(String(wanted.hostId))) return;
  wanted.previousHostId = stored.hostId;
  delete wanted.nextHostId;
  delete wanted.nextInterfaceName;
}

async function refuseLiveHost({ nsdb }: Context, id: string): Promise<void> {
  if ((await aliveHosts(nsdb)).has(id)) {
    throw new ApiError(403, 'WEFT_API_HOST_IN_USE', `Host ${id} is alive. Stop its agent before deleting it.`);
  }
}

/** A host that ports are on or about to move to stays; where they were once is forgotten with it. */
async function refuseNamedHost(tx: Transaction, id: string): Promise<void> {
  const bound = await tx.referrers('Port', 'hostId', id);
  if (bound.length > 0) {
    const message = `Host ${id} has ${bound.length} port(s) bound to it, such as ${bound[0]}. Unbind them first.`;
    throw new ApiError(403, 'WEFT_API_HOST_IN_USE', message);
  }
  const coming = await tx.referrers('Port', 'nextHostId', id);
  if (coming.length > 0) {
    const message = `${coming.length} port(s) are about to move to host ${id}, such as ${coming[0]}. Give up the moves first.`;
    throw new ApiError(403, 'WEFT_API_HOST_IN_USE', message);
  }
}

function etag({ version }: StoredObject): string {
  return `"${version}"`;
}

/** The version that the change is made to. @throws ApiError 412 when If-Match names others only */
function ifVersion(request: FastifyRequest, stored: StoredObject): number | undefined {
  const header = request.headers['if-match'];
  if (header === undefined || header.trim() === '*') return undefined;
  const tags = header.split(',').map((tag) => tag.trim());
  if (tags.includes(etag(stored))) return stored.version;
  const message = `${stored.type} ${stored.id} is at version ${etag(stored)}, not at ${header.slice(0, 100)}.`;
  throw new ApiError(412, 'WEFT_VERSION_CONFLICT', `${message} Read it again and repeat the change.`);
}
