/** Test helper: the API over an embedded store in a temporary directory; every answer is held against the OpenAPI document. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { type Nsdb, openEmbedded } from '@weft/nsdb';
import { Compile } from 'typebox/schema';
import { type Api, type ApiOptions, createApi } from './api.ts';
import { ROOT } from './context.ts';

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE' | 'PATCH';

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | undefined>;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly body: any;
}

export interface OpenApi {
  readonly paths: Record<
    string,
    Record<
      string,
      {
        responses: Record<string, { content?: Record<string, { schema: object }> }>;
        requestBody?: { content: Record<string, { schema: object }> };
      }
    >
  >;
  readonly components: {
    readonly schemas: Record<string, { required?: string[]; properties?: Record<string, object> }>;
  };
}

export class TestApi {
  readonly nsdb: Nsdb;
  readonly api: Api;
  readonly openApi: OpenApi;
  readonly dir: string;

  private constructor(nsdb: Nsdb, api: Api, dir: string) {
    this.nsdb = nsdb;
    this.api = api;
    this.dir = dir;
    this.openApi = api.fastify.swagger() as unknown as OpenApi;
  }

  /** Everything is gone after the file's tests. */
  static async start(options: Partial<ApiOptions> = {}): Promise<TestApi> {
    const dir = await mkdtemp(join(tmpdir(), 'weft-api-'));
    const nsdb = await openEmbedded({ dir: join(dir, 'store') });
    const api = await createApi({ nsdb, ...options });
    after(async () => {
      await api.close();
      await nsdb.close();
      await rm(dir, { recursive: true });
    });
    return new TestApi(nsdb, api, dir);
  }

  /** A request below the root, as JSON unless `payload` is a string. */
  async call(method: Method, path: string, payload?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const json = payload !== undefined && typeof payload !== 'string';
    const response = await this.api.fastify.inject({
      method,
      url: ROOT + path,
      headers: { host: 'weft.example:8181', ...(json ? { 'content-type': 'application/json' } : {}), ...headers },
      ...(payload === undefined ? {} : { payload: json ? JSON.stringify(payload) : (payload as string) }),
    });
    const answer = {
      status: response.statusCode,
      headers: response.headers as Answer['headers'],
      body: response.body === '' ? undefined : JSON.parse(response.body),
    };
    this.#holdAgainstOpenApi(method, (ROOT + path).replace(/\/?(\?.*)?$/, ''), answer);
    return answer;
  }

  async create(path: string, payload: unknown): Promise<Record<string, string>> {
    const { status, body } = await this.call('POST', path, payload);
    assert.equal(status, 201, `POST ${path}: ${JSON.stringify(body)}`);
    return body;
  }

  /** A host of its own tunnel zone, so that ports can be bound to it. */
  async host(id: string, ipAddress: string): Promise<string> {
    await this.nsdb.transact((tx) => tx.create('Host', { id, name: `host-${id.slice(-2)}` }));
    const zone = await this.create('/tunnel_zones', { name: `zone-${id}` });
    await this.create(`/tunnel_zones/${zone.id}/hosts`, { hostId: id, ipAddress });
    return id;
  }

  #holdAgainstOpenApi(method: Method, url: string, { status, body: sent, headers }: Answer): void {
    const body = structuredClone(sent);
    const path = Object.keys(this.openApi.paths).find((template) => matches(template, url));
    const operation = path && this.openApi.paths[path]![method.toLowerCase()];
    if (!operation) {
      assert.ok(status === 404 || status === 405, `${method} ${url}: ${status} without description`);
      return;
    }
    const described = operation.responses[String(status)];
    // 500 is a bug wherever it occurs, so no route describes it.
    assert.ok(described, `${method} ${path}: answer ${status} is not described`);
    const schema = described.content?.['application/json']?.schema;
    if (!schema) {
      assert.equal(body, undefined, `${method} ${path}: ${status} has a body that is not described`);
      return;
    }
    // MidoNet's own media types say null where plain JSON says nothing.
    if (headers['content-type']?.includes('vnd.org.midonet')) dropNulls(body);
    const validator = Compile({ ...schema, components: this.openApi.components });
    const [, errors] = validator.Errors(body);
    assert.ok(
      validator.Check(body),
      `${method} ${path}: ${status} is not as described: ${JSON.stringify(errors)}\n${JSON.stringify(body)}`,
    );
  }
}

function dropNulls(body: unknown): void {
  for (const item of [body].flat() as Record<string, unknown>[]) {
    for (const [key, value] of Object.entries(item ?? {})) if (value === null) delete item[key];
  }
}

/** Does `/ports/{id}/link` describe `/ports/123/link`? Fixed parts are never ids, so the first match is the one. */
function matches(template: string, url: string): boolean {
  const parts = template.split('/');
  const given = url.split('/');
  return parts.length === given.length && parts.every((part, i) => part.startsWith('{') || part === given[i]);
}

export const uuidOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;
