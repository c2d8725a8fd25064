/** `/tenants`: whoever owns something. Derived from the objects; who may log in is another matter. */
import { OBJECT_TYPES, type TypeName } from '@weft/topology';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { baseUri, type Context, pageOf, ROOT } from '../context.ts';
import { notFound } from '../errors.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers, idParam, LIST_QUERY } from '../openapi.ts';
import { RESOURCES } from '../resources.ts';

const Tenant = Type.Object(
  {
    id: Type.String({ description: 'As the objects name it' }),
    name: Type.String(),
    enabled: Type.Boolean(),
    uri: Type.String(),
  },
  {
    $id: 'Tenant',
    additionalProperties: Type.String({ description: 'URI of the list of what the tenant has of a kind' }),
    description: 'An owner of objects',
  },
);

/** Types that name their tenant, and where they are listed. */
const OWNED = RESOURCES.filter(({ type, path }) => path && 'tenantId' in OBJECT_TYPES[type].schema.properties);

export function tenantRoutes(app: FastifyInstance, { nsdb }: Context): void {
  app.addSchema(Tenant);
  const tags = ['tenants'];
  const $ref = 'Tenant#';

  const show = (base: string, id: string) => ({
    id,
    name: id,
    enabled: true,
    uri: `${base}/tenants/${encodeURIComponent(id)}`,
    ...Object.fromEntries(
      OWNED.map(({ plural, path }) => [plural, `${base}/${path}?tenant_id=${encodeURIComponent(id)}`]),
    ),
  });
  const known = async () => {
    const ids = new Set<string>();
    for (const { type } of OWNED) {
      for (const { value } of await nsdb.list<{ tenantId?: string }>(type satisfies TypeName)) {
        if (value.tenantId !== undefined && value.tenantId !== '') ids.add(value.tenantId);
      }
    }
    return ids;
  };

  const list = {
    tags,
    summary: 'List the tenants that own something',
    querystring: LIST_QUERY,
    response: answers({ 200: { type: 'array', items: { $ref } } }, []),
  };
  app.get(`${ROOT}/tenants`, { schema: list }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('Tenant', [2], true));
    const base = baseUri(request);
    const ids = pageOf(request, reply, [...(await known())].sort(), (id) => id);
    return reply.type(media).send(ids.map((id) => show(base, id)));
  });

  const get = { tags, summary: 'Get a tenant', params: idParam, response: answers({ 200: { $ref } }, [404]) };
  app.get(`${ROOT}/tenants/:id`, { schema: get }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('Tenant', [2]));
    const { id } = request.params as { id: string };
    if (!(await known()).has(id)) throw notFound('tenant', id);
    return reply.type(media).send(show(baseUri(request), id));
  });
}
