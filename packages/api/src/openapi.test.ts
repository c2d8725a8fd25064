import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OBJECT_TYPES } from '@weft/topology';
import { ROOT } from './context.ts';
import { RESOURCES } from './resources.ts';
import { TestApi } from './testing.ts';

const t = await TestApi.start();

test('the served document is the one that the tests hold answers against', async () => {
  const served = await t.api.fastify.inject('/openapi.json');
  assert.equal(served.statusCode, 200);
  assert.deepEqual(served.json(), JSON.parse(JSON.stringify(t.openApi)));
});

test('every route is described and every description is a route', () => {
  const described: string[] = [];
  for (const [path, operations] of Object.entries(t.openApi.paths)) {
    for (const method of Object.keys(operations)) {
      described.push(`${method.toUpperCase()} ${path}`);
      const url = path.replaceAll(/\{(\w+)\}/g, ':$1');
      assert.ok(
        t.api.fastify.hasRoute({ method: method.toUpperCase() as 'GET', url }),
        `${method} ${path} is no route`,
      );
    }
  }
  for (const { path, verbs, type } of RESOURCES) {
    const methods = { C: 'POST', L: 'GET', G: 'GET', U: 'PUT', D: 'DELETE' };
    for (const verb of verbs) {
      const suffix = verb === 'C' || verb === 'L' ? '' : '/{id}';
      assert.ok(described.includes(`${methods[verb]} ${ROOT}/${path}${suffix}`), `${type} ${verb}`);
    }
  }
  assert.ok(described.length > 50, String(described.length));
});

test('every operation has a name of its own', () => {
  const names = Object.values(t.openApi.paths).flatMap((operations) =>
    Object.values(operations).map((operation) => (operation as { operationId?: string }).operationId),
  );
  assert.equal(new Set(names).size, names.length, names.sort().join(' '));
  for (const name of ['createBridges', 'listBridgePorts', 'getBridge', 'updatePort', 'deleteRule', 'getEvents']) {
    assert.ok(names.includes(name), name);
  }
  assert.ok(!names.includes(undefined));
});

test('every object type has a resource, every field of the model is in its schema', () => {
  const shown = Object.values(OBJECT_TYPES).flatMap((spec) => (spec.private ? [] : [spec.name]));
  assert.deepEqual(RESOURCES.map((r) => r.type).sort(), shown.sort());
  for (const { type, media, managed } of RESOURCES) {
    const output = t.openApi.components.schemas[media]!;
    const input = t.openApi.components.schemas[`${media}Input`]!;
    for (const field of Object.keys(OBJECT_TYPES[type].schema.properties)) {
      assert.ok(output.properties![field], `${media}.${field}`);
      assert.equal(field in input.properties!, !managed.includes(field), `${media}Input.${field}`);
    }
  }
});

test('every reference resolves, no mark of the model leaks', () => {
  const text = JSON.stringify(t.openApi);
  for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
    assert.ok(name! in t.openApi.components.schemas, name);
  }
  assert.ok(!/"\$ref":"(?!#\/components)/.test(text));
  assert.ok(!text.includes('x-weft'));
});

test('an answer that is not as described would be noticed', async () => {
  const fastify = t.api.fastify;
  const inject = fastify.inject;
  const forge = (change: (body: Record<string, unknown>) => void) => {
    fastify.inject = (async (options: never) => {
      const response = (await (inject as (o: never) => Promise<unknown>).call(fastify, options)) as {
        body: string;
        statusCode: number;
        headers: object;
      };
      const body = JSON.parse(response.body);
      change(body);
      return { statusCode: response.statusCode, headers: response.headers, body: JSON.stringify(body) };
    }) as never;
  };
  const { id } = await t.create('/bridges', {});
  forge((body) => (body.undocumented = 1));
  await assert.rejects(t.call('GET', `/bridges/${id}`), { code: 'ERR_ASSERTION' });
  forge((body) => delete body.adminStateUp);
  await assert.rejects(t.call('GET', `/bridges/${id}`), { code: 'ERR_ASSERTION' });
  forge(() => {});
  await t.call('GET', `/bridges/${id}`);
  fastify.inject = inject;
});
