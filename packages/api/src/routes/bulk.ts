/**
 * `POST /bulk`: many POSTs as one transaction. Each operation is a path and the body that would be sent there alone; objects
 * name each other by ids that the client makes up. All of it happens, or nothing.
 */
import type { Transaction } from '@weft/nsdb';
import { type Chain, type ObjectValue, TopologyError } from '@weft/topology';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { baseUri, bodyOf, type Context, existing, isStrict, ROOT, write } from '../context.ts';
import { type Creator, type Preparation, type RuleAdder, showAll } from '../creators.ts';
import { statusOf } from '../error-reply.ts';
import { ApiError, invalid, type Violation } from '../errors.ts';
import { answers, BODY_ERRORS } from '../openapi.ts';

/** Operations in one request. What they write together is bounded by the store: 10,000 items, 4 MiB. */
const MAX_OPERATIONS = 5_000;
const BODY_LIMIT = 4 * 1024 * 1024;
/** Operations between two pauses, in which other requests have their turn. */
const STRIDE = 100;

const Bulk = Type.Object(
  {
    operations: Type.Array(
      Type.Object({
        path: Type.String({
          minLength: 1,
          maxLength: 2_048,
          description: 'Path of a collection below the root, such as /bridges/{id}/ports, or its absolute URI',
        }),
        body: Type.Record(Type.String(), Type.Unknown(), { description: 'What a POST to that path would send' }),
      }),
      { minItems: 1, maxItems: MAX_OPERATIONS },
    ),
  },
  { $id: 'Bulk', description: 'Several POSTs as one transaction' },
);

const BulkResult = Type.Object(
  {
    revision: Type.Integer({ description: 'Revision at which all of it became true' }),
    generation: Type.String({ description: 'Generation of the store' }),
    results: Type.Array(Type.Object({ uri: Type.String() }, { additionalProperties: true }), {
      description: 'What each POST alone would have answered, in the order of the operations',
    }),
  },
  { $id: 'BulkResult', description: 'What was created' },
);

interface Operation {
  readonly path: string;
  readonly prepared: Preparation;
}

export function bulkRoutes(app: FastifyInstance, context: Context): void {
  app.addSchema(Bulk);
  app.addSchema(BulkResult);
  const schema = {
    tags: ['system'],
    summary: 'Create many objects in one transaction',
    description:
      'Parents come before what is created below them; other references may point forward. A refusal names the ' +
      'operation in its message and violations, and nothing of the request has happened.',
    body: { $ref: 'Bulk#' },
    response: answers({ 200: { $ref: 'BulkResult#' } }, [403, 404, 409, ...BODY_ERRORS]),
  };
  app.post(`${ROOT}/bulk`, { schema, bodyLimit: BODY_LIMIT }, async (request, reply) => {
    const operations = await prepare(context, bodyOf(request), isStrict(request));
    const ids = new Map<string, number>();
    const { result, revision } = await write(context, reply, async (tx) => {
      const rules = new RulesToAdd();
      const made: unknown[] = [];
      ids.clear();
      for (const [i, { path, prepared }] of operations.entries()) {
        if (i % STRIDE === STRIDE - 1) await pause();
        try {
          made.push(await prepared.run(tx, rules.add));
        } catch (error) {
          throw located(error, i, path);
        }
        const id = (made[i] as { id?: unknown } | undefined)?.id;
        if (typeof id === 'string') ids.set(id, i);
      }
      await rules.settle(tx);
      return made;
    }).catch((error: unknown) => {
      throw culprit(error, ids, operations);
    });
    const base = baseUri(request);
    const created = operations.map(({ prepared }, i) => prepared.created(base, result[i], revision));
    const results = await showAll(context, base, created);
    return reply.send({ revision, generation: context.nsdb.generation, results });
  });
}

