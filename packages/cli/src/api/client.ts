/** A client of the REST API: over its Unix socket, or over HTTP(S) with a token. One connection is kept while it lives. */
import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { CliError } from '../errors.ts';
import { type ServerEvent, serverEvents } from './server-events.ts';

/** Root of the API. Paths given to the client are below it. */
const ROOT = '/midonet-api';
/** Longest answer, bytes. */
const ANSWER_LIMIT = 64 * 1024 * 1024;
const TIMEOUT_MS = 30_000;
/** How often a change is made anew because somebody else changed the object in between. */
const CHANGE_ATTEMPTS = 5;

/** Where an API is. */
export type Door =
  | { readonly socketPath: string }
  | {
      /** `https://api.example:8443`, without the API's root. */
      readonly url: string;
      /** PEM of the authorities that are believed; absent: the system's. */
      readonly ca?: string;
      /** Believe any certificate. */
      readonly insecure?: boolean;
    };

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Parsed JSON; undefined when the body was empty or no JSON. */
  readonly body: unknown;
}

/** The API refused a request. */
export class ApiRefusal extends CliError {
  readonly status: number;

  constructor(method: string, path: string, { status, body }: Answer) {
    const problem = (typeof body === 'object' && body !== null ? body : {}) as {
      message?: string;
      error?: string;
      violations?: { property: string; message: string }[];
    };
    const why = problem.message ?? 'without an explanation';
    const more = (problem.violations ?? [])
      .filter(({ property, message }) => !why.includes(`${property}: ${message}`))
      .map(({ property, message }) => `; ${property} ${message}`);
    super('WEFT_CLI_API', `${method} ${path}: ${status} ${problem.error ?? ''} ${why}${more.join('')}`, 1);
    this.status = status;
  }
}

export class ApiClient {
  readonly door: Door;
  /** Called with each request that is sent: method, path, status of the answer. */
  onRequest: ((method: string, path: string, status: number) => void) | undefined;
  #token: string | undefined;
  /** Repeats the login when the token has expired. */
  #renew: (() => Promise<void>) | undefined;
  readonly #agent: HttpAgent;

  constructor(door: Door, token?: string) {
    this.door = door;
    this.#token = token;
    const secure = 'url' in door && door.url.startsWith('https:');
    this.#agent = secure
      ? new HttpsAgent({
          keepAlive: true,
          maxSockets: 4,
          rejectUnauthorized: door.insecure !== true,
          ...(door.ca !== undefined && { ca: door.ca }),
        })
      : new HttpAgent({ keepAlive: true, maxSockets: 4 });
  }

  /** Trades name and password for a token that later requests carry. */
  async login(user: string, password: string, project?: string): Promise<void> {
    const basic = Buffer.from(`${user}:${password}`).toString('base64');
    const headers = { authorization: `Basic ${basic}`, ...(project !== undefined && { 'x-auth-project': project }) };
    const answer = await this.#exchange('POST', '/login', undefined, headers);
    const { key } = (answer.body ?? {}) as { key?: unknown };
    if (typeof key !== 'string') throw new ApiRefusal('POST', '/login', answer);
    this.#token = key;
    this.#renew = () => this.login(user, password, project);
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#exchange('GET', path)).body as T;
  }

  /** All of a collection, however many pages it takes. */
  async list<T>(path: string): Promise<T[]> {
    const all: T[] = [];
    let next: string | undefined = path;
    while (next !== undefined) {
      const { body, headers }: Answer = await this.#exchange('GET', next);
      if (!Array.isArray(body)) throw new CliError('WEFT_CLI_API', `GET ${next}: the answer is no list`, 1);
      all.push(...(body as T[]));
      const [, link] = /<([^>]*)>\s*;\s*rel="?next"?/.exec([headers.link ?? ''].flat().join(',')) ?? [];
      next = link === undefined || body.length === 0 ? undefined : pathOf(link);
    }
    return all;
  }

  /** Returns the path of what was created, and the object as the API answered. */
  async post(path: string, body: unknown): Promise<{ path: string | undefined; body: unknown }> {
    const answer = await this.#exchange('POST', path, body);
    const { location } = answer.headers;
    return { path: location === undefined ? undefined : pathOf(location), body: answer.body };
  }

