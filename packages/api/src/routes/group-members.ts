/**
 * What is in a group: the ports of a port group (`/port_groups/{id}/ports`, and from the port's side
 * `/ports/{id}/port_groups`) and the addresses of an address group (`/ip_addr_groups/{id}/ip_addrs`,
 * `/ip_addr_groups/{id}/versions/{4|6}/ip_addrs/{addr}`).
 */
import type { Transaction } from '@weft/nsdb';
import { canonicalGroupMember, groupTable, type Port } from '@weft/topology';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { baseUri, type Context, existing, idFrom, pageOf, ROOT, write } from '../context.ts';
import { type Creator, postRoute } from '../creators.ts';
import { invalid, notFound } from '../errors.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers, BODY_ERRORS, idParam, LIST_QUERY, params } from '../openapi.ts';
import { refuseDerived } from './derived.ts';

const PortGroupPort = Type.Object(
  {
    portGroupId: Type.Optional(Type.String({ description: 'From the path' })),
    portId: Type.String({ format: 'uuid' }),
    portGroup: Type.Optional(Type.String({ description: 'Absolute URI' })),
    port: Type.Optional(Type.String({ description: 'Absolute URI' })),
    uri: Type.Optional(Type.String({ description: 'Absolute URI' })),
  },
  { $id: 'PortGroupPort', description: 'A port in a port group' },
);

const IpAddrGroupAddr = Type.Object(
  {
    ipAddrGroupId: Type.Optional(Type.String({ description: 'From the path' })),
    addr: Type.String({ description: 'IPv4 or IPv6 address, or a prefix such as 10.0.0.0/8' }),
    version: Type.Optional(Type.Integer({ description: '4 or 6; follows from addr' })),
    ipAddrGroup: Type.Optional(Type.String({ description: 'Absolute URI' })),
    uri: Type.Optional(Type.String({ description: 'Absolute URI' })),
  },
  { $id: 'IpAddrGroupAddr', description: 'An address or prefix in an address group' },
);

type Params = Record<'id' | 'portId' | 'version' | 'addr', string>;
const paramsOf = (request: FastifyRequest) => request.params as Params;

export function groupMemberRoutes(app: FastifyInstance, context: Context): void {
  app.addSchema(PortGroupPort);
  app.addSchema(IpAddrGroupAddr);
  portGroupRoutes(app, context);
  addressRoutes(app, context);
}

function showPort(base: string, portGroupId: string, portId: string) {
  return {
    portGroupId,
    portId,
    portGroup: `${base}/port_groups/${portGroupId}`,
    port: `${base}/ports/${portId}`,
    uri: `${base}/port_groups/${portGroupId}/ports/${portId}`,
  };
}

/** Puts a port into a group; one that is in it already stays. */
async function joinPortGroup(tx: Transaction, groupId: string, portId: string): Promise<void> {
  await existing(tx, 'PortGroup', groupId);
  const { value } = await existing<Port>(tx, 'Port', portId);
  const portGroupIds = value.portGroupIds ?? [];
  if (portGroupIds.includes(groupId)) return;
  await tx.update('Port', portId, { ...value, portGroupIds: [...portGroupIds, groupId] });
}

