import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestApi } from '../testing.ts';
import { checkLogin } from './accounts.ts';
import { LoginLimits } from './login-limits.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { issueToken, tokenOwner } from './tokens.ts';

const t = await TestApi.start({ token: 'the-token-of-the-file' });
const basic = (name: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
});
const login = (name: string, password: string, headers = {}) =>
  t.call('POST', '/login', undefined, { ...basic(name, password), ...headers });
const status = async (headers: Record<string, string>, path = '/bridges') =>
  (await t.call('GET', path, undefined, headers)).status;

await t.create('/accounts', { name: 'ann', role: 'tenant', tenantId: 'blue', password: 'naïve password' });

test('a password is kept as salted scrypt with its parameters', async () => {
  const [one, two] = await Promise.all([hashPassword('naïve'), hashPassword('naïve')]);
  assert.match(one, /^scrypt:32768:8:1:[\w-]{22}:[\w-]{43}$/);
  assert.notEqual(one, two);
  // Composed and decomposed letters are the same.
  assert.ok(await verifyPassword('nai\u0308ve', one));
  assert.ok(!(await verifyPassword('naive', one)));
  assert.ok(!(await verifyPassword('naïve', undefined)));
  for (const broken of ['', 'none', 'scrypt:1:1:1::', one.replace('32768', '1073741824')]) {
    assert.ok(!(await verifyPassword('naïve', broken)), broken);
  }
  // Older parameters go on working: of RFC 7914 §12, N 16, r 1, p 1, empty password and salt, first 32 bytes.
  const vector = Buffer.from('77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442', 'hex');
  assert.ok(await verifyPassword('', `scrypt:16:1:1::${vector.toString('base64url')}`));
});

test('login: a token as MidoNet’s clients expect it, good in three places', async () => {
  const answer = await login('ann', 'naïve password', { accept: 'application/vnd.org.midonet.Token-v1+json' });
  assert.equal(answer.status, 200);
  assert.match(answer.headers['content-type']!, /^application\/vnd\.org\.midonet\.Token-v1\+json/);
  const { key, expires } = answer.body;
  assert.ok(Date.parse(expires) > Date.now() + 11 * 3_600_000, expires);
  const cookie = String(answer.headers['set-cookie']);
  assert.match(cookie, new RegExp(`^sessionId=${key}; Path=/; Expires=[^;]+GMT; HttpOnly; SameSite=Strict$`));
  for (const headers of [
    { 'x-auth-token': key },
    { authorization: `Bearer ${key}` },
    { cookie: `a=b; sessionId=${key}` },
  ]) {
    assert.equal(await status(headers as Record<string, string>), 200, JSON.stringify(headers));
  }
  assert.equal(await status({ 'x-auth-token': `${key}x` }), 401);
  const stored = JSON.stringify(await t.nsdb.list('AuthToken'));
  assert.ok(!stored.includes(key), 'the token itself is in the database');
});

test('login: what is not right is told alike', async () => {
  const wrong = await login('ann', 'wrong password');
  const unknown = await login('bob', 'wrong password');
  assert.equal(wrong.status, 401);
  assert.deepEqual(wrong.body, unknown.body);
  assert.match(wrong.headers['www-authenticate']!, /^Basic /);
  assert.equal((await login('ann', 'naïve password', { 'x-auth-project': 'red' })).status, 401);
  assert.equal((await login('ann', 'naïve password', { 'x-auth-project': 'blue' })).status, 200);
  for (const authorization of ['', 'Basic', 'Basic !', `Basic ${Buffer.from('ann').toString('base64')}`, 'Bearer x']) {
    assert.equal((await t.call('POST', '/login', undefined, { authorization })).status, 401, authorization);
  }
});

