/** The client against the real API: logins, pages, changes that meet. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Api, createApi } from '@weft/api';
import { type Nsdb, openEmbedded } from '@weft/nsdb';
import { ApiClient, ApiRefusal, pathOf } from './client.ts';
import { connectApi } from './connect.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-client-'));
const socketPath = join(directory, 'api.sock');
let nsdb: Nsdb;
let api: Api;
let url: string;
let admin: ApiClient;

before(async () => {
  process.env.WEFT_CONFIG = '';
  nsdb = await openEmbedded({ dir: join(directory, 'store') });
  api = await createApi({ nsdb, tokenFile: join(directory, 'token') });
  await api.listen({ unixSocket: socketPath });
  url = new URL(await api.listen({ port: 0 })).origin;
  admin = new ApiClient({ socketPath });
  await admin.post('/accounts', { name: 'ann', password: 'correct horse battery', role: 'tenant', tenantId: 'blue' });
});
after(async () => {
  admin.close();
  await api.close();
  await nsdb.close();
  rmSync(directory, { recursive: true });
});

describe('who asks', () => {
  test('a user logs in, and is who it says', async () => {
    const { api: ann } = await connectApi({ apiUrl: url, user: 'ann', password: 'correct horse battery' });
    const { body } = await ann.post('/bridges', { name: 'of-ann' });
    assert.equal((body as { tenantId: string }).tenantId, 'blue');
    ann.close();
  });

  test('a wrong password, and nobody at all, are refused', async () => {
    const wrong = connectApi({ apiUrl: url, user: 'ann', password: 'wrong horse battery' });
    await assert.rejects(wrong, { code: 'WEFT_CLI_API', message: /401/ });
    const { api: nobody } = await connectApi({ apiUrl: url });
    await assert.rejects(nobody.get('/bridges'), { code: 'WEFT_CLI_API', message: /401/ });
    nobody.close();
  });

  test('the token of a file, and a file that is not there', async () => {
    const { api: one } = await connectApi({ apiUrl: url, tokenFile: join(directory, 'token') });
    assert.ok(Array.isArray(await one.get('/bridges')));
    one.close();
    await assert.rejects(connectApi({ apiUrl: url, tokenFile: '/nonexistent' }), { code: 'WEFT_CLI_CONFIG' });
  });

  test('certificates that cannot be read are named before anything is sent', async () => {
    writeFileSync(join(directory, 'plain'), 'no certificate');
    await assert.rejects(connectApi({ apiUrl: 'https://192.0.2.1', caFile: '/nonexistent' }), {
      code: 'WEFT_CLI_CONFIG',
    });
  });
});

describe('what is asked', () => {
  test('a list is read to its end, page by page', async () => {
    for (let i = 0; i < 7; i++) await admin.post('/chains', { name: `c${i}` });
    const seen: string[] = [];
    admin.onRequest = (_method, path) => seen.push(path);
    const all = await admin.list<{ name: string }>('/chains?limit=3');
    admin.onRequest = undefined;
    assert.equal(all.length, 7);
    assert.equal(new Set(all.map(({ name }) => name)).size, 7);
    assert.equal(seen.length, 3);
  });

  test('a change that meets another one is made upon it, none is lost', async () => {
    const { path } = await admin.post('/bridges', { name: 'contended' });
    let first = true;
    await admin.change(path!, async (value) => {
      if (first) {
        first = false;
        await admin.change(path!, (other) => ({ ...other, adminStateUp: false }));
      }
      return { ...value, name: 'renamed' };
    });
    const now = await admin.get<{ name: string; adminStateUp: boolean }>(path!);
    assert.deepEqual([now.name, now.adminStateUp], ['renamed', false]);
  });

  test('a refusal has status, code and reasons', async () => {
    await assert.rejects(admin.post('/bridges', { adminStateUp: 'maybe' }), (error: ApiRefusal) => {
      assert.ok(error instanceof ApiRefusal);
      assert.equal(error.status, 400);
      assert.match(error.message, /^POST \/bridges: 400 WEFT_INVALID adminStateUp: /);
      return true;
    });
  });

  test('paths of the URIs that the API gives', () => {
    assert.equal(pathOf('http://weft/midonet-api/bridges/x'), '/bridges/x');
    assert.equal(pathOf('https://proxy/cloud/midonet-api/chains?marker=a&limit=3'), '/chains?marker=a&limit=3');
  });
});
