/**
 * Moves of ports from host to host, in three steps: `POST /ports/{id}/migration` has the next host get ready, `PUT …/switch` moves the binding,
 * `DELETE` says that it is done, or gives up what was prepared. How far it is, hosts say in the state table `moving/<port>`.
 */
import { endMove, type Port, prepareMove, switchMove } from '@weft/topology';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { baseUri, type Context, existing, idFrom, queryOf, ROOT, write } from '../context.ts';
import { type Creator, postRoute } from '../creators.ts';
import { ApiError, invalid, notFound } from '../errors.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers, BODY_ERRORS, idParam } from '../openapi.ts';

const AWAITED = ['agent', 'interface', 'topology', 'connections', 'archive'] as const;
type Awaited = (typeof AWAITED)[number];

const PortMigration = Type.Object(
  {
    portId: Type.Optional(Type.String({ format: 'uuid' })),
    hostId: Type.String({ format: 'uuid', description: 'Host that the port moves to, or has moved to' }),
    interfaceName: Type.String({ maxLength: 15, description: 'Its interface there' }),
    fromHostId: Type.Optional(Type.String({ format: 'uuid', description: 'Host that it moves from' })),
    stage: Type.Optional(
      Type.Enum(['preparing', 'ready', 'switched'], {
        description: 'ready: it can be switched; switched: it is there, and what still goes to the old host follows it',
      }),
    ),
    awaits: Type.Optional(
      Type.Array(Type.Enum([...AWAITED]), {
        description: 'What the next host waits for; agent: for its agent, which has said nothing yet',
      }),
    ),
    connections: Type.Optional(
      Type.Union([Type.Integer(), Type.Null()], {
        description: 'Connections of the port that were known there when it said so',
      }),
    ),
    uri: Type.Optional(Type.String()),
  },
  { $id: 'PortMigration', description: 'The move of a port to another host' },
);

interface Shown {
  readonly portId: string;
  readonly hostId: string;
  readonly interfaceName: string;
  readonly fromHostId: string | undefined;
  readonly stage: 'preparing' | 'ready' | 'switched';
  readonly awaits: readonly Awaited[];
  readonly connections: number | null;
  readonly uri: string;
}

type Params = { readonly id: string };

export function portMigrationRoutes(app: FastifyInstance, context: Context): void {
  app.addSchema(PortMigration);
  const url = `${ROOT}/ports/:id/migration`;
  const tags = ['ports'];
  const $ref = 'PortMigration#';
  const media = (accept: string | undefined) => negotiate(accept, vendorTypes('PortMigration', [1]));

  const creator: Creator = {
    path: '/ports/:id/migration',
    types: vendorTypes('PortMigration', [1]),
    prepare({ id }, { hostId, interfaceName }) {
      const portId = idFrom('Port', id!);
      const violations = Object.entries({ hostId, interfaceName })
        .filter(([, value]) => typeof value !== 'string')
        .map(([property]) => ({ property, message: 'is required' }));
      if (violations.length > 0) throw invalid(violations);
      const next = idFrom('Host', hostId as string);
      return {
        async run(tx) {
          await existing(tx, 'Port', portId);
          await existing(tx, 'Host', next);
          return prepareMove(tx, portId, next, interfaceName as string);
        },
        created: (base, result) => ({ json: { ...unheard(base, result as Port) } }),
      };
    },
  };
  postRoute(app, context, creator, {
    tags,
    summary: 'Prepare the move of a port: its next host gets ready',
    params: idParam,
    body: { $ref },
    response: answers({ 201: { $ref } }, [404, 409, ...BODY_ERRORS]),
  });

  const get = {
    tags,
    summary: 'How far is the move of a port?',
    params: idParam,
    response: answers({ 200: { $ref } }, [404]),
  };
  app.get(url, { schema: get }, async (request, reply) => {
    const type = media(request.headers.accept);
    const port = await existing<Port>(context.nsdb, 'Port', idFrom('Port', (request.params as Params).id));
    return reply.type(type).send(await shown(context, baseUri(request), port.value));
  });

  const turn = {
    tags,
    summary: 'Move a port to where its move was prepared to',
    params: idParam,
    querystring: {
      type: 'object',
      properties: {
        force: {
          type: 'boolean',
          description: 'Also if the next host is not ready: what it does not know yet is asked for',
        },
      },
    },
    response: answers({ 200: { $ref } }, [404, 409, ...BODY_ERRORS]),
  };
  app.put(`${url}/switch`, { schema: turn }, async (request, reply) => {
    const type = media(request.headers.accept);
    const id = idFrom('Port', (request.params as Params).id);
    const force = queryOf(request, 'force') === 'true';
    const base = baseUri(request);
    const before = await existing<Port>(context.nsdb, 'Port', id);
    const { stage, awaits } = await shown(context, base, before.value);
    if (stage === 'preparing' && !force) {
      const message = `Host ${before.value.nextHostId} waits for: ${awaits.join(', ')}.`;
      throw new ApiError(409, 'WEFT_API_NOT_READY', message);
    }
    const { result } = await write(context, reply, async (tx) => {
      await existing(tx, 'Port', id);
      return switchMove(tx, id);
    });
    return reply.type(type).send(await shown(context, base, result));
  });

  const gone = answers({ 204: { type: 'null', description: 'The port does not move' } }, [404, ...BODY_ERRORS]);
  const remove = {
    tags,
    summary: 'End the move of a port: done, or given up if it was not switched',
    params: idParam,
    response: gone,
  };
  app.delete(url, { schema: remove }, async (request, reply) => {
    const id = idFrom('Port', (request.params as Params).id);
    await write(context, reply, async (tx) => {
      const { value } = await existing<Port>(tx, 'Port', id);
      if (!isMoving(value)) throw notFound('migration of port', id);
      await endMove(tx, id);
    });
    return reply.code(204).send();
  });
}