async function prepare(context: Context, body: ObjectValue, strict: boolean): Promise<Operation[]> {
  const { operations } = body;
  if (!Array.isArray(operations) || operations.length === 0 || operations.length > MAX_OPERATIONS) {
    throw invalid([{ property: 'operations', message: `must be a list of 1 to ${MAX_OPERATIONS} operations` }]);
  }
  const prepared: Operation[] = [];
  for (const [i, operation] of operations.entries()) {
    if (i % STRIDE === STRIDE - 1) await pause();
    const at = `operations.${i}`;
    if (!isRecord(operation)) throw invalid([{ property: at, message: 'must be an object with path and body' }]);
    const { path, body: content } = operation;
    if (typeof path !== 'string') throw invalid([{ property: `${at}.path`, message: 'must be a string' }]);
    if (!isRecord(content)) throw invalid([{ property: `${at}.body`, message: 'must be an object' }]);
    const found = creatorOf(context.creators, path);
    if (!found) {
      const message = `is no collection to create in: ${path.slice(0, 100)}`;
      throw invalid([{ property: `${at}.path`, message }]);
    }
    try {
      prepared.push({ path, prepared: found.creator.prepare(found.params, { ...content }, strict) });
    } catch (error) {
      throw located(error, i, path);
    }
  }
  return prepared;
}

function isRecord(value: unknown): value is ObjectValue {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Who creates at a path or absolute URI, and the parameters in it. */
function creatorOf(creators: readonly Creator[], path: string) {
  const below = path.slice(0, 2_048).replace(/^(?:https?:\/\/[^/]+)?\/midonet-api(?=\/)/i, '');
  const given = below.split('/');
  for (const creator of creators) {
    const parts = creator.path.split('/');
    if (parts.length !== given.length) continue;
    if (!parts.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]))) continue;
    try {
      const params: Record<string, string> = {};
      parts.forEach((part, i) => {
        if (part.startsWith(':')) params[part.slice(1)] = decodeURIComponent(given[i]!);
      });
      return { creator, params };
    } catch {
      return undefined; // a percent sign that encodes nothing
    }
  }
  return undefined;
}

/** The same refusal, saying which operation it is about. */
function located(error: unknown, i: number, path: string): unknown {
  if (!(error instanceof Error)) return error;
  const { code, violations = [] } = error as { code?: unknown; violations?: readonly Violation[] };
  const status = statusOf(error);
  if (status === undefined || typeof code !== 'string' || status >= 500) return error;
  const inside = violations.map(({ property, message }) => ({
    property: `operations.${i}.body${property === '' ? '' : `.${property}`}`,
    message,
  }));
  const about = inside.length > 0 ? inside : [{ property: `operations.${i}`, message: error.message }];
  return ApiError.of(status, code, `operation ${i}, ${path.slice(0, 100)}: ${error.message}`, about);
}

/** What the commit refuses names the object it is about; from there to the operation. */
function culprit(error: unknown, ids: ReadonlyMap<string, number>, operations: readonly Operation[]): unknown {
  if (!(error instanceof Error) || error instanceof ApiError) return error;
  const id = /^[A-Z][A-Za-z]{0,63} ([A-Za-z0-9:-]{1,128}?)(?=[:. ]|$)/.exec(error.message)?.[1]?.replace(/:$/, '');
  const i = id === undefined ? undefined : ids.get(id);
  return i === undefined ? error : located(error, i, operations[i]!.path);
}

/** Collects the rules of each chain, so that the chain is written once, not once per rule. */
class RulesToAdd {
  readonly #chains = new Map<string, { readonly chain: Chain; readonly ruleIds: string[] }>();

  /** As `addRule`, but the chain learns of it in `settle`. */
  readonly add: RuleAdder = async (tx, rule, position) => {
    const chainId = String(rule.chainId);
    let edit = this.#chains.get(chainId);
    if (!edit) {
      const { value } = await existing<Chain>(tx, 'Chain', chainId);
      this.#chains.set(chainId, (edit = { chain: value, ruleIds: [...value.ruleIds] }));
    }
    const { ruleIds } = edit;
    if (!Number.isInteger(position) || position < 1 || position > ruleIds.length + 1) {
      const message = `must be between 1 and ${ruleIds.length + 1}, the end of chain ${chainId}`;
      throw new TopologyError('WEFT_RULE_POSITION', `position ${message}`, [{ property: 'position', message }]);
    }
    const created = await tx.create<ObjectValue>('Rule', rule);
    ruleIds.splice(position - 1, 0, created.id as string);
    return created;
  };

  async settle(tx: Transaction): Promise<void> {
    for (const [id, { chain, ruleIds }] of this.#chains) await tx.update('Chain', id, { ...chain, ruleIds });
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
