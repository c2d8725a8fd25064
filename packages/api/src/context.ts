/** What every handler gets, and small things that several of them do. */
import type { Nsdb, Revision, StoredObject, Transaction } from '@weft/nsdb';
import { canonicalUuid, type TypeName } from '@weft/topology';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Creator } from './creators.ts';
import { invalid, notFound } from './errors.ts';

/** Path of the root document; everything but the OpenAPI document is below it. */
export const ROOT = '/midonet-api';

/** Longest list that one answer holds; more is a `Link` to the next page away. */
export const MAX_PAGE = 10_000;

export interface Context {
  readonly nsdb: Nsdb;
  /** The whole database whoever asks: for the stream of changes, which asks `tenantOf` what may be told to whom. */
  readonly database: Nsdb;
  /** The tenant that the sender of a request is limited to; undefined: not limited. */
  tenantOf(request: FastifyRequest): string | undefined;
  /** All that POST can make; filled while the routes are registered. */
  readonly creators: Creator[];
}

/** Absolute URI of the root as the client reached it. */
export function baseUri(request: FastifyRequest): string {
  const host = /^[A-Za-z0-9.:[\]_-]{1,255}$/.test(request.host ?? '') ? request.host : 'localhost';
  return `${request.protocol}://${host}${ROOT}`;
}

/** An id from the path in canonical spelling; what is none cannot exist. */
export function idFrom(what: string, text: string): string {
  const id = canonicalUuid(text);
  if (id === undefined) throw notFound(what, text);
  return id;
}

/** The body as an object that may be changed. */
export function bodyOf(request: FastifyRequest): Record<string, unknown> {
  const { body } = request;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalid([{ property: '', message: 'the body must be a JSON object' }]);
  }
  return { ...body };
}

export async function existing<T = Record<string, unknown>>(
  source: Pick<Nsdb | Transaction, 'get'>,
  type: TypeName,
  id: string,
): Promise<StoredObject<T>> {
  const stored = await source.get<T>(type, id);
  if (!stored) throw notFound(type, id);
  return stored;
}

/** Commits and says in the headers at which revision the change became true. */
export async function write<R>(
  { nsdb }: Context,
  reply: FastifyReply,
  body: (tx: Transaction) => Promise<R>,
): Promise<{ revision: Revision; result: R }> {
  const done = await nsdb.transact(body);
  reply.header('X-Weft-Revision', String(done.revision)).header('X-Weft-Generation', nsdb.generation);
  return done;
}

/** Does the client want to hear of properties that the object does not have (RFC 7240, `Prefer: handling=strict`)? */
export function isStrict({ headers }: FastifyRequest): boolean {
  const prefer = [headers.prefer ?? []].flat().join(',').slice(0, 1_000);
  return /(?:^|[,;\s])handling\s*=\s*"?strict"?(?=[,;\s]|$)/i.test(prefer);
}

/** A query parameter that may be given once. */
export function queryOf(request: FastifyRequest, name: string): string | undefined {
  const value = (request.query as Record<string, unknown>)[name];
  if (value === undefined || typeof value === 'string') return value as string | undefined;
  throw invalid([{ property: name, message: 'may be given once' }]);
}

/** A whole number from the query, within bounds. */
export function numberFrom(request: FastifyRequest, name: string, fallback: number, max: number, min = 0): number {
  const value = queryOf(request, name);
  if (value === undefined) return fallback;
  if (!/^\d{1,10}$/.test(value) || Number(value) > max || Number(value) < min) {
    throw invalid([{ property: name, message: `must be a whole number between ${min} and ${max}` }]);
  }
  return Number(value);
}

/**
 * The page of a list that `?marker=` and `?limit=` ask for; where there is more, the header Link leads on. A marker that is
 * gone still has its place in a list that is sorted by id.
 */
export function pageOf<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  all: readonly T[],
  idOf: (item: T) => string,
): readonly T[] {
  const limit = numberFrom(request, 'limit', MAX_PAGE, MAX_PAGE, 1);
  const marker = queryOf(request, 'marker') ?? '';
  let start = 0;
  if (marker !== '') {
    const at = all.findIndex((item) => idOf(item) === marker);
    start = at >= 0 ? at + 1 : all.findIndex((item) => idOf(item) > marker);
    if (start < 0) start = all.length;
  }
  const page = start === 0 && all.length <= limit ? all : all.slice(start, start + limit);
  if (start + limit < all.length) {
    const next = new URL(request.url, baseUri(request));
    next.searchParams.set('marker', idOf(page.at(-1)!));
    reply.header('Link', `<${next.href}>; rel="next"`);
  }
  return page;
}
