/**
 * Where the API listens. Doors are closed by default: a Unix socket is open to its owner only, a loopback address asks for
 * a token (other users of the machine and web pages reach it too), any other address needs TLS besides.
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
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, connect, isIP, isIPv4 } from 'node:net';
import { ApiError } from './errors.ts';
import { secureContext, type TlsFiles } from './tls.ts';

/** A Unix socket, or a TCP port at an address (default 127.0.0.1; port 0: any free one), beyond loopback with TLS only. */
export type ListenOptions =
  | { readonly unixSocket: string }
  | { readonly host?: string; readonly port: number; readonly tls?: TlsFiles };

export interface Door {
  readonly server: Server | TlsServer;
  /** `http://127.0.0.1:8181`, or the path of the socket. */
  readonly address: string;
  /** Reads certificate and key again; new connections get the new ones. Throws and changes nothing if they cannot be used. */
  reloadTls?(): void;
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const SERVER_OPTIONS = {
  requestTimeout: 30_000,
  headersTimeout: 10_000,
  keepAliveTimeout: 30_000,
  maxHeaderSize: 16_384,
};
const MAX_CONNECTIONS = 1024;

/** `canAuthenticate`: somebody could get in by TCP. */
export async function openDoor(options: ListenOptions, handler: Handler, canAuthenticate: boolean): Promise<Door> {
  if ('unixSocket' in options) return openUnixSocket(options.unixSocket, handler);
  const host = options.host === undefined || options.host === 'localhost' ? '127.0.0.1' : options.host;
  const loopback = (isIPv4(host) && host.startsWith('127.')) || host === '::1';
  if (!loopback && (options.tls === undefined || isIP(host) === 0)) {
    const why = isIP(host) === 0 ? 'it is no IP address' : 'there is no TLS';
    throw new ApiError(
      500,
      'WEFT_API_DOOR_REFUSED',
      `The API does not listen on "${host}": ${why}. Without TLS it listens on a Unix socket, 127.0.0.1 or ::1.`,
    );
  }
  if (!canAuthenticate) {
    const message = `The API listens on ${host} only with a token file, an account or an identity provider.`;
    throw new ApiError(500, 'WEFT_API_NO_TOKEN', message);
  }
  const { tls } = options;
  const server = bounded(
    tls === undefined
      ? createServer(SERVER_OPTIONS, handler)
      : createTlsServer({ ...SERVER_OPTIONS, handshakeTimeout: 10_000, ...secureContext(tls) }, handler),
  );
  await listening(server, () => server.listen({ host, port: options.port }));
  const { port } = server.address() as AddressInfo;
  const address = `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (tls === undefined) return { server, address };
  return { server, address, reloadTls: () => (server as TlsServer).setSecureContext(secureContext(tls)) };
}

function bounded<S extends Server | TlsServer>(server: S): S {
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

async function openUnixSocket(path: string, handler: Handler): Promise<Door> {
  await removeStaleSocket(path);
  const server = bounded(createServer(SERVER_OPTIONS, handler));
  // The socket must not exist for a moment with wider permissions; Node binds it within listen().
  const umask = process.umask(0o177);
  const opened = listening(server, () => server.listen(path));
  process.umask(umask);
  await opened;
  chmodSync(path, 0o600);
  return { server, address: path };
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

function listening(server: Server | TlsServer, start: () => void): Promise<void> {
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
  const token = readPrivateFile(path, refuse);
  if (token.length < 16 || /\s/.test(token)) return refuse('does not hold a token of at least 16 characters');
  return token;
}

/**
 * What a secret file holds, trimmed: at most 64 KiB. `refuse` is called with the reason when others could read or replace it,
 * and throws.
 */
export function readPrivateFile(path: string, refuse: (why: string) => never): string {
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
    if (size > 65_536) return refuse('is too large for a secret');
    return readFileSync(fd, 'utf8').trim();
  } finally {
    closeSync(fd);
  }
}

/** Compares a token with the right one in time that does not depend on either. */
export function tokenCheck(secret: string): (token: string) => boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const right = digest(secret);
  return (token) => timingSafeEqual(digest(token), right);
}
