import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { createApi } from '@weft/api';
import { openEmbedded } from '@weft/nsdb';

const dir = await mkdtemp(join(tmpdir(), 'weft-account-'));
const nsdb = await openEmbedded({ dir: join(dir, 'store') });
const api = await createApi({ nsdb, token: 'a-token-for-the-tests' });
const socket = await api.listen({ unixSocket: join(dir, 'api.sock') });
const url = await api.listen({ port: 0 });
after(async () => {
  await api.close();
  await nsdb.close();
  await rm(dir, { recursive: true });
});

const main = join(import.meta.dirname, '..', 'main.ts');
const home = { ...process.env, HOME: dir, XDG_STATE_HOME: dir };
const run = promisify(execFile);
/** Exit status and output of `weft …`. */
async function weft(...words: string[]): Promise<{ status: number; out: string; err: string }> {
  try {
    const { stdout, stderr } = await run(process.execPath, [main, ...words], { env: home });
    return { status: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, out: stdout, err: stderr };
  }
}
const owner = ['--api-socket', socket];
const password = async (text: string) => {
  const path = join(dir, `password-${text.length}`);
  await writeFile(path, `${text}\n`);
  return ['--password-file', path];
};

test('accounts by the command line: made, listed, used, given a new password, deleted', async () => {
  const first = await password('first password');
  for (const words of [
    ['ann', '--role', 'admin'],
    ['bob', '--role', 'tenant', '--of-tenant', 'blue'],
    ['eve', '--role', 'viewer'],
  ]) {
    const { status, err } = await weft('account', 'create', ...words, ...first, ...owner);
    assert.equal(status, 0, err);
  }
  const { out } = await weft('account', 'list', ...owner);
  assert.deepEqual(
    out
      .trim()
      .split('\n')
      .map((line) => line.split(/ +/)),
    [
      ['NAME', 'ROLE', 'TENANT'],
      ['ann', 'admin', '(all)'],
      ['bob', 'tenant', 'blue'],
      ['eve', 'viewer', '(all)'],
    ],
  );
  const as = (user: string, secret: string) => ['--api-url', url, '-u', user, '-p', secret];
  const listed = await weft('account', 'list', '--json', ...as('ann', 'first password'));
  assert.deepEqual(JSON.parse(listed.out)[1], { name: 'bob', role: 'tenant', tenantId: 'blue' });
  const forbidden = await weft('account', 'list', ...as('bob', 'first password'));
  assert.equal(forbidden.status, 1);
  assert.match(forbidden.err, /WEFT_API_FORBIDDEN/);

  const second = await password('another password');
  assert.equal((await weft('account', 'passwd', 'ann', ...second, ...owner)).status, 0);
  assert.match((await weft('account', 'list', ...as('ann', 'first password'))).err, /WEFT_API_LOGIN_FAILED/);
  assert.equal((await weft('account', 'list', ...as('ann', 'another password'))).status, 0);

  assert.equal((await weft('account', 'delete', 'eve', ...owner)).status, 0);
  assert.ok(!(await weft('account', 'list', ...owner)).out.includes('eve'));
});

test('what is refused is said', async () => {
  const wanted = await password('first password');
  assert.equal((await weft('account', 'create', 'x', ...wanted, ...owner)).status, 2, 'no role');
  assert.equal((await weft('account', 'create', 'x', '--role', 'root', ...wanted, ...owner)).status, 2);
  const tenantless = await weft('account', 'create', 'x', '--role', 'tenant', ...wanted, ...owner);
  assert.deepEqual([tenantless.status, /tenantId/.test(tenantless.err)], [1, true]);
  const short = await weft('account', 'create', 'x', '--role', 'viewer', ...(await password('short')), ...owner);
  assert.deepEqual([short.status, /password/.test(short.err)], [1, true]);
  const missing = await weft('account', 'delete', 'nobody', ...owner);
  assert.deepEqual([missing.status, /WEFT_NOT_FOUND/.test(missing.err)], [1, true]);
  const silent = await weft('account', 'passwd', 'ann', ...owner);
  assert.deepEqual([silent.status, /terminal/.test(silent.err)], [2, true]);
});

test('weft api refuses half a certificate, and addresses without TLS', async () => {
  const store = [
    '--store',
    join(dir, 'other'),
    '--socket',
    join(dir, 's'),
    '--api-socket',
    join(dir, 'a'),
    '--port',
    '0',
  ];
  const half = await weft('api', ...store, '--tls-cert', 'x.pem');
  assert.deepEqual([half.status, /WEFT_CLI_USAGE/.test(half.err)], [2, true]);
  const open = await weft('api', ...store, '--host', '0.0.0.0', '--token-file', join(dir, 'token'));
  assert.deepEqual([open.status, /WEFT_API_DOOR_REFUSED/.test(open.err)], [1, true]);
});
