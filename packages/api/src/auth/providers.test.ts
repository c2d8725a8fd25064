import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { TestApi } from '../testing.ts';
import { authConfig } from './config.ts';
import { KeystoneProvider } from './keystone.ts';
import { OidcProvider } from './oidc.ts';

type Handler = (request: IncomingMessage, body: string) => { status?: number; headers?: object; json?: unknown };

/** A small HTTP server; `calls` says what it was asked. */
async function serve(handler: Handler): Promise<{ url: string; calls: string[]; server: Server }> {
  const calls: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      calls.push(`${request.method} ${request.url}`);
      const { status = 200, headers = {}, json } = handler(request, body);
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(json === undefined ? '' : JSON.stringify(json));
    });
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls, server };
}

async function key(kid: string, alg = 'RS256') {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } as JWK };
}
type Key = Awaited<ReturnType<typeof key>>;

const first = await key('first');
const second = await key('second', 'ES256');
const stranger = await key('first');
let published: JWK[] = [first.jwk];

const idp = await serve(({ url }) => {
  if (url === '/.well-known/openid-configuration') {
    return { json: { issuer: idp.url, jwks_uri: `${idp.url}/keys` } };
  }
  return url === '/keys' ? { json: { keys: published } } : { status: 404 };
});

const settings = (change: object = {}) =>
  authConfig({
    oidc: {
      issuer: idp.url,
      audience: 'weft',
      rolesClaim: 'realm_access.roles',
      roles: { operators: 'admin', members: 'tenant', auditors: 'viewer', readers: 'tenant-viewer' },
      ...change,
    },
  }).oidc!;

const NOW = Math.floor(Date.now() / 1000);
const sign = ({ kid, alg, privateKey }: Key, claims: object = {}, header: object = {}) =>
  new SignJWT({
    iss: idp.url,
    aud: 'weft',
    sub: 'ann',
    exp: NOW + 600,
    tenant: 'blue',
    realm_access: { roles: ['members'] },
    ...claims,
  })
    .setProtectedHeader({ alg, kid, ...header })
    .sign(privateKey);

test('OIDC: a token of the provider is who it says, in the role that is mapped', async () => {
  const provider = new OidcProvider(settings());
  const token = await sign(first);
  assert.ok(provider.claims(token));
  const ann = { name: 'ann', provider: 'oidc' };
  assert.deepEqual(await provider.authenticate(token), { ...ann, role: 'tenant', tenantId: 'blue' });
  const as = async (claims: object) => provider.authenticate(await sign(first, claims));
  const roles = (...list: string[]) => ({ realm_access: { roles: list } });
  assert.deepEqual(await as(roles('members', 'operators')), { ...ann, role: 'admin' });
  assert.deepEqual(await as(roles('auditors')), { ...ann, role: 'viewer' });
  assert.deepEqual(await as(roles('readers')), { ...ann, role: 'viewer', tenantId: 'blue' });
  assert.equal(await as(roles('strangers')), undefined);
  assert.equal(await as(roles()), undefined);
  assert.equal(await as({ realm_access: 'operators' }), undefined);
  assert.equal(await as(roles('constructor', '__proto__')), undefined);
  assert.equal(await as({ tenant: undefined }), undefined, 'a role within a tenant without a tenant');
  assert.equal(await as({ tenant: ['blue'] }), undefined);
});

