/** Links between ports: `/ports/{id}/link`, and the peers of a device's ports: `/bridges/{id}/peer_ports`. */
import { linkPorts, type Port, unlinkPort } from '@weft/topology';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { baseUri, type Context, existing, idFrom, pageOf, ROOT, write } from '../context.ts';
import { type Creator, postRoute } from '../creators.ts';
import { invalid, notFound } from '../errors.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers, BODY_ERRORS, describe, idParam } from '../openapi.ts';
import { asMedia, represent } from '../represent.ts';
import { resourceOf } from '../resources.ts';

const PortLink = Type.Object(
  { portId: Type.Optional(Type.String()), peerId: Type.String({ format: 'uuid' }), uri: Type.Optional(Type.String()) },
  { $id: 'PortLink', description: 'A link between two ports' },
);

export function portLinkRoutes(app: FastifyInstance, context: Context): void {
  app.addSchema(PortLink);
  const url = `${ROOT}/ports/:id/link`;
  const tags = ['ports'];

  const linked = answers({ 201: { $ref: 'PortLink#' } }, [404, 409, ...BODY_ERRORS]);
  const body = { $ref: 'PortLink#' };
  const creator: Creator = {
    path: '/ports/:id/link',
    types: vendorTypes('PortLink', [1]),
    prepare({ id }, { peerId }) {
      const portId = idFrom('Port', id!);
      if (typeof peerId !== 'string') throw invalid([{ property: 'peerId', message: 'is required: the id of a port' }]);
      const peer = idFrom('Port', peerId);
      return {
        async run(tx) {
          await existing(tx, 'Port', portId);
          await existing(tx, 'Port', peer);
          await linkPorts(tx, portId, peer);
        },
        created: (base) => ({ json: { portId, peerId: peer, uri: `${base}/ports/${portId}/link` } }),
      };
    },
  };
  postRoute(app, context, creator, { tags, summary: 'Link two ports', params: idParam, body, response: linked });

  const seen = answers({ 200: { $ref: 'PortLink#' } }, [404]);
  const get = { tags, summary: 'Get the link of a port', params: idParam, response: seen };
  app.get(url, { schema: get }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('PortLink', [1]));
    const { id, value } = await existing<Port>(
      context.nsdb,
      'Port',
      idFrom('Port', (request.params as { id: string }).id),
    );
    if (value.peerId === undefined) throw notFound('link of port', id);
    const uri = `${baseUri(request)}/ports/${id}/link`;
    return reply.type(media).send({ portId: id, peerId: value.peerId, uri });
  });

  const unlinked = answers({ 204: { type: 'null', description: 'Neither port has a peer now' } }, [
    404,
    ...BODY_ERRORS,
  ]);
  app.delete(
    url,
    { schema: { tags, summary: 'Take a link away', params: idParam, response: unlinked } },
    async (request, reply) => {
      const portId = idFrom('Port', (request.params as { id: string }).id);
      await write(context, reply, async (tx) => {
        await existing(tx, 'Port', portId);
        await unlinkPort(tx, portId);
      });
      return reply.code(204).send();
    },
  );

  for (const [parent, field] of [
    ['Bridge', 'bridgeId'],
    ['Router', 'routerId'],
  ] as const) {
    const resource = resourceOf('Port');
    const place = { parent, segment: 'peer_ports', field, verbs: ['L'] as const };
    const schema = { ...describe(resource, 'list', place), summary: 'List the peers of the ports' };
    app.get(`${ROOT}/${resourceOf(parent).path}/:id/peer_ports`, { schema }, async (request, reply) => {
      const media = negotiate(request.headers.accept, vendorTypes(resource.media, resource.versions, true));
      const id = idFrom(parent, (request.params as { id: string }).id);
      await existing(context.nsdb, parent, id);
      const portIds = (await context.nsdb.referrers('Port', field, id)).sort();
      const ports = await Promise.all(portIds.map((portId) => context.nsdb.get<Port>('Port', portId)));
      const peerIds = ports.flatMap((port) => (port?.value.peerId ? [port.value.peerId] : [])).sort();
      const page = pageOf(request, reply, peerIds, (peerId) => peerId);
      const peers = await Promise.all(page.map((peerId) => context.nsdb.get('Port', peerId)));
      const found = peers.filter((peer) => peer !== undefined);
      return reply
        .type(media)
        .send(asMedia(media, resource, await represent(context, baseUri(request), resource, found)));
    });
  }
}
