/** Media types: plain JSON, or the versioned types of MidoNet's clients, whichever the client prefers. */
import { ApiError } from './errors.ts';
import type { Resource } from './resources.ts';

const VENDOR = 'application/vnd.org.midonet.';
export const JSON_TYPE = 'application/json';

/** Vendor types in use, by their lower-case spelling. */
const SPELLING = new Map<string, string>();

/** The media types of an item or a collection, newest version first. */
export function vendorTypes(media: string, versions: readonly number[], collection = false): string[] {
  const types = versions.map((version) => `${VENDOR}${collection ? 'collection.' : ''}${media}-v${version}+json`);
  for (const type of types) SPELLING.set(type.toLowerCase(), type);
  return types;
}

/** The media types of a resource, with its other names. */
export function typesOf(
  { media, versions, alsoMedia = [] }: Pick<Resource, 'media' | 'versions' | 'alsoMedia'>,
  collection = false,
): string[] {
  return [media, ...alsoMedia].flatMap((name) => vendorTypes(name, versions, collection));
}

/** Fastify writes content types in lower case and adds a charset; clients that compare strings want them as documented. */
export function asDocumented(contentType: unknown): string | undefined {
  return typeof contentType === 'string' ? SPELLING.get(contentType.split(';', 1)[0]!.toLowerCase()) : undefined;
}

/** Content types that carry JSON. */
export const JSON_BODY = /^application\/(?:json|vnd\.org\.midonet\.[\w.-]+\+json)(?:\s*;|$)/i;

/** Picks from `offered` (and plain JSON, preferred for wildcards) by the Accept header; 406 if nothing fits. */
export function negotiate(accept: string | undefined, offered: readonly string[]): string {
  if (accept === undefined || accept === '') return JSON_TYPE;
  const wishes = accept
    .slice(0, 4096)
    .split(',')
    .map((wish) => {
      const [type = '', ...parameters] = wish.split(';').map((part) => part.trim());
      const quality = parameters.find((p) => /^q=/i.test(p));
      return { type: type.toLowerCase(), quality: quality ? Number(quality.slice(2)) : 1 };
    })
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality);
  for (const { type } of wishes) {
    if (type === JSON_TYPE || type === '*/*' || type === 'application/*') return JSON_TYPE;
    const found = offered.find((candidate) => candidate.toLowerCase() === type);
    if (found) return found;
  }
  throw new ApiError(
    406,
    'WEFT_API_NOT_ACCEPTABLE',
    `This resource is available as ${[JSON_TYPE, ...offered].join(', ')}.`,
  );
}