function portGroupRoutes(app: FastifyInstance, context: Context): void {
  const { nsdb } = context;
  const url = `${ROOT}/port_groups/:id/ports`;
  const tags = ['port_groups'];
  const $ref = 'PortGroupPort#';
  const types = vendorTypes('PortGroupPort', [1]);
  const listTypes = vendorTypes('PortGroupPort', [1], true);
  const list = answers({ 200: { type: 'array', items: { $ref } } }, [404]);

  const create = {
    tags,
    summary: 'Put a port into the group',
    params: idParam,
    body: { $ref },
    response: answers({ 201: { $ref } }, [404, 409, ...BODY_ERRORS]),
  };
  const creator: Creator = {
    path: '/port_groups/:id/ports',
    types: vendorTypes('PortGroupPort', [1]),
    prepare(given, body) {
      const groupId = idFrom('PortGroup', given.id!);
      const portId = portIdOf(body);
      return {
        run: (tx) => joinPortGroup(tx, groupId, portId),
        created: (base) => ({ json: showPort(base, groupId, portId) }),
      };
    },
  };
  postRoute(app, context, creator, create);

  const ofGroup = { tags, summary: 'List the ports of the group', params: idParam, querystring: LIST_QUERY };
  app.get(url, { schema: { ...ofGroup, response: list } }, async (request, reply) => {
    const media = negotiate(request.headers.accept, listTypes);
    const { id } = await existing(nsdb, 'PortGroup', idFrom('PortGroup', paramsOf(request).id));
    const ids = (await nsdb.referrers('Port', 'portGroupIds', id)).sort();
    const base = baseUri(request);
    const page = pageOf(request, reply, ids, (portId) => portId);
    return reply.type(media).send(page.map((portId) => showPort(base, id, portId)));
  });

  const ofPort = { tags: ['ports'], summary: 'List the groups of the port', params: idParam, response: list };
  app.get(`${ROOT}/ports/:id/port_groups`, { schema: ofPort }, async (request, reply) => {
    const media = negotiate(request.headers.accept, listTypes);
    const { id, value } = await existing<Port>(nsdb, 'Port', idFrom('Port', paramsOf(request).id));
    const base = baseUri(request);
    return reply.type(media).send((value.portGroupIds ?? []).map((groupId) => showPort(base, groupId, id)));
  });

  const member = async (source: Pick<Transaction, 'get'>, { id, portId }: Params) => {
    const groupId = idFrom('PortGroup', id);
    await existing(source, 'PortGroup', groupId);
    const port = await source.get<Port>('Port', idFrom('Port', portId));
    if (!port?.value.portGroupIds?.includes(groupId)) throw notFound('port of the group', portId);
    return { groupId, port };
  };
  const item = params('id', 'portId');
  const get = { tags, summary: 'Get a port of the group', params: item, response: answers({ 200: { $ref } }, [404]) };
  app.get(`${url}/:portId`, { schema: get }, async (request, reply) => {
    const media = negotiate(request.headers.accept, types);
    const { groupId, port } = await member(nsdb, paramsOf(request));
    return reply.type(media).send(showPort(baseUri(request), groupId, port.id));
  });

  const gone = answers({ 204: { type: 'null', description: 'The port is not in the group' } }, [404, ...BODY_ERRORS]);
  const remove = { tags, summary: 'Take a port out of the group', params: item, response: gone };
  app.delete(`${url}/:portId`, { schema: remove }, async (request, reply) => {
    await write(context, reply, async (tx) => {
      const { groupId, port } = await member(tx, paramsOf(request));
      const { portGroupIds: before = [], ...rest } = port.value;
      const portGroupIds = before.filter((one) => one !== groupId);
      await tx.update('Port', port.id, { ...rest, ...(portGroupIds.length > 0 ? { portGroupIds } : {}) });
    });
    return reply.code(204).send();
  });
}

function portIdOf({ portId }: Record<string, unknown>): string {
  if (typeof portId !== 'string') throw invalid([{ property: 'portId', message: 'is required: the id of a port' }]);
  return idFrom('Port', portId);
}

/** The canonical member that a body names. A `version` that contradicts it is refused. */
function addressOf({ addr, version }: Record<string, unknown>): string {
  const member = typeof addr === 'string' && addr.length <= 128 ? canonicalGroupMember(addr) : undefined;
  if (member === undefined) {
    throw invalid([{ property: 'addr', message: 'must be an IPv4 or IPv6 address, or a prefix such as 10.0.0.0/8' }]);
  }
  if (version !== undefined && version !== null && Number(version) !== versionOf(member)) {
    throw invalid([{ property: 'version', message: `must be ${versionOf(member)}, as addr is` }]);
  }
  return member;
}

const versionOf = (member: string) => (member.includes(':') ? 6 : 4);

