/**
 * The audit log: one line of JSON for every request that may change something and for every one that was refused. It never
 * holds a body, a query, or a header, so no secret gets into it.
 */
import { chmodSync, closeSync, openSync } from 'node:fs';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { destination, type Logger, pino } from 'pino';
import { LOGIN_PATH } from '../auth/login.ts';
import type { ApiEvent } from '../events.ts';

export interface AuditLog {
  readonly logger: Logger;
  close(): void;
}

/** Opens a file to append to, readable by its owner only. Lines are on their way to the disk before the answer is. */
export function auditFile(path: string): AuditLog {
  // Made before pino does, so that it never exists with wider permissions.
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const stream = destination({ dest: path, append: true, sync: true });
  return { logger: auditLogger(stream), close: () => stream.end() };
}

/** The log of the process itself, on standard output: doors, failures, and requests where that is wanted. */
export function processLogger(): Logger {
  return pino({ base: null });
}

/** For tests and for streams that are kept elsewhere. */
export function auditLogger(stream: { write(line: string): void }): Logger {
  const timestamp = () => `,"time":"${new Date().toISOString()}"`;
  return pino({ base: null, timestamp, formatters: { level: () => ({ log: 'audit' }) } }, stream);
}

/** Refusals of senders that are not known are logged one by one at this rate; whoever floods the door must not fill the disk. */
const UNKNOWN_PER_SECOND = 10;
const UNKNOWN_BURST = 200;

const READS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Writes the log of what `app` answers. `requests`: logs every request to the app's own logger too. */
export function audit(app: FastifyInstance, log: Logger | undefined, requests: boolean): void {
  const unknown = new Budget(UNKNOWN_PER_SECOND, UNKNOWN_BURST);
  // The code of the refusal is in the answer only.
  app.addHook('preSerialization', async (request, reply, payload) => {
    if (reply.statusCode >= 400) request.refusal = (payload as { error?: string } | null)?.error;
    return payload;
  });
  app.addHook('onResponse', async (request, reply) => {
    if (requests) {
      const event: ApiEvent = 'api.request';
      request.log.info({ event, ...what(request, reply), ms: Math.round(reply.elapsedTime) }, 'request');
    }
    if (log === undefined) return;
    const refused = reply.statusCode >= 400;
    if (!refused && READS.has(request.method)) return;
    if (refused && request.principal === undefined) {
      if (!unknown.take()) return;
      const count = unknown.suppressed();
      const event: ApiEvent = 'api.refused_suppressed';
      if (count > 0) log.info({ event, count });
    }
    const event: ApiEvent = refused ? 'api.refused' : isLogin(request) ? 'api.login' : 'api.write';
    log.info({ event, ...what(request, reply) });
  });
}

function isLogin({ method, url }: FastifyRequest): boolean {
  return method === 'POST' && url.split('?', 1)[0] === LOGIN_PATH;
}

function what(request: FastifyRequest, reply: FastifyReply) {
  const { principal } = request;
  const location = reply.getHeader('location');
  const object = Object.values((request.params ?? {}) as Record<string, string>).join('/');
  const made = typeof location === 'string' ? location.slice(location.lastIndexOf('/') + 1) : undefined;
  const revision = Number(reply.getHeader('x-weft-revision'));
  return {
    who: principal?.name ?? null,
    provider: principal?.provider ?? null,
    role: principal?.role ?? null,
    tenant: principal?.tenantId ?? null,
    method: request.method,
    // Without the query: people put secrets there.
    uri: request.url.split('?', 1)[0]!.slice(0, 1024),
    ...(object === '' ? {} : { object: object.slice(0, 256) }),
    ...(made === undefined ? {} : { made: made.slice(0, 256) }),
    status: reply.statusCode,
    ...(request.refusal === undefined ? {} : { error: request.refusal }),
    ...(revision > 0 ? { revision } : {}),
    request: request.id,
    source: request.socket.remoteAddress ?? 'socket',
  };
}

/** A token bucket that counts what it refuses. */
class Budget {
  readonly #perSecond: number;
  readonly #burst: number;
  #left: number;
  #at = performance.now();
  #refused = 0;

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#left = burst;
  }

  take(): boolean {
    const now = performance.now();
    this.#left = Math.min(this.#burst, this.#left + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#left < 1) {
      this.#refused++;
      return false;
    }
    this.#left--;
    return true;
  }

  /** How many were refused since it was asked last. */
  suppressed(): number {
    const count = this.#refused;
    this.#refused = 0;
    return count;
  }
}
