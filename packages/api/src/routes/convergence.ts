/** `GET /convergence/{revision}`: on how many hosts is a change live? With `?wait=ms` it answers once it is on all. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { type Context, numberFrom, queryOf, ROOT } from '../context.ts';
import { ApiError, notFound } from '../errors.ts';
import { answers, params } from '../openapi.ts';

const MAX_WAIT_MS = 60_000;

const HostState = Type.Object({
  hostId: Type.String(),
  applied: Type.Union([Type.Integer(), Type.Null()], { description: 'Highest revision that the host reported' }),
  reachable: Type.Boolean(),
});

const Convergence = Type.Object(
  {
    generation: Type.String({ description: 'Generation of the store; revisions compare within one only' }),
    revision: Type.Integer(),
    converged: Type.Boolean({ description: 'All registered hosts have applied it, unreachable ones included' }),
    hosts: Type.Integer({ description: 'Registered hosts' }),
    applied: Type.Integer({ description: 'Hosts on which no packet can still follow an older decision' }),
    reachable: Type.Integer(),
    slowest: Type.Union([HostState, Type.Null()], { description: 'The host furthest behind; null without hosts' }),
    behind: Type.Array(HostState, { maxItems: 100, description: 'Hosts that have not applied it, at most 100' }),
    waitedMs: Type.Integer(),
  },
  { $id: 'Convergence', description: 'Where the hosts stand relative to a revision' },
);

export function convergenceRoutes(app: FastifyInstance, { nsdb }: Context): void {
  app.addSchema(Convergence);
  const schema = {
    tags: ['system'],
    summary: 'On how many hosts is a change live?',
    params: params('revision'),
    querystring: {
      type: 'object',
      properties: {
        wait: { type: 'integer', maximum: MAX_WAIT_MS, description: 'Answer at the latest after so many milliseconds' },
        generation: { type: 'string', description: 'X-Weft-Generation of the write; refused if it is another by now' },
      },
    },
    response: answers({ 200: { $ref: 'Convergence#' } }, [404, 409]),
  };
  app.get(`${ROOT}/convergence/:revision`, { schema }, async (request, reply) => {
    const text = (request.params as { revision: string }).revision;
    if (!/^\d{1,15}$/.test(text)) throw notFound('revision', text);
    const revision = Number(text);
    const wait = numberFrom(request, 'wait', 0, MAX_WAIT_MS);
    const generation = queryOf(request, 'generation');
    if (generation !== undefined && generation !== nsdb.generation) {
      throw new ApiError(
        409,
        'WEFT_API_GENERATION',
        `The store is at generation ${nsdb.generation}, not ${generation}.`,
      );
    }
    const current = await nsdb.revision();
    if (revision > current) {
      throw new ApiError(
        404,
        'WEFT_API_REVISION_AHEAD',
        `The store is at revision ${current}, not yet at ${revision}.`,
      );
    }
    // Waiting starts over often at first (most changes are live within milliseconds), then politely.
    const start = performance.now();
    const elapsed = () => Math.round(performance.now() - start);
    for (let pause = 5; ; pause = Math.min(2 * pause, 200)) {
      const hosts = await nsdb.convergence();
      const behind = hosts.filter(({ applied }) => applied === null || applied < revision);
      if (behind.length === 0 || elapsed() >= wait || request.raw.socket.destroyed) {
        const slowest = hosts.reduce<(typeof hosts)[number] | null>(
          (worst, host) => (worst === null || (host.applied ?? -1) < (worst.applied ?? -1) ? host : worst),
          null,
        );
        return reply.send({
          generation: nsdb.generation,
          revision,
          converged: behind.length === 0,
          hosts: hosts.length,
          applied: hosts.length - behind.length,
          reachable: hosts.filter((host) => host.reachable).length,
          slowest,
          behind: behind.slice(0, 100),
          waitedMs: elapsed(),
        });
      }
      await sleep(Math.min(pause, Math.max(1, wait - elapsed())));
    }
  });
}