test('OIDC: what is not signed by the provider, for us, now, is nobody', async () => {
  const provider = new OidcProvider(settings());
  const refused = async (token: string, why: string) =>
    assert.equal(await provider.authenticate(token), undefined, why);
  await refused(await sign(stranger), 'signed by another key of the same id');
  await refused(await sign(first, { iss: 'https://evil.example' }), 'issuer');
  await refused(await sign(first, { aud: 'other' }), 'audience');
  await refused(await sign(first, { exp: NOW - 60 }), 'expired');
  await refused(await sign(first, { exp: undefined }), 'no expiry');
  await refused(await sign(first, { nbf: NOW + 120 }), 'not yet');
  await refused(await sign(first, { sub: undefined }), 'no subject');
  const [head, body, signature] = (await sign(first)).split('.') as [string, string, string];
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  await refused(`${part({ alg: 'none' })}.${body}.`, 'no signature');
  await refused(
    `${head}.${part({ ...JSON.parse(Buffer.from(body, 'base64url').toString()), sub: 'eve' })}.${signature}`,
    'changed',
  );
  const secret = new TextEncoder().encode(JSON.stringify(first.jwk));
  const symmetric = await new SignJWT({ iss: idp.url, aud: 'weft', sub: 'eve', exp: NOW + 600 })
    .setProtectedHeader({ alg: 'HS256', kid: 'first' })
    .sign(secret);
  await refused(symmetric, 'the public key taken for a shared secret');
  // A clock that is a little off is none of these.
  assert.ok(await provider.authenticate(await sign(first, { exp: NOW - 10 })));
  const rsaOnly = new OidcProvider(settings({ algorithms: ['RS256'] }));
  published = [first.jwk, second.jwk];
  assert.equal(await rsaOnly.authenticate(await sign(second)), undefined, 'algorithm not allowed');
});

test('OIDC: a new key of the provider counts without a restart, an old one ends', async () => {
  published = [first.jwk];
  const provider = new OidcProvider(settings(), { cooldownMs: 0 });
  assert.ok(await provider.authenticate(await sign(first)));
  assert.equal(await provider.authenticate(await sign(second)), undefined);
  published = [second.jwk];
  assert.ok(await provider.authenticate(await sign(second)));
  assert.equal(await provider.authenticate(await sign(first)), undefined);
});

test('OIDC: unknown keys do not make the provider be asked each time', async () => {
  const provider = new OidcProvider(settings());
  const before = idp.calls.length;
  const token = await sign(stranger, {}, { kid: 'unknown' });
  for (let i = 0; i < 20; i++) assert.equal(await provider.authenticate(token), undefined);
  assert.ok(idp.calls.length - before <= 3, String(idp.calls.length - before));
});

test('OIDC: a provider that is away is a 503, also after a wrong discovery document', async () => {
  const away = await serve(() => ({ status: 500 }));
  const wrong = await serve(() => ({
    json: { issuer: 'https://other.example', jwks_uri: 'https://other.example/keys' },
  }));
  for (const change of [{ issuer: away.url }, { issuer: wrong.url }, { jwksUri: `${away.url}/keys` }]) {
    const provider = new OidcProvider(settings(change));
    await assert.rejects(provider.authenticate(await sign(first, change.issuer ? { iss: change.issuer } : {})), {
      code: 'WEFT_API_IDENTITY_AWAY',
      status: 503,
    });
  }
});

// ---- Keystone: a server that answers as the Identity API v3 documents it ----

