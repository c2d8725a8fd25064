/** A small client of the REST API over its Unix socket (or loopback TCP with a token). */
import { request } from 'node:http';
import { LabError } from './errors.ts';

/** Body of one answer, bytes. */
const ANSWER_LIMIT = 64 * 1024 * 1024;

export interface RestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed JSON, or undefined when the body was empty or no JSON. */
  readonly body: unknown;
  /** The body as it came: for answers of several lines. */
  readonly text: string;
}

export interface RestTarget {
  readonly socketPath?: string;
  /** `http://127.0.0.1:8181`; unused with a socket. */
  readonly url?: string;
  readonly token?: string;
}

/** An HTTP exchange with JSON bodies. Rejects only when there was no answer. */
export function exchange(
  target: RestTarget,
  method: string,
  path: string,
  body?: unknown,
  timeoutMs = 30_000,
): Promise<RestAnswer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers: Record<string, string | number> = { accept: 'application/json' };
  if (text !== undefined) {
    headers['content-type'] = 'application/json';
    headers['content-length'] = Buffer.byteLength(text);
  }
  if (target.token !== undefined) headers['x-auth-token'] = target.token;
  const where = target.socketPath === undefined ? new URL(path, target.url) : undefined;
  return new Promise((resolve, reject) => {
    const options = { method, headers, timeout: timeoutMs, agent: false as const };
    const outgoing = where
      ? request(where, options)
      : request({ ...options, socketPath: target.socketPath!, path, host: 'localhost' });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > ANSWER_LIMIT) outgoing.destroy(new Error(`answer larger than ${ANSWER_LIMIT} bytes`));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status: response.statusCode!, headers: response.headers, body: parse(text), text });
      });
    });
    outgoing.end(text);
  });
}

function parse(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What the API says about a request that it refused. */
export interface RestProblem {
  readonly message?: string;
  readonly code?: number;
  readonly error?: string;
  readonly violations?: readonly { readonly property: string; readonly message: string }[];
}

/** An answer with a status of 400 or above. */
export class RestError extends LabError {
  readonly status: number;
  readonly problem: RestProblem;

  constructor(method: string, path: string, answer: RestAnswer) {
    const problem = (answer.body ?? {}) as RestProblem;
    const violations = (problem.violations ?? []).map(({ property, message }) => `; ${property} ${message}`).join('');
    super(
      'WEFT_LAB_API',
      `${method} ${path}: ${answer.status} ${problem.error ?? ''} ${problem.message ?? 'without explanation'}${violations}`,
    );
    this.status = answer.status;
    this.problem = problem;
  }
}

/** Paths are below the root of the API, `/midonet-api`. */
export class RestClient {
  readonly target: RestTarget;
  /** Highest revision that a write through this client was answered with. */
  revision = 0;

  constructor(target: RestTarget) {
    this.target = target;
  }

  get<T>(path: string): Promise<T> {
    return this.#send('GET', path) as Promise<T>;
  }

  /** The object, or undefined when there is none. */
  async find<T>(path: string): Promise<T | undefined> {
    try {
      return await this.get<T>(path);
    } catch (error) {
      if (error instanceof RestError && error.status === 404) return undefined;
      throw error;
    }
  }

  async post(path: string, body: unknown): Promise<{ location: string | undefined }> {
    const answer = await this.#exchange('POST', path, body);
    const location = answer.headers.location;
    return { location: typeof location === 'string' ? location : undefined };
  }

  async put(path: string, body: unknown): Promise<void> {
    await this.#send('PUT', path, body);
  }

  async delete(path: string): Promise<void> {
    await this.#send('DELETE', path);
  }

  async #send(method: string, path: string, body?: unknown): Promise<unknown> {
    return (await this.#exchange(method, path, body)).body;
  }

  async #exchange(method: string, path: string, body?: unknown): Promise<RestAnswer> {
    const answer = await exchange(this.target, method, `/midonet-api${path}`, body);
    if (answer.status >= 400) throw new RestError(method, path, answer);
    const revision = Number(answer.headers['x-weft-revision']);
    if (Number.isSafeInteger(revision)) this.revision = Math.max(this.revision, revision);
    return answer;
  }
}
