import assert from 'node:assert/strict';
import { chmodSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createApi } from './api.ts';
import { TestApi } from './testing.ts';

const TOKEN = 'correct horse battery'.replaceAll(' ', '-');
const t = await TestApi.start({ token: TOKEN });
const path = (name: string) => join(t.dir, name);

function get(target: { socketPath: string } | { port: number; host: string }, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; body: string; authenticate: string | undefined }>((resolve, reject) => {
    const call = request({ ...target, path: '/midonet-api/bridges', headers }, (response) => {
      let body = '';
      response.on('data', (chunk) => (body += chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode!, body, authenticate: response.headers['www-authenticate'] }),
      );
    });
    call.on('error', reject);
    call.end();
  });
}

test("the Unix socket is its owner's and needs no token", async () => {
  const socketPath = path('api.sock');
  const umask = process.umask();
  assert.equal(await t.api.listen({ unixSocket: socketPath }), socketPath);
  assert.equal(process.umask(), umask);
  assert.equal(statSync(socketPath).mode & 0o777, 0o600);
  assert.equal((await get({ socketPath })).status, 200);
});

test('loopback TCP opens to the token only', async () => {
  const address = new URL(await t.api.listen({ port: 0 }));
  assert.equal(address.hostname, '127.0.0.1');
  const door = { host: '127.0.0.1', port: Number(address.port) };
  assert.equal((await get(door, { authorization: `Bearer ${TOKEN}` })).status, 200);
  assert.equal((await get(door, { 'x-auth-token': TOKEN })).status, 200);
  for (const headers of [
    {},
    { authorization: 'Bearer wrong' },
    { authorization: `Basic ${TOKEN}` },
    { 'x-auth-token': `${TOKEN}x` },
    { 'x-auth-token': '' },
  ]) {
    const answer = await get(door, headers as Record<string, string>);
    assert.deepEqual(
      [answer.status, JSON.parse(answer.body).error],
      [401, 'WEFT_API_UNAUTHORIZED'],
      JSON.stringify(headers),
    );
    assert.equal(answer.authenticate, 'Bearer');
  }
});

test('no path gets past the token', async () => {
  const { port } = new URL(await t.api.listen({ port: 0 }));
  for (const target of ['/openapi.json', '/midonet-api', '/nothing', '//midonet-api/bridges', '/%2e%2e/midonet-api']) {
    const status = await new Promise((resolve, reject) => {
      const call = request({ host: '127.0.0.1', port, path: target }, (response) =>
        resolve(response.resume().statusCode),
      );
      call.on('error', reject);
      call.end();
    });
    assert.equal(status, 401, target);
  }
});

test('other addresses, and TCP without a token, are refused', async () => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.org', '127.0.0.1.example.org', '']) {
    await assert.rejects(t.api.listen({ host, port: 0 }), { code: 'WEFT_API_DOOR_REFUSED' }, host);
  }
  const open = await createApi({ nsdb: t.nsdb });
  await assert.rejects(open.listen({ port: 0 }), { code: 'WEFT_API_NO_TOKEN' });
  await open.close();
  await assert.rejects(createApi({ nsdb: t.nsdb, token: 'short' }), { code: 'WEFT_API_NO_TOKEN' });
});

test('the token file is made once, private, and refused when others can read it', async () => {
  const tokenFile = path('token');
  const first = await createApi({ nsdb: t.nsdb, tokenFile });
  assert.equal(statSync(tokenFile).mode & 0o777, 0o600);
  const token = readFileSync(tokenFile, 'utf8').trim();
  assert.ok(token.length >= 32);
  const { port } = new URL(await first.listen({ port: 0 }));
  assert.equal((await get({ host: '127.0.0.1', port: Number(port) }, { 'x-auth-token': token })).status, 200);
  await first.close();
  const second = await createApi({ nsdb: t.nsdb, tokenFile });
  assert.equal(readFileSync(tokenFile, 'utf8').trim(), token);
  await second.close();

  const refused = (file: string) =>
    assert.rejects(createApi({ nsdb: t.nsdb, tokenFile: file }), { code: 'WEFT_API_TOKEN_FILE' });
  symlinkSync(tokenFile, path('link'));
  await refused(path('link'));
  writeFileSync(path('empty'), '\n', { mode: 0o600 });
  await refused(path('empty'));
  chmodSync(tokenFile, 0o640);
  await refused(tokenFile);
  await refused('/dev/null');
});

test('a dead socket is replaced; a live one, and any other file, is not', async () => {
  const stale = path('stale.sock');
  const { spawnSync } = await import('node:child_process');
  const killed = spawnSync(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ]);
  assert.equal(killed.signal, 'SIGKILL');
  assert.ok(statSync(stale).isSocket());
  await t.api.listen({ unixSocket: stale });
  assert.equal((await get({ socketPath: stale })).status, 200);

  const live = path('live.sock');
  const owner = createServer();
  after(() => owner.close());
  await new Promise<void>((resolve) => owner.listen(live, resolve));
  await assert.rejects(t.api.listen({ unixSocket: live }), { code: 'WEFT_API_SOCKET_IN_USE' });
  writeFileSync(path('file'), 'precious');
  await assert.rejects(t.api.listen({ unixSocket: path('file') }), { code: 'WEFT_API_SOCKET_IN_USE' });
  assert.equal(readFileSync(path('file'), 'utf8'), 'precious');
});

test('what is not HTTP is answered with 400 and cut', async () => {
  const socketPath = path('raw.sock');
  await t.api.listen({ unixSocket: socketPath });
  const answer = await new Promise<string>((resolve, reject) => {
    let text = '';
    const socket = connect(socketPath, () => socket.write('\x16\x03\x01 nonsense\r\n\r\n'));
    socket.on('data', (chunk) => (text += chunk));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
  assert.match(answer, /^HTTP\/1\.1 400 /);
});

test('close cuts open connections and removes the socket', async () => {
  const api = await createApi({ nsdb: t.nsdb });
  const socketPath = path('closing.sock');
  await api.listen({ unixSocket: socketPath });
  const idle = connect(socketPath);
  await new Promise((resolve) => idle.once('connect', resolve));
  const cut = new Promise((resolve) => idle.once('close', resolve));
  idle.on('error', () => {});
  idle.write('GET /midonet-api/bridges HTTP/1.1\r\n');
  await api.close();
  await cut;
  assert.throws(() => statSync(socketPath), { code: 'ENOENT' });
});
