/** `GET /events`: what changes, as server-sent events (WHATWG HTML, section 9.2), resumable by `Last-Event-ID`. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Revision } from '@weft/nsdb';
import { isTypeName, type ObjectValue, type TypeName } from '@weft/topology';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { ChangeFeed, type ChangeRecord, FEED_TYPES, type FeedOptions } from '../changes/feed.ts';
import { ChangeStream } from '../changes/stream.ts';
import { baseUri, type Context, queryOf, ROOT } from '../context.ts';
import { ApiError, invalid } from '../errors.ts';
import { answers } from '../openapi.ts';
import { itemUri, represent } from '../represent.ts';
import { resourceOf } from '../resources.ts';

export interface EventOptions extends FeedOptions {
  /** Milliseconds between signs of life on a quiet stream. Default 15,000. */
  readonly keepAlive?: number;
  /** Milliseconds that one stream lasts. Default an hour. */
  readonly lifetime?: number;
  /** Streams at a time. Default 256. */
  readonly maxStreams?: number;
}

const ChangeEvent = Type.Object(
  {
    revision: Type.Integer({ description: 'Revision at which it was true' }),
    type: Type.String({ description: 'Object type, such as Port' }),
    id: Type.String(),
    change: Type.Enum(['created', 'updated', 'deleted']),
    tenantId: Type.Union([Type.String(), Type.Null()], { description: 'Whose it is; null: the operator' }),
    uri: Type.String(),
    object: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'With ?objects=true: the object as it was when the event was sent; absent when gone',
      }),
    ),
  },
  { $id: 'ChangeEvent', description: 'Data of an event named change' },
);

const DESCRIPTION =
  `Events: \`ready\` (where the stream starts), \`change\` (data: ChangeEvent), \`reset\` (the changes since
Last-Event-ID are not known any more: read again what you keep), \`end\` (the last one, with an error code). Ids are
\`generation/revision\`; all changes of one transaction come together, the last of them with the id. Comments keep a quiet
stream open.`.replaceAll('\n', ' ');

export function eventRoutes(app: FastifyInstance, context: Context, options: EventOptions = {}): void {
  const { keepAlive = 15_000, lifetime = 3_600_000, maxStreams = 256 } = options;
  const feed = new ChangeFeed(context.database, options);
  const streams = new Set<ChangeStream>();
  app.addHook('onClose', async () => {
    for (const stream of streams) stream.destroy();
    feed.close();
  });
  app.addSchema(ChangeEvent);
  const events = {
    description: 'Server-sent events',
    content: { 'text/event-stream': { schema: { type: 'string' } } },
  };
  const schema = {
    tags: ['system'],
    summary: 'What changes, as it changes',
    description: DESCRIPTION,
    querystring: {
      type: 'object',
      properties: {
        type: { type: 'string', description: 'Object types, comma-separated; default all' },
        tenant_id: { type: 'string', description: 'Only what belongs to this tenant' },
        objects: { type: 'boolean', description: 'true: events carry the object too' },
      },
    },
    headers: {
      type: 'object',
      properties: { 'last-event-id': { type: 'string', description: 'Id of the last event that was received' } },
    },
    response: answers({ 200: events }, []),
  };
  app.get(`${ROOT}/events`, { schema, exposeHeadRoute: false }, async (request, reply) => {
    acceptsEvents(request.headers.accept);
    const wanted = wish(context, request);
    const withObjects = flag(request, 'objects');
    const resume = lastEventId(request);
    if (streams.size >= maxStreams) {
      throw new ApiError(503, 'WEFT_API_EVENTS_FULL', `${maxStreams} clients listen already. Try again later.`);
    }
    const base = baseUri(request);
    let stop = () => {};
    const stream = new ChangeStream({
      feed,
      wanted,
      keepAlive,
      lifetime,
      // Called from the feed, on behalf of this request: what it reads is what this request may see.
      show: AsyncLocalStorage.bind((records: readonly ChangeRecord[], revision: Revision) =>
        show(context, base, records, revision, withObjects),
      ),
      onEnd() {
        streams.delete(stream);
        stop();
      },
    });
    streams.add(stream);
    stop = await feed.listen(stream.wake);
    if (stream.destroyed) stop();
    else if (resume === undefined) stream.begin(feed.revision, false);
    else if (feed.reaches(resume.generation, resume.revision)) stream.begin(resume.revision, false);
    else stream.begin(feed.revision, true);
    return reply
      .header('Cache-Control', 'no-store')
      .header('X-Accel-Buffering', 'no')
      .type('text/event-stream')
      .send(stream);
  });
}

