import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authConfig } from './auth/config.ts';
import { TestApi } from './testing.ts';

const UI = 'https://ui.example.org';
const closed = await TestApi.start();
const open = await TestApi.start({ auth: authConfig({ corsOrigins: [UI] }) });
const any = await TestApi.start({ auth: authConfig({ corsOrigins: ['*'] }) });

const preflight = async (t: TestApi, origin: string) =>
  t.api.fastify.inject({
    method: 'OPTIONS',
    url: '/midonet-api/bridges',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-auth-token' },
  });
const allowed = async (t: TestApi, origin: string) =>
  (await t.call('GET', '/bridges', undefined, { origin })).headers['access-control-allow-origin'];

test('every answer says what browsers must not do with it', async () => {
  for (const path of ['/bridges', '/nothing']) {
    const { headers } = await closed.call('GET', path);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['content-security-policy'], "default-src 'none'; frame-ancestors 'none'");
    assert.equal(headers['referrer-policy'], 'no-referrer');
  }
});

test('no page of another origin reads answers unless its origin is named', async () => {
  assert.equal(await allowed(closed, UI), undefined);
  assert.equal(await allowed(open, UI), UI);
  assert.equal(await allowed(open, 'https://evil.example'), undefined);
  assert.equal(await allowed(open, `${UI}.evil.example`), undefined);
  assert.equal(await allowed(any, 'https://evil.example'), '*');
  assert.equal((await open.call('GET', '/bridges', undefined, { origin: UI })).headers.vary, 'Origin');
});

test('browsers may ask beforehand, without a token, and cookies are never allowed', async () => {
  const yes = await preflight(open, UI);
  assert.equal(yes.statusCode, 204);
  assert.match(String(yes.headers['access-control-allow-headers']), /X-Auth-Token/);
  assert.match(String(yes.headers['access-control-allow-methods']), /DELETE/);
  assert.match(String(yes.headers['access-control-expose-headers']), /Location/);
  assert.equal(yes.headers['access-control-allow-credentials'], undefined);
  const no = await preflight(open, 'https://evil.example');
  assert.equal(no.headers['access-control-allow-origin'], undefined);
  assert.equal((await preflight(closed, UI)).headers['access-control-allow-origin'], undefined);
});
