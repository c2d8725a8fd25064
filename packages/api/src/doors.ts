/**
 * Where the API listens. Doors are closed by default: a Unix socket is open to its owner only, a loopback address asks for
 * a token (other users of the machine and web pages reach it too), any other address is refused as long as there is no TLS.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, isIPv4 } from 'node:net';
import { ApiError } from './errors.ts';

/** A Unix socket, or a TCP port at a loopback address (default 127.0.0.1; port 0: any free one). */
export type ListenOptions = { readonly unixSocket: string } | { readonly host?: string; readonly port: number };

export interface Door {
  readonly server: Server;
  /** `http://127.0.0.1:8181`, or the path of the socket. */
  readonly address: string;
  readonly needsToken: boolean;
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const SERVER_OPTIONS = {
  requestTimeout: 30_000,
  headersTimeout: 10_000,
  keepAliveTimeout: 30_000,
  maxHeaderSize: 16_384,
};
const MAX_CONNECTIONS = 1024;

export async function openDoor(options: ListenOptions, handler: Handler, hasToken: boolean): Promise<Door> {
  if ('unixSocket' in options) return openUnixSocket(options.unixSocket, handler);
  const host = options.host === undefined || options.host === 'localhost' ? '127.0.0.1' : options.host;
  if (!(isIPv4(host) && host.startsWith('127.')) && host !== '::1') {
    throw new ApiError(
      500,
      'WEFT_API_DOOR_REFUSED',
      `The API does not listen on ${host} without TLS: only on a Unix socket, 127.0.0.1 or ::1.`,
    );
  }
  if (!hasToken)
    throw new ApiError(500, 'WEFT_API_NO_TOKEN', `The API listens on ${host} only with a token or a token file.`);
  const server = newServer(handler);
  await listening(server, () => server.listen({ host, port: options.port }));
  const { port } = server.address() as AddressInfo;
  return { server, address: `http://${host.includes(':') ? `[${host}]` : host}:${port}`, needsToken: true };
}

function newServer(handler: Handler): Server {
  const server = createServer(SERVER_OPTIONS, handler);
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

async function openUnixSocket(path: string, handler: Handler): Promise<Door> {
  await removeStaleSocket(path);
  const server = newServer(handler);
  // The socket must not exist for a moment with wider permissions; Node binds it within listen().
  const umask = process.umask(0o177);
  const opened = listening(server, () => server.listen(path));
  process.umask(umask);
  await opened;
  chmodSync(path, 0o600);
  return { server, address: path, needsToken: false };
}

/** A socket that nobody answers on was left by a dead process; anything else at the path is not ours to remove. */
async function removeStaleSocket(path: string): Promise<void> {
  let found: ReturnType<typeof lstatSync>;
  try {
    found = lstatSync(path);
  } catch {
    return;
  }
  if (!found.isSocket()) throw new ApiError(500, 'WEFT_API_SOCKET_IN_USE', `${path} exists and is not a socket.`);
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
  if (answered) throw new ApiError(500, 'WEFT_API_SOCKET_IN_USE', `Another process serves ${path}.`);
  unlinkSync(path);
}

function listening(server: Server, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    start();
  });
}

/** The token in `path`; at the first start a new one is made, readable by its owner only. */
export function tokenFromFile(path: string): string {
  const refuse = (why: string): never => {
    throw new ApiError(500, 'WEFT_API_TOKEN_FILE', `Token file ${path} ${why}.`);
  };
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    try {
      const token = randomBytes(32).toString('base64url');
      writeSync(fd, `${token}\n`);
      return token;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return refuse('cannot be opened, or is a link');
  }
  try {
    const { mode, uid, size } = fstatSync(fd);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) return refuse('is not a regular file');
    if ((mode & 0o077) !== 0) return refuse(`is open to others (mode ${(mode & 0o777).toString(8)}); make it 0600`);
    if (uid !== process.getuid?.()) return refuse('belongs to another user');
    if (size > 4096) return refuse('is too large to be a token');
    const token = readFileSync(fd, 'utf8').trim();
    if (token.length < 16 || /\s/.test(token)) return refuse('does not hold a token of at least 16 characters');
    return token;
  } finally {
    closeSync(fd);
  }
}

/** Compares a request's token with the right one in time that does not depend on either. */
export function tokenCheck(token: string): (request: IncomingMessage) => boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const right = digest(token);
  return ({ headers }) => {
    const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
    const given = bearer ?? headers['x-auth-token'];
    return typeof given === 'string' && timingSafeEqual(digest(given), right);
  };
}