  /** Reads, changes and writes back. What somebody else changed in between is read anew, never overwritten. */
  async change(
    path: string,
    edit: (value: Readonly<Record<string, unknown>>) => unknown | Promise<unknown>,
  ): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const { body, headers } = await this.#exchange('GET', path);
      const match = headers.etag === undefined ? {} : { 'if-match': headers.etag };
      try {
        await this.#exchange('PUT', path, await edit(body as Record<string, unknown>), match);
        return;
      } catch (error) {
        if (!(error instanceof ApiRefusal && error.status === 412) || attempt === CHANGE_ATTEMPTS) throw error;
      }
    }
  }

  /** Replaces what is not read, such as a password. */
  async put(path: string, body: unknown): Promise<void> {
    await this.#exchange('PUT', path, body);
  }

  async delete(path: string): Promise<void> {
    await this.#exchange('DELETE', path);
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Server-sent events of a path until the server ends them, or the signal does. A server that falls silent is an error. */
  async *events(path: string, signal?: AbortSignal): AsyncGenerator<ServerEvent> {
    const response = await this.#open('GET', `${ROOT}${path}`, { accept: 'text/event-stream' }, signal).catch(
      (error) => {
        throw this.#noApi(error);
      },
    );
    const { statusCode = 0, headers } = response;
    this.onRequest?.('GET', path, statusCode);
    if (statusCode !== 200) {
      const answer = { status: statusCode, headers, body: parse(await gather(response)) };
      const renew = this.#renew;
      if (statusCode !== 401 || renew === undefined) throw new ApiRefusal('GET', path, answer);
      this.#renew = undefined;
      await renew();
      return yield* this.events(path, signal);
    }
    try {
      yield* serverEvents(response.setEncoding('utf8'));
    } catch (error) {
      if (!signal?.aborted) throw this.#noApi(error as Error);
    } finally {
      response.destroy();
    }
  }

  #noApi({ message }: Error): CliError {
    return new CliError('WEFT_CLI_NO_API', `no API answers at ${this.describe()}: ${message}`, 1);
  }

  async #exchange(method: string, path: string, body?: unknown, extra: Record<string, string> = {}): Promise<Answer> {
    const answer = await this.#send(method, `${ROOT}${path}`, body, extra).catch((error: Error) => {
      throw this.#noApi(error);
    });
    this.onRequest?.(method, path, answer.status);
    const renew = this.#renew;
    if (answer.status === 401 && renew !== undefined && extra.authorization === undefined) {
      this.#renew = undefined;
      await renew();
      return this.#exchange(method, path, body, extra);
    }
    if (answer.status >= 400) throw new ApiRefusal(method, path, answer);
    return answer;
  }

  /** Where the API is, in words. */
  describe(): string {
    return 'url' in this.door ? this.door.url : this.door.socketPath;
  }

  async #send(method: string, path: string, body: unknown, extra: Record<string, string>): Promise<Answer> {
    const headers: Record<string, string> = { accept: 'application/json', ...extra };
    const text = body === undefined ? undefined : JSON.stringify(body);
    if (text !== undefined) headers['content-type'] = 'application/json';
    const response = await this.#open(method, path, headers, undefined, text);
    return { status: response.statusCode!, headers: response.headers, body: parse(await gather(response)) };
  }

  /** Sends a request; resolves with the head of its answer. */
  #open(
    method: string,
    path: string,
    own: Readonly<Record<string, string>>,
    signal?: AbortSignal,
    text?: string,
  ): Promise<IncomingMessage> {
    const headers: Record<string, string | number> = { ...own };
    if (text !== undefined) headers['content-length'] = Buffer.byteLength(text);
    if (this.#token !== undefined && own.authorization === undefined) headers['x-auth-token'] = this.#token;
    const options: RequestOptions = { method, headers, timeout: TIMEOUT_MS, agent: this.#agent, signal };
    const { door } = this;
    let answered = false;
    return new Promise((resolve, reject) => {
      const send = 'url' in door && door.url.startsWith('https:') ? httpsRequest : httpRequest;
      const outgoing =
        'url' in door
          ? send(new URL(path, door.url), options)
          : send({ ...options, socketPath: door.socketPath, path, host: 'localhost' });
      outgoing.on('timeout', () => outgoing.destroy(new Error(`silence for ${TIMEOUT_MS / 1000} s`)));
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        // A server that ends while a connection is idle is noticed at its next use. Reading again does no harm.
        const stale = !answered && method === 'GET' && outgoing.reusedSocket && error.code === 'ECONNRESET';
        if (stale) this.#open(method, path, own, signal, text).then(resolve, reject);
        else reject(error);
      });
      outgoing.on('response', (response) => {
        answered = true;
        resolve(response);
      });
      outgoing.end(text);
    });
  }
}

/** The body of an answer. @throws Error when it is too long, or breaks off */
async function gather(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > ANSWER_LIMIT) throw new Error(`an answer of more than ${ANSWER_LIMIT} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parse(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined;
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** The path below the API's root of a URI that the API gave. The API may stand behind a proxy under another name. */
export function pathOf(uri: string): string {
  const { pathname, search } = new URL(uri, 'http://api');
  const at = pathname.indexOf(`${ROOT}/`);
  return `${at < 0 ? pathname : pathname.slice(at + ROOT.length)}${search}`;
}
