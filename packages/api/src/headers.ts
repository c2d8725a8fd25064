/** Headers that tell browsers what not to do with answers, and whose pages may read them (CORS). */
import type { FastifyInstance } from 'fastify';

const SECURITY_HEADERS = {
  // Answers are what they say they are, are for this client only, and are no pages.
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
} as const;

const CORS_METHODS = 'GET, POST, PUT, DELETE, OPTIONS';
const CORS_HEADERS = 'Origin, X-Auth-Token, X-Auth-Project, Content-Type, Accept, Authorization, If-Match';
const CORS_EXPOSED = 'Location, ETag, Link, X-Weft-Revision, X-Weft-Generation';

/**
 * `origins`: whose pages may use the API, `*` for all. Cookies are never allowed across origins
 * (no Access-Control-Allow-Credentials), so a page needs a token of its own.
 */
export function responseHeaders(app: FastifyInstance, origins: readonly string[]): void {
  const any = origins.includes('*');
  const known = new Set(origins);
  app.addHook('onRequest', async (request, reply) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) reply.header(name, value);
    const { origin } = request.headers;
    if (origins.length === 0) return;
    if (!any) reply.header('Vary', 'Origin');
    if (origin === undefined || !(any || known.has(origin))) return;
    reply.header('Access-Control-Allow-Origin', any ? '*' : origin);
    reply.header('Access-Control-Expose-Headers', CORS_EXPOSED);
    // A browser asks before it sends a token, without one.
    if (request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
      reply.header('Access-Control-Allow-Methods', CORS_METHODS);
      reply.header('Access-Control-Allow-Headers', CORS_HEADERS);
      reply.header('Access-Control-Max-Age', '600');
      return reply.code(204).send();
    }
  });
}
