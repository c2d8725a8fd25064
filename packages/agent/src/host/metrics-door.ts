/**
 * Metrics over TCP for a collector that cannot read a Unix socket. Loopback only, and with a token: other users of the machine and
 * web pages reach loopback too. It answers GET /metrics and nothing else.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AgentError } from '../errors.ts';

const MIN_TOKEN = 16;
const MAX_CONNECTIONS = 16;
const SERVER_OPTIONS = {
  requestTimeout: 10_000,
  headersTimeout: 5_000,
  keepAliveTimeout: 60_000,
  maxHeaderSize: 8_192,
};

export interface MetricsDoorOptions {
  /** A loopback address. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Holds the token, of at least 16 characters; for its owner only. */
  readonly tokenFile: string;
  readonly render: () => Promise<string>;
}

export interface MetricsDoor {
  /** `http://127.0.0.1:9464/metrics` */
  readonly address: string;
  close(): void;
}

/** Opens the port. @throws AgentError WEFT_AGENT_CONFIG: the token file or the address cannot be used */
export async function openMetricsDoor(options: MetricsDoorOptions): Promise<MetricsDoor> {
  const wanted = digest(`Bearer ${readToken(options.tokenFile)}`);
  const server = createServer(SERVER_OPTIONS, (request, response) => {
    const answer = (status: number, text: string, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'content-type': 'text/plain; version=0.0.4', ...headers }).end(text);
    };
    if (!timingSafeEqual(digest(request.headers.authorization ?? ''), wanted)) {
      answer(401, 'Send the token as Authorization: Bearer.\n', { 'www-authenticate': 'Bearer' });
    } else if (request.method !== 'GET' || request.url !== '/metrics') answer(404, 'GET /metrics is all there is.\n');
    else
      options.render().then(
        (text) => answer(200, text),
        () => answer(503, 'The packet worker does not answer.\n'),
      );
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, options);
  const { address, family, port } = server.address() as AddressInfo;
  return {
    address: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/metrics`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Looked at by descriptor, so that what was checked is what is read. */
function readToken(file: string): string {
  const refuse = (why: string): never => {
    throw new AgentError('WEFT_AGENT_CONFIG', `metrics.tokenFile ${file}: ${why}`);
  };
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    return refuse((cause as Error).message);
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) refuse('it is no regular file');
    if (stat.mode & 0o077) refuse('others may read or write it; make its mode 0600');
    if (stat.size > 4096) refuse('it holds more than a token');
    const token = readFileSync(fd, 'utf8').trim();
    if (!/^[\x21-\x7e]+$/.test(token) || token.length < MIN_TOKEN) {
      refuse(`it must hold one line of at least ${MIN_TOKEN} characters without spaces`);
    }
    return token;
  } finally {
    closeSync(fd);
  }
}

function listen(server: Server, { host, port }: MetricsDoorOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new AgentError('WEFT_AGENT_CONFIG', `metrics.listen: ${cause.message}`, { cause })),
    );
    server.listen({ host, port }, resolve);
  });
}