test('unknown names take as long as known ones', async () => {
  const time = async (name: string) => {
    const start = process.cpuUsage();
    await checkLogin(t.nsdb, name, 'wrong password');
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  // CPU time, not the clock's; a lookup without scrypt would be some hundred times quicker.
  const [known, unknown] = [await time('ann'), await time('nobody')];
  assert.ok(unknown > known / 4, `${unknown} µs for an unknown name, ${known} µs for a known one`);
});

test('a cookie does not count for other origins’ pages', async () => {
  const { key } = (await login('ann', 'naïve password')).body;
  const cookie = `sessionId=${key}`;
  const post = async (headers: object) => (await t.call('POST', '/bridges', {}, { cookie, ...headers })).status;
  assert.equal(await post({}), 201);
  assert.equal(await post({ origin: 'http://weft.example:8181', 'sec-fetch-site': 'same-origin' }), 201);
  assert.equal(await post({ origin: 'https://evil.example' }), 403);
  assert.equal(await post({ origin: 'null' }), 403);
  assert.equal(await post({ 'sec-fetch-site': 'cross-site' }), 403);
  assert.equal(await post({ 'sec-fetch-site': 'same-site' }), 403);
  assert.equal(await post({ origin: 'https://evil.example', 'x-auth-token': key }), 201);
});

test('tokens end: by logout, by time, with the password, with the account', async () => {
  await t.create('/accounts', { name: 'tim', role: 'viewer', password: 'first password' });
  const key = async (password: string) => ({ 'x-auth-token': (await login('tim', password)).body.key as string });
  const first = await key('first password');
  const second = await key('first password');
  assert.deepEqual([await status(first), await status(second)], [200, 200]);
  assert.equal((await t.call('DELETE', '/login', undefined, first)).status, 204);
  assert.deepEqual([await status(first), await status(second)], [401, 200]);

  const changed = await t.call('PUT', '/accounts/tim/password', { password: 'second password' });
  assert.equal(changed.status, 204);
  assert.equal(await status(second), 401);
  assert.equal((await login('tim', 'first password')).status, 401);
  const third = await key('second password');
  assert.equal(await status(third), 200);

  const [tim] = (await t.nsdb.list<{ name: string }>('Account')).filter(({ value }) => value.name === 'tim');
  const { key: old, expires } = await issueToken(t.nsdb, tim!.id, 1000, 5_000_000);
  assert.equal((await tokenOwner(t.nsdb, old, expires - 1))?.name, 'tim');
  assert.equal(await tokenOwner(t.nsdb, old, expires), undefined);

  assert.equal((await t.call('DELETE', '/accounts/tim')).status, 204);
  assert.equal(await status(third), 401);
  assert.equal((await t.nsdb.referrers('AuthToken', 'accountId', tim!.id)).length, 0);
});

test('an account has a bounded number of tokens; the oldest goes', async () => {
  const { result } = await t.nsdb.transact((tx) =>
    tx.create<{ id: string }>('Account', { name: 'many', role: 'viewer', passwordHash: 'none' }),
  );
  const keys: string[] = [];
  for (let i = 0; i < 103; i++) keys.push((await issueToken(t.nsdb, result.id, 60_000 + i)).key);
  assert.equal((await t.nsdb.referrers('AuthToken', 'accountId', result.id)).length, 100);
  assert.equal(await tokenOwner(t.nsdb, keys[2]!), undefined);
  assert.equal((await tokenOwner(t.nsdb, keys[3]!))?.name, 'many');
});

test('the first token is an administrator’s, and so is the Unix socket', async () => {
  assert.equal(await status({ 'x-auth-token': 'the-token-of-the-file' }, '/accounts'), 200);
  assert.equal(await status({}, '/accounts'), 200);
  // Who shows a token is its owner, wherever it comes from.
  const { key } = (await login('ann', 'naïve password')).body;
  assert.equal(await status({ 'x-auth-token': key }, '/accounts'), 403);
});

test('accounts: what is refused', async () => {
  const refused = async (change: object) => {
    const answer = await t.call('POST', '/accounts', { name: 'x', role: 'viewer', password: 'long enough', ...change });
    assert.equal(answer.status, 400, JSON.stringify(change));
    return (answer.body.violations as { property: string }[]).map(({ property }) => property);
  };
  assert.deepEqual(await refused({ password: 'too short' }), ['password']);
  assert.deepEqual(await refused({ password: 'x'.repeat(257) }), ['password']);
  assert.deepEqual(await refused({ password: undefined }), ['password']);
  assert.deepEqual(await refused({ name: 'a:b' }), ['name']);
  assert.deepEqual(await refused({ role: 'root' }), ['role']);
  assert.deepEqual(await refused({ role: 'tenant' }), ['tenantId']);
  const again = await t.call('POST', '/accounts', { name: 'ann', role: 'viewer', password: 'long enough' });
  assert.equal(again.status, 409);
  assert.ok(!JSON.stringify((await t.call('GET', '/accounts/ann')).body).includes('scrypt'));
});

test('guessing is slowed down by name and source, and by source', () => {
  let now = 0;
  const limits = new LoginLimits(() => now);
  const tries = (name: string, source: string) => limits.attempt(name, source);
  for (let i = 0; i < 5; i++) assert.equal(tries('ann', 'a'), 0);
  assert.equal(tries('ann', 'a'), 1);
  assert.equal(tries('ann', 'b'), 0, 'somebody elsewhere is not locked out');
  now += 1000;
  assert.equal(tries('ann', 'a'), 0);
  assert.equal(tries('ann', 'a'), 2);
  now += 2000;
  assert.equal(tries('ann', 'a'), 0);
  limits.succeeded('ann', 'a');
  assert.equal(tries('ann', 'a'), 0, 'a right password clears the slate');
  now += 16 * 60_000;
  for (let i = 0; i < 30; i++) assert.equal(tries(`name${i}`, 'c'), 0);
  assert.ok(tries('name30', 'c') > 0, 'one source tries many names');
  now += 16 * 60_000;
  assert.equal(tries('name31', 'c'), 0, 'forgotten');
});

test('after too many misses even the right password has to wait', async () => {
  await t.create('/accounts', { name: 'eve', role: 'viewer', password: 'right password' });
  // All at once, so that no wait passes between them: the last one has the right password.
  const passwords = [...Array.from({ length: 7 }, () => 'wrong password'), 'right password'];
  const answers = await Promise.all(passwords.map((password) => login('eve', password)));
  assert.deepEqual(answers.map((a) => a.status).sort(), [401, 401, 401, 401, 401, 429, 429, 429]);
  const last = answers.at(-1)!;
  assert.deepEqual([last.status, last.body.error], [429, 'WEFT_API_TOO_MANY_LOGINS']);
  assert.ok(Number(last.headers['retry-after']) >= 1);
});
