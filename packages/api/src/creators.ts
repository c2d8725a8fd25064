/**
 * What a POST does, apart from HTTP: so that the same code creates one thing (`POST /bridges`) and many in one transaction
 * (`POST /bulk`).
 */
import type { Revision, StoredObject, Transaction } from '@weft/nsdb';
import { addRule, type ObjectValue } from '@weft/topology';
import type { FastifyInstance } from 'fastify';
import { baseUri, bodyOf, type Context, isStrict, ROOT, write } from './context.ts';
import { negotiate } from './media.ts';
import { asMedia, represent } from './represent.ts';
import type { Resource } from './resources.ts';

/** What was made: an object of the model, shown by its resource, or JSON that has its `uri` already. */
export type Created =
  | { readonly resource: Resource; readonly stored: StoredObject }
  | { readonly json: ObjectValue & { readonly uri: string } };

/** Rules join their chains: one after the other, or all at the end of a transaction that makes many. */
export type RuleAdder = (tx: Transaction, rule: ObjectValue, position: number) => Promise<ObjectValue>;

export interface Preparation {
  /** Within the transaction; may run again after a conflict. */
  run(tx: Transaction, addTo: RuleAdder): Promise<unknown>;
  /** After the commit, with what `run` gave. */
  created(base: string, result: unknown, revision: Revision): Created;
}

export interface Creator {
  /** Path of the collection below the root, with parameters: `/bridges/:id/ports`. */
  readonly path: string;
  /** Media types of what is made, beside plain JSON. */
  readonly types: readonly string[];
  /** What the body says, checked as far as that goes without other objects; `strict`: unknown properties are refused. */
  prepare(params: Readonly<Record<string, string>>, body: ObjectValue, strict: boolean): Preparation;
}

const addAtOnce: RuleAdder = (tx, rule, position) => addRule(tx, rule, position);

/** Registers the POST route of a creator, and the creator for bulk requests. */
export function postRoute(app: FastifyInstance, context: Context, creator: Creator, schema: object): void {
  context.creators.push(creator);
  app.post(ROOT + creator.path, { schema }, async (request, reply) => {
    const media = negotiate(request.headers.accept, creator.types);
    const prepared = creator.prepare(request.params as Record<string, string>, bodyOf(request), isStrict(request));
    const { result, revision } = await write(context, reply, (tx) => prepared.run(tx, addAtOnce));
    const base = baseUri(request);
    const created = prepared.created(base, result, revision);
    if ('stored' in created) reply.header('ETag', `"${created.stored.version}"`);
    const all = await showAll(context, base, [created]);
    const [shown] = 'stored' in created ? asMedia(media, created.resource, all) : all;
    return reply
      .code(201)
      .header('Location', shown!.uri as string)
      .type(media)
      .send(shown);
  });
}

/** What POST answers with, in order; objects of one type are read and shown together. */
export async function showAll(context: Context, base: string, all: readonly Created[]): Promise<ObjectValue[]> {
  const shown: ObjectValue[] = new Array(all.length);
  const places = new Map<Resource, number[]>();
  all.forEach((created, i) => {
    if ('json' in created) shown[i] = created.json;
    else if (places.has(created.resource)) places.get(created.resource)!.push(i);
    else places.set(created.resource, [i]);
  });
  for (const [resource, at] of places) {
    const objects = at.map((i) => (all[i] as { stored: StoredObject }).stored);
    const values = await represent(context, base, resource, objects);
    values.forEach((value, k) => {
      shown[at[k]!] = value;
    });
  }
  return shown;
}
