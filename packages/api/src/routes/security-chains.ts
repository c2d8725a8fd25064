/** The chains that carry out a port's security: computed from the port, here as on every host, and stored nowhere. */
import { type ObjectValue, portSecurityChains } from '@weft/topology';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { baseUri, type Context, existing, idFrom, ROOT } from '../context.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers, idParam } from '../openapi.ts';
import { resourceOf } from '../resources.ts';

const PortSecurityChain = Type.Object(
  {
    id: Type.String({ format: 'uuid', description: 'What traces and rule counters call the chain' }),
    name: Type.String(),
    securityPortId: Type.String({ format: 'uuid' }),
    securityPort: Type.String({ description: 'Absolute URI' }),
    rules: Type.Array(
      Type.Object(
        { id: Type.String(), chainId: Type.String(), position: Type.Integer({ minimum: 1 }), type: Type.String() },
        { additionalProperties: true, description: 'A rule, as below a chain, but without a URI of its own' },
      ),
      { description: 'In the order of their evaluation' },
    ),
  },
  { $id: 'PortSecurityChain', description: 'A chain that carries out the security of a port' },
);

export function securityChainRoutes(app: FastifyInstance, { nsdb }: Context): void {
  app.addSchema(PortSecurityChain);
  const schema = {
    tags: ['ports'],
    summary: "List the chains that carry out the port's security",
    params: idParam,
    response: answers({ 200: { type: 'array', items: { $ref: 'PortSecurityChain#' } } }, [404]),
  };
  app.get(`${ROOT}/ports/:id/security_chains`, { schema }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes('PortSecurityChain', [1], true));
    const { id, value } = await existing(nsdb, 'Port', idFrom('Port', (request.params as { id: string }).id));
    const securityPort = `${baseUri(request)}/ports/${id}`;
    const shown = portSecurityChains(value).map(({ chain, rules }) => ({
      id: chain.id,
      name: chain.name,
      securityPortId: id,
      securityPort,
      rules: rules.map(showRule),
    }));
    return reply.type(media).send(shown);
  });
}

function showRule(rule: object, i: number): ObjectValue {
  const shown: ObjectValue = { ...rule, position: i + 1 };
  resourceOf('Rule').dialect?.write(shown);
  return shown;
}