/** A move of which the next host has not said anything yet. */
function unheard(base: string, port: Port): Shown {
  return {
    portId: port.id,
    hostId: port.nextHostId!,
    interfaceName: port.nextInterfaceName!,
    fromHostId: port.hostId,
    stage: 'preparing',
    awaits: ['agent'],
    connections: null,
    uri: `${base}/ports/${port.id}/migration`,
  };
}

function isMoving({ hostId, nextHostId, previousHostId }: Port): boolean {
  return nextHostId !== undefined || (previousHostId !== undefined && hostId !== undefined);
}

/** @throws ApiError WEFT_NOT_FOUND if the port does not move */
async function shown({ nsdb }: Context, base: string, port: Port): Promise<Shown> {
  if (port.nextHostId !== undefined) {
    const said = await noticeOf(nsdb, port);
    if (said === undefined) return unheard(base, port);
    const { ready, awaits, connections } = said;
    return { ...unheard(base, port), stage: ready ? 'ready' : 'preparing', awaits, connections };
  }
  const { id, hostId, interfaceName, previousHostId } = port;
  if (!isMoving(port)) throw notFound('migration of port', id);
  return {
    portId: id,
    hostId: hostId!,
    interfaceName: interfaceName!,
    fromHostId: previousHostId,
    stage: 'switched',
    awaits: [],
    connections: null,
    uri: `${base}/ports/${id}/migration`,
  };
}

/** What the next host has said of this very move; its agent writes it (`moves.ts`). */
async function noticeOf(
  nsdb: Context['nsdb'],
  port: Port,
): Promise<{ ready: boolean; awaits: Awaited[]; connections: number } | undefined> {
  const entries = await nsdb.entries(`moving/${port.id}`);
  const entry = entries.find(({ key, owner }) => key === port.nextHostId && owner === port.nextHostId);
  if (entry === undefined) return undefined;
  let said: Record<string, unknown>;
  try {
    said = JSON.parse(entry.value) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  const { role, interfaceName, ready, awaits, connections } = said;
  if (role !== 'to' || interfaceName !== port.nextInterfaceName || !Array.isArray(awaits)) return undefined;
  return {
    ready: ready === true,
    awaits: AWAITED.filter((one) => awaits.includes(one)),
    connections: typeof connections === 'number' ? connections : 0,
  };
}