function showAddress(base: string, groupId: string, addr: string) {
  const group = `${base}/ip_addr_groups/${groupId}`;
  const version = versionOf(addr);
  // A slash cannot stand in a part of a path; MidoNet's clients know prefixes in paths as address_length.
  const uri = `${group}/versions/${version}/ip_addrs/${addr.replace('/', '_')}`;
  return { ipAddrGroupId: groupId, addr, version, ipAddrGroup: group, uri };
}

function addressRoutes(app: FastifyInstance, context: Context): void {
  const { nsdb } = context;
  const url = `${ROOT}/ip_addr_groups/:id/ip_addrs`;
  const tags = ['ip_addr_groups'];
  const $ref = 'IpAddrGroupAddr#';
  const types = vendorTypes('IpAddrGroupAddr', [1]);
  const listTypes = vendorTypes('IpAddrGroupAddr', [1], true);

  const create = {
    tags,
    summary: 'Put an address or prefix into the group',
    params: idParam,
    body: { $ref },
    response: answers({ 201: { $ref } }, [404, 409, ...BODY_ERRORS]),
  };
  const creator: Creator = {
    path: '/ip_addr_groups/:id/ip_addrs',
    types: vendorTypes('IpAddrGroupAddr', [1]),
    prepare(given, body) {
      const groupId = idFrom('IpAddrGroup', given.id!);
      const addr = addressOf(body);
      return {
        async run(tx) {
          await refuseDerived(tx, await existing(tx, 'IpAddrGroup', groupId));
          tx.putEntry(groupTable(groupId), addr, '');
        },
        created: (base) => ({ json: showAddress(base, groupId, addr) }),
      };
    },
  };
  postRoute(app, context, creator, create);

  const all = { tags, summary: 'List the addresses of the group', params: idParam, querystring: LIST_QUERY };
  const list = answers({ 200: { type: 'array', items: { $ref } } }, [404]);
  app.get(url, { schema: { ...all, response: list } }, async (request, reply) => {
    const media = negotiate(request.headers.accept, listTypes);
    const { id } = await existing(nsdb, 'IpAddrGroup', idFrom('IpAddrGroup', paramsOf(request).id));
    const keys = (await nsdb.entries(groupTable(id))).map(({ key }) => key).sort();
    const base = baseUri(request);
    return reply.type(media).send(pageOf(request, reply, keys, (key) => key).map((key) => showAddress(base, id, key)));
  });

  const member = async ({ id, version, addr }: Params) => {
    const groupId = idFrom('IpAddrGroup', id);
    await existing(nsdb, 'IpAddrGroup', groupId);
    const key = canonicalGroupMember(addr.slice(0, 128).replace('_', '/'));
    if (key === undefined || String(versionOf(key)) !== version) throw notFound('address of the group', addr);
    const found = (await nsdb.entries(groupTable(groupId))).some((entry) => entry.key === key);
    if (!found) throw notFound('address of the group', addr);
    return { groupId, key };
  };
  const itemUrl = `${ROOT}/ip_addr_groups/:id/versions/:version/ip_addrs/:addr`;
  const item = params('id', 'version', 'addr');
  const get = { tags, summary: 'Get an address', params: item, response: answers({ 200: { $ref } }, [404]) };
  app.get(itemUrl, { schema: get }, async (request, reply) => {
    const media = negotiate(request.headers.accept, types);
    const { groupId, key } = await member(paramsOf(request));
    return reply.type(media).send(showAddress(baseUri(request), groupId, key));
  });

  const gone = answers({ 204: { type: 'null', description: 'It is not in the group' } }, [404, 409, ...BODY_ERRORS]);
  const remove = { tags, summary: 'Take an address out of the group', params: item, response: gone };
  app.delete(itemUrl, { schema: remove }, async (request, reply) => {
    const { groupId, key } = await member(paramsOf(request));
    await write(context, reply, async (tx) => {
      await refuseDerived(tx, await existing(tx, 'IpAddrGroup', groupId));
      tx.deleteEntry(groupTable(groupId), key);
    });
    return reply.code(204).send();
  });
}
