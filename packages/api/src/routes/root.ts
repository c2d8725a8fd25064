/** The root document, from which clients find everything else, and the state of the system. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { baseUri, type Context, ROOT } from '../context.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers } from '../openapi.ts';
import { RESOURCES } from '../resources.ts';

/** The version of the REST API that the vendor media types are from. */
const API_VERSION = 'v5.0';

const Application = Type.Object(
  { uri: Type.String(), version: Type.String() },
  {
    $id: 'Application',
    additionalProperties: Type.String(),
    description: 'URIs of the collections, templates of the items',
  },
);

const SystemState = Type.Object(
  {
    uri: Type.String(),
    state: Type.Enum(['ACTIVE']),
    availability: Type.Enum(['READWRITE']),
    version: Type.String(),
    information: Type.String(),
    revision: Type.Integer({ description: 'Revision of the store' }),
    generation: Type.String({ description: 'Generation of the store' }),
  },
  { $id: 'SystemState' },
);

export function rootRoutes(app: FastifyInstance, { nsdb }: Context): void {
  app.addSchema(Application);
  app.addSchema(SystemState);
  const tags = ['system'];

  const root = { tags, summary: 'Where everything is', response: answers({ 200: { $ref: 'Application#' } }, []) };
  app.get(ROOT, { schema: root }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('Application', [5]));
    const base = baseUri(request);
    const document: Record<string, string> = { uri: base, version: API_VERSION };
    for (const { path, name, plural, verbs } of RESOURCES) {
      if (!path) continue;
      if (verbs.includes('L')) document[plural] = `${base}/${path}`;
      document[`${name}Template`] = `${base}/${path}/{id}`;
    }
    document.tenants = `${base}/tenants`;
    document.tenantTemplate = `${base}/tenants/{id}`;
    document.bulk = `${base}/bulk`;
    document.events = `${base}/events`;
    document.systemState = `${base}/system_state`;
    document.convergenceTemplate = `${base}/convergence/{revision}`;
    return reply.type(media).send(document);
  });

  const state = { tags, summary: 'State of the system', response: answers({ 200: { $ref: 'SystemState#' } }, [503]) };
  app.get(`${ROOT}/system_state`, { schema: state }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('SystemState', [2]));
    // Asking the store for its revision is the proof that it answers.
    const revision = await nsdb.revision();
    return reply.type(media).send({
      uri: `${baseUri(request)}/system_state`,
      state: 'ACTIVE',
      availability: 'READWRITE',
      version: '5.0.0',
      information: 'weft',
      revision,
      generation: nsdb.generation,
    });
  });
}
