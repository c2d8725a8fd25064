import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { createApi } from './api.ts';
import { TestApi } from './testing.ts';

const TOKEN = 'a-token-for-the-tests';
const t = await TestApi.start({ token: TOKEN });
const path = (name: string) => join(t.dir, name);
const OPENSSL: string = 'openssl';
const openssl = spawnSync(OPENSSL, ['version']).status === 0 ? {} : { skip: 'openssl is not installed' };

/** A self-signed certificate of `name`. */
function certificate(name: string, days = '2'): { certFile: string; keyFile: string } {
  const [certFile, keyFile] = [path(`${name}.pem`), path(`${name}.key`)];
  const made = spawnSync(OPENSSL, [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', days],
    ...[
      '-subj',
      `/CN=${name}`,
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
      '-out',
      certFile,
      '-keyout',
      keyFile,
    ],
  ]);
  assert.equal(made.status, 0, String(made.stderr));
  chmodSync(keyFile, 0o600);
  return { certFile, keyFile };
}

function get(port: string, ca: string, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      path: '/midonet-api',
      headers,
      ca: readFileSync(ca),
      agent: false as const,
    };
    const call = request(options, (response) => {
      let body = '';
      response.on('data', (chunk) => (body += chunk));
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }));
    });
    call.on('error', reject);
    call.end();
  });
}

function handshake(port: string, options: object) {
  return new Promise<string>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false, ...options }, () => {
      resolve(`${socket.getProtocol()} ${socket.getPeerCertificate().subject?.CN}`);
      socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)));
  });
}

test('with TLS the API serves addresses beyond loopback, by token only', openssl, async () => {
  const tls = certificate('one');
  const { port, protocol } = new URL(await t.api.listen({ host: '0.0.0.0', port: 0, tls }));
  assert.equal(protocol, 'https:');
  assert.equal((await get(port, tls.certFile)).status, 401);
  const answer = await get(port, tls.certFile, { 'x-auth-token': TOKEN });
  assert.equal(answer.status, 200);
  assert.ok(JSON.parse(answer.body).uri.startsWith('https://'), 'links lead back over TLS');
});

test('TLS 1.1 and older are refused, plain HTTP is no answer', openssl, async () => {
  const tls = certificate('two');
  const { port } = new URL(await t.api.listen({ port: 0, tls }));
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
  assert.match(await handshake(port, old), /^(ERR_SSL_|ECONNRESET)/);
  assert.equal(await handshake(port, { maxVersion: 'TLSv1.2' }), 'TLSv1.2 two');
  assert.equal(await handshake(port, {}), 'TLSv1.3 two');
  await assert.rejects(fetch(`http://127.0.0.1:${port}/midonet-api`));
});

test('a renewed certificate counts from the next connection; a broken one changes nothing', openssl, async () => {
  const tls = certificate('old');
  const { port } = new URL(await t.api.listen({ port: 0, tls }));
  assert.equal(await handshake(port, {}), 'TLSv1.3 old');
  const renewed = certificate('new');
  copyFileSync(renewed.certFile, tls.certFile);
  t.api.reloadTls();
  assert.equal(await handshake(port, {}), 'TLSv1.3 old', 'certificate and key of different pairs');
  copyFileSync(renewed.keyFile, tls.keyFile);
  t.api.reloadTls();
  assert.equal(await handshake(port, {}), 'TLSv1.3 new');
});

test('what is no certificate with its private key is refused at start', openssl, async () => {
  const good = certificate('good');
  const other = certificate('other');
  writeFileSync(path('rubbish.pem'), 'rubbish');
  writeFileSync(path('rubbish.key'), 'rubbish', { mode: 0o600 });
  copyFileSync(good.keyFile, path('open.key'));
  chmodSync(path('open.key'), 0o640);
  for (const [certFile, keyFile] of [
    [good.certFile, other.keyFile],
    [good.certFile, path('open.key')],
    [good.certFile, path('missing.key')],
    [path('missing.pem'), good.keyFile],
    [path('rubbish.pem'), good.keyFile],
    [good.certFile, path('rubbish.key')],
  ] as const) {
    await assert.rejects(t.api.listen({ host: '0.0.0.0', port: 0, tls: { certFile, keyFile } }), {
      code: 'WEFT_API_TLS',
    });
  }
});

test('TLS alone opens no door: somebody must be able to get in, and names are no addresses', openssl, async () => {
  const tls = certificate('three');
  const open = await createApi({ nsdb: t.nsdb });
  await assert.rejects(open.listen({ host: '0.0.0.0', port: 0, tls }), { code: 'WEFT_API_NO_TOKEN' });
  await open.close();
  await assert.rejects(t.api.listen({ host: 'example.org', port: 0, tls }), { code: 'WEFT_API_DOOR_REFUSED' });
});

test('the cookie of a login over TLS never travels without', openssl, async () => {
  await t.create('/accounts', { name: 'ann', role: 'viewer', password: 'long enough' });
  const tls = certificate('four');
  const { port } = new URL(await t.api.listen({ port: 0, tls }));
  const authorization = `Basic ${Buffer.from('ann:long enough').toString('base64')}`;
  const cookie = await new Promise<string>((resolve, reject) => {
    const options = { host: '127.0.0.1', port, method: 'POST', path: '/midonet-api/login', headers: { authorization } };
    const call = request({ ...options, ca: readFileSync(tls.certFile), agent: false }, (response) => {
      response.resume();
      resolve(String(response.headers['set-cookie']));
    });
    call.on('error', reject);
    call.end();
  });
  assert.match(cookie, /; Secure$/);
});
