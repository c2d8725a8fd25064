/** What is attached to a host: its interfaces (as its agent reports them) and the ports bound to them. */
import { bindPort, type Port, unbindPort } from '@weft/topology';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { baseUri, type Context, existing, idFrom, ROOT, write } from '../context.ts';
import { type Creator, postRoute } from '../creators.ts';
import { invalid, notFound } from '../errors.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers, BODY_ERRORS, idParam, params } from '../openapi.ts';
import { hostInterfaces } from '../represent.ts';

const HostInterfacePort = Type.Object(
  {
    hostId: Type.Optional(Type.String()),
    portId: Type.String({ format: 'uuid' }),
    interfaceName: Type.String({ maxLength: 15 }),
    host: Type.Optional(Type.String()),
    port: Type.Optional(Type.String()),
    uri: Type.Optional(Type.String()),
  },
  { $id: 'HostInterfacePort', description: 'A port bound to an interface of a host' },
);

const Interface = Type.Object(
  { name: Type.String(), hostId: Type.String(), uri: Type.String() },
  { $id: 'Interface', additionalProperties: true, description: "A network interface, in its agent's words" },
);

type Params = Record<'id' | 'portId' | 'name', string>;

export function hostRoutes(app: FastifyInstance, context: Context): void {
  app.addSchema(HostInterfacePort);
  app.addSchema(Interface);
  bindingRoutes(app, context);
  interfaceRoutes(app, context);
}

function bindingRoutes(app: FastifyInstance, context: Context): void {
  const url = `${ROOT}/hosts/:id/ports`;
  const tags = ['hosts'];
  const $ref = 'HostInterfacePort#';
  const media = (accept: string | undefined, list = false) =>
    negotiate(accept, vendorTypes('HostInterfacePort', [1], list));
  const show = (base: string, value: Port) => ({
    hostId: value.hostId,
    portId: value.id,
    interfaceName: value.interfaceName,
    host: `${base}/hosts/${value.hostId}`,
    port: `${base}/ports/${value.id}`,
    uri: `${base}/hosts/${value.hostId}/ports/${value.id}`,
  });
  const bound = async (source: Pick<Context['nsdb'], 'get'>, { id, portId }: Params) => {
    const hostId = idFrom('Host', id);
    const port = await existing<Port>(source, 'Port', idFrom('Port', portId));
    if (port.value.hostId !== hostId) throw notFound('binding of port', portId);
    return port;
  };

  const create = {
    tags,
    summary: 'Bind a port to an interface of the host',
    params: idParam,
    body: { $ref },
    response: answers({ 201: { $ref } }, [404, 409, ...BODY_ERRORS]),
  };
  const creator: Creator = {
    path: '/hosts/:id/ports',
    types: vendorTypes('HostInterfacePort', [1]),
    prepare(params, { portId, interfaceName }) {
      const hostId = idFrom('Host', params.id!);
      const violations = Object.entries({ portId, interfaceName })
        .filter(([, value]) => typeof value !== 'string')
        .map(([property]) => ({ property, message: 'is required' }));
      if (violations.length > 0) throw invalid(violations);
      const id = idFrom('Port', portId as string);
      return {
        async run(tx) {
          await existing(tx, 'Host', hostId);
          await existing(tx, 'Port', id);
          return bindPort(tx, id, hostId, interfaceName as string);
        },
        created: (base, result) => ({ json: show(base, result as Port) }),
      };
    },
  };
  postRoute(app, context, creator, create);

  const list = {
    tags,
    summary: 'List the bindings of the host',
    params: idParam,
    response: answers({ 200: { type: 'array', items: { $ref } } }, [404]),
  };
  app.get(url, { schema: list }, async (request, reply) => {
    const type = media(request.headers.accept, true);
    const { id } = await existing(context.nsdb, 'Host', idFrom('Host', (request.params as Params).id));
    const ids = (await context.nsdb.referrers('Port', 'hostId', id)).sort();
    const ports = await Promise.all(ids.map((portId) => context.nsdb.get<Port>('Port', portId)));
    const base = baseUri(request);
    const shown = ports.filter((port) => port?.value.hostId === id).map((port) => show(base, port!.value));
    return reply.type(type).send(shown);
  });

  const item = params('id', 'portId');
  const get = { tags, summary: 'Get a binding', params: item, response: answers({ 200: { $ref } }, [404]) };
  app.get(`${url}/:portId`, { schema: get }, async (request, reply) => {
    const type = media(request.headers.accept);
    return reply.type(type).send(show(baseUri(request), (await bound(context.nsdb, request.params as Params)).value));
  });

  const gone = answers({ 204: { type: 'null', description: 'The port is unbound' } }, [404, ...BODY_ERRORS]);
  const remove = { tags, summary: 'Unbind a port', params: item, response: gone };
  app.delete(`${url}/:portId`, { schema: remove }, async (request, reply) => {
    await write(context, reply, async (tx) => unbindPort(tx, (await bound(tx, request.params as Params)).id));
    return reply.code(204).send();
  });
}

function interfaceRoutes(app: FastifyInstance, context: Context): void {
  const url = `${ROOT}/hosts/:id/interfaces`;
  const tags = ['hosts'];
  const $ref = 'Interface#';
  const interfaces = async (base: string, id: string) => {
    const host = await existing(context.nsdb, 'Host', idFrom('Host', id));
    const found = await hostInterfaces(context.nsdb, host.id);
    return found.map((i) => ({
      ...i,
      uri: `${base}/hosts/${host.id}/interfaces/${encodeURIComponent(String(i.name))}`,
    }));
  };

  const list = {
    tags,
    summary: 'List the interfaces of the host',
    params: idParam,
    response: answers({ 200: { type: 'array', items: { $ref } } }, [404]),
  };
  app.get(url, { schema: list }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('Interface', [1], true));
    return reply.type(media).send(await interfaces(baseUri(request), (request.params as Params).id));
  });

  const get = {
    tags,
    summary: 'Get an interface',
    params: params('id', 'name'),
    response: answers({ 200: { $ref } }, [404]),
  };
  app.get(`${url}/:name`, { schema: get }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('Interface', [1]));
    const { id, name } = request.params as Params;
    const found = (await interfaces(baseUri(request), id)).find((i) => (i as { name?: unknown }).name === name);
    if (!found) throw notFound('interface', name);
    return reply.type(media).send(found);
  });
}