const EXPIRES = NOW + 3600;
let serviceToken = 'service-1';
let down = false;
const people: Record<string, { name: string; project?: string; roles: string[]; expires?: number }> = {
  'token-blue': { name: 'ann', project: 'blue-id', roles: ['member', 'reader'] },
  'token-admin': { name: 'root', project: 'admin-id', roles: ['admin'] },
  'token-reader': { name: 'rea', project: 'blue-id', roles: ['reader'] },
  'token-nothing': { name: 'nix', project: 'blue-id', roles: ['dancer'] },
  'token-unscoped': { name: 'uns', roles: ['member'] },
};
const keystone = await serve(({ method, headers, url }, body) => {
  if (down) return { status: 500 };
  if (url !== '/identity/v3/auth/tokens') return { status: 404 };
  const document = (token: string) => {
    const { name, project, roles, expires = EXPIRES } = people[token]!;
    return {
      token: {
        methods: ['password'],
        user: { id: `${name}-id`, name, domain: { id: 'default', name: 'Default' } },
        ...(project ? { project: { id: project, name: project, domain: { id: 'default', name: 'Default' } } } : {}),
        roles: roles.map((role) => ({ id: role, name: role })),
        issued_at: new Date().toISOString(),
        expires_at: new Date(expires * 1000).toISOString(),
      },
    };
  };
  if (method === 'POST') {
    const { auth } = JSON.parse(body);
    const { name, password, domain } = auth.identity.password.user;
    assert.equal(domain.id, 'default');
    if (name === 'weft' && password === 'service-password' && auth.scope.project.name === 'service') {
      people[serviceToken] = { name: 'weft', project: 'service-id', roles: ['service'] };
      return { status: 201, headers: { 'x-subject-token': serviceToken }, json: document(serviceToken) };
    }
    if (name === 'ann' && password === 'ann-password' && auth.scope?.project.name === 'blue') {
      return { status: 201, headers: { 'x-subject-token': 'token-blue' }, json: document('token-blue') };
    }
    return {
      status: 401,
      json: { error: { code: 401, message: 'The request you have made requires authentication.' } },
    };
  }
  if (headers['x-auth-token'] !== serviceToken) return { status: 401, json: { error: { code: 401 } } };
  const subject = String(headers['x-subject-token']);
  if (!people[subject]) return { status: 404, json: { error: { code: 404 } } };
  return { headers: { 'x-subject-token': subject }, json: document(subject) };
});

const t = await TestApi.start();
const passwordFile = join(t.dir, 'keystone-password');
writeFileSync(passwordFile, 'service-password\n', { mode: 0o600 });
const keystoneAuth = (change: object = {}) =>
  authConfig({
    keystone: {
      url: `${keystone.url}/identity`,
      user: 'weft',
      passwordFile,
      roles: { admin: 'admin', member: 'tenant', reader: 'tenant-viewer' },
      ...change,
    },
  });
const provider = (now?: () => number) => new KeystoneProvider(keystoneAuth().keystone!, now && { now });

test('Keystone: project and roles of a valid token', async () => {
  const k = provider();
  const blue = { provider: 'keystone', tenantId: 'blue-id' };
  assert.deepEqual(await k.authenticate('token-blue'), { ...blue, name: 'ann', role: 'tenant' });
  assert.deepEqual(await k.authenticate('token-reader'), { ...blue, name: 'rea', role: 'viewer' });
  assert.deepEqual(await k.authenticate('token-admin'), { provider: 'keystone', name: 'root', role: 'admin' });
  for (const token of ['token-nothing', 'token-unscoped', 'unknown']) {
    assert.equal(await k.authenticate(token), undefined, token);
  }
});

test('Keystone: an answer is believed for a while, never beyond the token', async () => {
  let now = Date.now();
  const k = provider(() => now);
  const asked = async (token: string) => {
    const before = keystone.calls.length;
    await k.authenticate(token);
    return keystone.calls.length - before;
  };
  await asked('token-blue');
  assert.equal(await asked('token-blue'), 0);
  const together = keystone.calls.length;
  await Promise.all([1, 2, 3].map(() => k.authenticate('token-reader')));
  assert.equal(keystone.calls.length - together, 1, 'who asks at once asks once');
  now += 61_000;
  assert.equal(await asked('token-blue'), 1);
  people['token-short'] = { name: 'sho', project: 'blue-id', roles: ['member'], expires: now / 1000 + 5 };
  assert.equal((await k.authenticate('token-short'))?.role, 'tenant');
  now += 6000;
  assert.equal(await k.authenticate('token-short'), undefined, 'expired meanwhile');
  assert.equal(await asked('unknown'), 1);
  assert.equal(await asked('unknown'), 0);
});

