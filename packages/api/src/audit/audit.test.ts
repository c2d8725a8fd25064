import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { EVENTS } from '../events.ts';
import { TestApi } from '../testing.ts';
import { auditFile, auditLogger } from './audit.ts';

type Line = Record<string, unknown>;
const lines: Line[] = [];
const requests: Line[] = [];
const t = await TestApi.start({
  auditLog: auditLogger({ write: (line) => void lines.push(JSON.parse(line)) }),
  logger: pino({}, { write: (line) => void requests.push(JSON.parse(line)) }),
  requestLog: true,
});

/** What was written about the requests of `body`. */
async function written(body: () => Promise<unknown>): Promise<Line[]> {
  const before = lines.length;
  await body();
  // The line is written when the answer is out.
  await new Promise((resolve) => setImmediate(resolve));
  return lines.slice(before);
}

test('a write leaves one line: who, what, and at which revision it became true', async () => {
  let bridge: Line = {};
  const [line, ...more] = await written(async () => (bridge = await t.create('/bridges', { name: 'secret-name' })));
  assert.deepEqual(more, []);
  const { time, request, ...rest } = line!;
  assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000);
  assert.equal(typeof request, 'string');
  assert.deepEqual(rest, {
    log: 'audit',
    event: 'api.write',
    who: 'socket',
    provider: 'socket',
    role: 'admin',
    tenant: null,
    method: 'POST',
    uri: '/midonet-api/bridges',
    made: bridge.id,
    status: 201,
    revision: await t.nsdb.revision(),
    source: '127.0.0.1',
  });
  const [gone] = await written(() => t.call('DELETE', `/bridges/${bridge.id}?why=secret-query`));
  assert.deepEqual([gone!.object, gone!.status, gone!.uri], [bridge.id, 204, `/midonet-api/bridges/${bridge.id}`]);
});

test('reads leave none, refusals one each with the code', async () => {
  assert.deepEqual(await written(() => t.call('GET', '/bridges')), []);
  const refused = await written(async () => {
    await t.call('GET', '/bridges/none');
    await t.call('POST', '/bridges', { name: 7 });
    await t.call('GET', '/bridges', undefined, { 'x-auth-token': 'secret-token' });
    await t.call('PATCH', '/bridges');
  });
  assert.deepEqual(
    refused.map(({ event, status, error, who }) => [event, status, error, who]),
    [
      ['api.refused', 404, 'WEFT_NOT_FOUND', 'socket'],
      ['api.refused', 400, 'WEFT_INVALID', 'socket'],
      ['api.refused', 401, 'WEFT_API_UNAUTHORIZED', null],
      ['api.refused', 405, 'WEFT_API_METHOD', 'socket'],
    ],
  );
});

test('logins, and what tenants do, under their names', async () => {
  const account = { name: 'ann', role: 'tenant', tenantId: 'blue', password: 'secret-password' };
  const basic = (password: string) => ({ authorization: `Basic ${Buffer.from(`ann:${password}`).toString('base64')}` });
  let key = '';
  const found = await written(async () => {
    await t.create('/accounts', account);
    key = (await t.call('POST', '/login', undefined, basic('secret-password'))).body.key;
    await t.call('POST', '/login', undefined, basic('secret-guess'));
    await t.call('POST', '/bridges', {}, { 'x-auth-token': key });
    await t.call('POST', '/bridges', { tenantId: 'red' }, { 'x-auth-token': key });
    await t.call('PUT', '/accounts/ann/password', { password: 'secret-password-2' });
  });
  assert.deepEqual(
    found.map(({ event, who, role, tenant, status }) => [event, who, role, tenant, status]),
    [
      ['api.write', 'socket', 'admin', null, 201],
      ['api.login', 'ann', 'tenant', 'blue', 200],
      ['api.refused', null, null, null, 401],
      ['api.write', 'ann', 'tenant', 'blue', 201],
      ['api.refused', 'ann', 'tenant', 'blue', 403],
      ['api.write', 'socket', 'admin', null, 204],
    ],
  );
  const text = JSON.stringify(lines);
  for (const secret of [key, 'secret-', Buffer.from('ann:secret-password').toString('base64')]) {
    assert.ok(!text.includes(secret), secret);
  }
});

test('a flood of strangers does not fill the disk, and is counted', async () => {
  const stranger = { 'x-auth-token': 'x' };
  const flood = await written(async () => {
    await Promise.all(Array.from({ length: 1000 }, () => t.call('GET', '/bridges', undefined, stranger)));
  });
  assert.ok(flood.length < 900, String(flood.length));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const all = [...flood, ...(await written(() => t.call('GET', '/bridges', undefined, stranger)))];
  const told = all.filter(({ event }) => event === 'api.refused').length;
  const counted = all.reduce(
    (sum, { event, count }) => sum + (event === 'api.refused_suppressed' ? Number(count) : 0),
    0,
  );
  assert.equal(told + counted, 1001);
});

test('the request log has every request, and only known events', async () => {
  const read = requests.find(({ event, method }) => event === 'api.request' && method === 'GET');
  assert.ok(read);
  assert.equal(typeof read.ms, 'number');
  for (const { event } of [...lines, ...requests]) assert.ok(String(event) in EVENTS, String(event));
});

test('the file is private from its first moment, and is added to', () => {
  const path = join(t.dir, 'audit.log');
  const first = auditFile(path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  first.logger.info({ event: 'one' });
  first.close();
  writeFileSync(path, `${readFileSync(path, 'utf8')}`, { mode: 0o644 });
  const second = auditFile(path);
  second.logger.info({ event: 'two' });
  second.close();
  const events = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).event);
  assert.deepEqual(events, ['one', 'two']);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});
