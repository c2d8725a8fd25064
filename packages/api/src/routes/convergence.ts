/**
 * `GET /convergence/{revision}`: on how many hosts is a change live? With `?wait=ms` it answers once it is on all; to who accepts
 * `text/event-stream` it tells how far it has got, until it is.
 */
import type { Revision } from '@weft/nsdb';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Context, numberFrom, queryOf, ROOT } from '../context.ts';
import { Convergence, isConverged, progressOf } from '../convergence/progress.ts';
import { ProgressStream } from '../convergence/stream.ts';
import { ConvergenceWatch, type Look } from '../convergence/watch.ts';
import { ApiError, notFound } from '../errors.ts';
import { answers, params } from '../openapi.ts';
import type { EventOptions } from './events.ts';

const MAX_WAIT_MS = 60_000;

const DESCRIPTION =
  `Events: \`progress\` (data: Convergence; when something changed, and every second), \`converged\` (the last one, with the
same data), \`trouble\` (the store cannot be reached at present; it goes on), \`end\` (the last one, with an error code). Hosts that
are not reachable count as hosts: only deleting them makes them not.`.replaceAll('\n', ' ');

export function convergenceRoutes(app: FastifyInstance, context: Context, options: EventOptions = {}): void {
  const { nsdb, database, tenantOf } = context;
  const { keepAlive = 15_000, lifetime = 3_600_000, maxStreams = 256 } = options;
  const watch = new ConvergenceWatch(database);
  const streams = new Set<ProgressStream>();
  app.addHook('onClose', async () => {
    for (const stream of streams) stream.destroy();
  });
  app.addSchema(Convergence);
  const schema = {
    tags: ['system'],
    summary: 'On how many hosts is a change live?',
    description: DESCRIPTION,
    params: params('revision'),
    querystring: {
      type: 'object',
      properties: {
        wait: {
          type: 'integer',
          maximum: MAX_WAIT_MS,
          description: 'Answer at the latest after so many milliseconds; of no effect on a stream',
        },
        generation: { type: 'string', description: 'X-Weft-Generation of the write; refused if it is another by now' },
      },
    },
    response: answers(
      {
        200: {
          description: 'Where the hosts stand',
          content: {
            'application/json': { schema: { $ref: 'Convergence#' } },
            'text/event-stream': { schema: { type: 'string' } },
          },
        },
      },
      [404, 409],
    ),
  };
  app.get(`${ROOT}/convergence/:revision`, { schema, exposeHeadRoute: false }, async (request, reply) => {
    const revision = revisionFrom(request);
    const wait = numberFrom(request, 'wait', 0, MAX_WAIT_MS);
    const { generation } = nsdb;
    sameGeneration(queryOf(request, 'generation') ?? generation, generation);
    const current = await nsdb.revision();
    if (revision > current) {
      throw new ApiError(
        404,
        'WEFT_API_REVISION_AHEAD',
        `The store is at revision ${current}, not yet at ${revision}.`,
      );
    }
    const anonymous = tenantOf(request) !== undefined;
    if (!wantsEvents(request.headers.accept)) {
      const start = performance.now();
      const look = await awaited(watch, revision, wait, request);
      if (look.error !== undefined) throw look.error;
      sameGeneration(generation, look.generation);
      return reply.send(progressOf(look, revision, Math.round(performance.now() - start), anonymous));
    }
    if (streams.size >= maxStreams) {
      throw new ApiError(503, 'WEFT_API_EVENTS_FULL', `${maxStreams} clients listen already. Try again later.`);
    }
    const stream: ProgressStream = new ProgressStream({
      watch,
      revision,
      generation,
      anonymous,
      keepAlive,
      lifetime,
      onEnd: () => streams.delete(stream),
    });
    streams.add(stream);
    return reply
      .header('Cache-Control', 'no-store')
      .header('X-Accel-Buffering', 'no')
      .type('text/event-stream')
      .send(stream);
  });
}

/** The first look that sees the revision on all hosts, or the last one when the wait is over. */
function awaited(watch: ConvergenceWatch, revision: Revision, wait: number, request: FastifyRequest): Promise<Look> {
  const start = performance.now();
  return new Promise((resolve) => {
    let last: Look | undefined;
    let isOver = wait === 0;
    const answer = (look: Look): void => {
      clearTimeout(timer);
      stop();
      resolve(look);
    };
    const stop = watch.listen((look) => {
      if (isConverged(look, revision)) return answer(look);
      // What had begun before the question came may be older than the answer to it is to be.
      if (look.begun < start) return;
      last = look;
      if (isOver || look.error !== undefined || request.raw.socket.destroyed) answer(look);
    });
    const timer = setTimeout(() => {
      isOver = true;
      if (last !== undefined) answer(last);
    }, wait);
  });
}

function revisionFrom(request: FastifyRequest): Revision {
  const text = (request.params as { revision: string }).revision;
  if (!/^\d{1,15}$/.test(text)) throw notFound('revision', text);
  return Number(text);
}

function sameGeneration(expected: string, now: string): void {
  if (expected === now) return;
  throw new ApiError(409, 'WEFT_API_GENERATION', `The store is at generation ${now}, not ${expected}.`);
}

function wantsEvents(accept: string | undefined): boolean {
  return /(?:^|,)\s*text\/event-stream\s*(?:;|,|$)/i.test((accept ?? '').slice(0, 4_096));
}