test('Keystone: a service token that has ended is replaced; away is a 503 and not remembered', async () => {
  const k = provider();
  assert.ok(await k.authenticate('token-blue'));
  serviceToken = 'service-2';
  assert.ok(await k.authenticate('token-reader'));
  down = true;
  await assert.rejects(k.authenticate('token-admin'), { code: 'WEFT_API_IDENTITY_AWAY', status: 503 });
  assert.ok(await k.authenticate('token-blue'), 'what is still believed');
  down = false;
  assert.ok(await k.authenticate('token-admin'));
  const gone = new KeystoneProvider(keystoneAuth({ url: 'http://127.0.0.1:1' }).keystone!);
  await assert.rejects(gone.authenticate('token-blue'), { code: 'WEFT_API_IDENTITY_AWAY' });
  writeFileSync(join(t.dir, 'wrong'), 'wrong-password', { mode: 0o600 });
  const refused = new KeystoneProvider(keystoneAuth({ passwordFile: join(t.dir, 'wrong') }).keystone!);
  await assert.rejects(refused.authenticate('token-blue'), { code: 'WEFT_API_IDENTITY_AWAY' });
  writeFileSync(join(t.dir, 'open'), 'service-password', { mode: 0o644 });
  assert.throws(() => new KeystoneProvider(keystoneAuth({ passwordFile: join(t.dir, 'open') }).keystone!), {
    code: 'WEFT_API_AUTH_CONFIG',
  });
});

test('through the API: login at Keystone, tokens of both providers and of accounts side by side', async () => {
  published = [first.jwk];
  const api = await TestApi.start({ auth: { ...keystoneAuth(), oidc: settings() } });
  await api.create('/accounts', { name: 'local', role: 'viewer', password: 'local password' });
  const login = (name: string, password: string, project?: string) =>
    api.call('POST', '/login', undefined, {
      authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
      ...(project ? { 'x-auth-project': project } : {}),
    });
  const ann = await login('ann', 'ann-password', 'blue');
  assert.deepEqual([ann.status, ann.body.key], [200, 'token-blue']);
  assert.equal((await login('ann', 'wrong', 'blue')).status, 401);
  const local = await login('local', 'local password');
  assert.equal(local.status, 200);
  const made = async (token: string) => {
    const answer = await api.call('POST', '/bridges', {}, { 'x-auth-token': token });
    return answer.body.tenantId ?? answer.status;
  };
  assert.equal(await made('token-blue'), 'blue-id');
  assert.equal(await made(await sign(first)), 'blue');
  assert.equal(await made(local.body.key), 403);
  assert.equal(await made('unknown'), 401);
  assert.equal(await made(await sign(stranger)), 401);
  down = true;
  assert.equal((await api.call('GET', '/bridges', undefined, { 'x-auth-token': 'token-new' })).status, 503);
  assert.equal((await login('ann', 'ann-password', 'blue')).status, 503);
  down = false;
});

test('settings: what would let others in, or is misspelt, is refused', () => {
  const oidc = { issuer: 'https://id.example.org', audience: 'weft', roles: {} };
  assert.deepEqual(authConfig({ oidc }).oidc!.algorithms, ['RS256', 'ES256']);
  assert.equal(authConfig({}).tokenHours, 12);
  for (const wrong of [
    null,
    [],
    { oidc: { ...oidc, issuer: 'http://id.example.org' } },
    { oidc: { ...oidc, jwksUri: 'ftp://id.example.org' } },
    { oidc: { ...oidc, algorithms: ['HS256'] } },
    { oidc: { ...oidc, algorithms: ['none'] } },
    { oidc: { ...oidc, algorithms: [] } },
    { oidc: { ...oidc, audience: '' } },
    { oidc: { ...oidc, roles: { all: 'root' } } },
    { keystone: { url: 'http://keystone.example.org', user: 'weft', passwordFile, roles: {} } },
    { tokenHours: 0 },
    { corsOrigins: ['https://ui.example.org/'] },
    { odic: oidc },
  ]) {
    assert.throws(() => authConfig(wrong), { code: 'WEFT_API_AUTH_CONFIG' }, JSON.stringify(wrong));
  }
});