async function show(
  context: Context,
  base: string,
  records: readonly ChangeRecord[],
  revision: Revision,
  withObjects: boolean,
): Promise<object[]> {
  const objects = withObjects ? await objectsOf(context, base, records) : undefined;
  return records.map(({ type, id, change, tenantId, parents }) => {
    const uri = itemUri(base, resourceOf(type), { ...parents, id });
    const object = change === 'deleted' ? undefined : objects?.get(`${type}/${id}`);
    return { revision, type, id, change, tenantId, uri, ...(object ? { object } : {}) };
  });
}

async function objectsOf(context: Context, base: string, records: readonly ChangeRecord[]) {
  const shown = new Map<string, ObjectValue>();
  const byType = new Map<TypeName, string[]>();
  for (const { type, id, change } of records) {
    if (change === 'deleted') continue;
    if (!byType.has(type)) byType.set(type, []);
    byType.get(type)!.push(id);
  }
  for (const [type, ids] of byType) {
    const found = (await Promise.all(ids.map((id) => context.nsdb.get(type, id)))).filter((o) => o !== undefined);
    const values = await represent(context, base, resourceOf(type), found);
    values.forEach((value, i) => {
      shown.set(`${type}/${found[i]!.id}`, value);
    });
  }
  return shown;
}

/** Filters of the client, within what it may see. */
function wish(context: Context, request: FastifyRequest): (record: ChangeRecord) => boolean {
  const names = queryOf(request, 'type')?.split(',');
  for (const name of names ?? []) {
    if (!isTypeName(name) || !FEED_TYPES.includes(name)) {
      throw invalid([{ property: 'type', message: `must be of ${FEED_TYPES.join(', ')}` }]);
    }
  }
  const types = names && new Set<string>(names);
  const asked = queryOf(request, 'tenant_id');
  const limit = context.tenantOf(request);
  return ({ type, tenantId }) =>
    (types === undefined || types.has(type)) &&
    (asked === undefined || tenantId === asked) &&
    (limit === undefined || tenantId === limit);
}

function flag(request: FastifyRequest, name: string): boolean {
  const value = queryOf(request, name);
  if (value === undefined || value === 'false') return false;
  if (value === 'true') return true;
  throw invalid([{ property: name, message: 'must be true or false' }]);
}

function lastEventId(request: FastifyRequest): { generation: string; revision: Revision } | undefined {
  const text = request.headers['last-event-id'];
  if (text === undefined || text === '') return undefined;
  const [, generation, revision] = /^([0-9a-fA-F-]{1,64})\/(\d{1,15})$/.exec(String(text)) ?? [];
  if (generation === undefined) {
    throw invalid([{ property: 'Last-Event-ID', message: 'must be the id of an event: generation/revision' }]);
  }
  return { generation, revision: Number(revision) };
}

function acceptsEvents(accept: string | undefined): void {
  if (accept === undefined || accept === '') return;
  const types = accept.slice(0, 4_096).split(',');
  if (types.some((type) => /^\s*(?:text\/event-stream|text\/\*|\*\/\*)\s*(?:;|$)/i.test(type))) return;
  throw new ApiError(406, 'WEFT_API_NOT_ACCEPTABLE', 'This resource is available as text/event-stream.');
}
