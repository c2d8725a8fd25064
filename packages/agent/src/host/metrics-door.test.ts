import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type MetricsDoor, openMetricsDoor } from './metrics-door.ts';

const folder = mkdtempSync(join(tmpdir(), 'weft-metrics-'));
const doors: MetricsDoor[] = [];
after(() => {
  for (const door of doors) door.close();
  rmSync(folder, { recursive: true, force: true });
});

const TOKEN = '0123456789abcdef';
const tokenFile = join(folder, 'token');
writeFileSync(tokenFile, `${TOKEN}\n`, { mode: 0o600 });

async function open(render: () => Promise<string>, host = '127.0.0.1'): Promise<MetricsDoor> {
  const door = await openMetricsDoor({ host, port: 0, tokenFile, render });
  doors.push(door);
  return door;
}

const get = (url: string, token?: string, method = 'GET') =>
  fetch(url, { method, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });

test('metrics for those with the token, nothing else and nobody else', async () => {
  let asked = 0;
  const { address } = await open(async () => {
    asked++;
    return 'weft_flows 1\n';
  });
  const good = await get(address, TOKEN);
  assert.deepEqual([good.status, await good.text()], [200, 'weft_flows 1\n']);
  assert.match(good.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  for (const token of [undefined, '', `${TOKEN}x`, TOKEN.slice(1)]) {
    assert.equal((await get(address, token)).status, 401, `${token}`);
  }
  assert.equal((await get(address.replace('/metrics', '/status'), TOKEN)).status, 404);
  assert.equal((await get(address, TOKEN, 'POST')).status, 404);
  assert.equal(asked, 1);
});

test('a worker that does not answer is a 503, over IPv6 as well', async () => {
  const { address } = await open(() => Promise.reject(new Error('gone')), '::1');
  assert.equal((await get(address, TOKEN)).status, 503);
});

test('a token file that others read, or that holds no token, is refused by name', async () => {
  const bad = join(folder, 'bad');
  const refused = async (text: string, mode: number, what: RegExp): Promise<void> => {
    writeFileSync(bad, text);
    chmodSync(bad, mode);
    const options = { host: '127.0.0.1', port: 0, tokenFile: bad, render: async () => '' };
    await assert.rejects(openMetricsDoor(options), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'WEFT_AGENT_CONFIG');
      assert.match(error.message, what);
      return true;
    });
  };
  await refused(TOKEN, 0o644, /0600/);
  await refused('short', 0o600, /16/);
  await refused('two words, long enough', 0o600, /spaces/);
  rmSync(bad);
  const options = { host: '127.0.0.1', port: 0, tokenFile: bad, render: async () => '' };
  await assert.rejects(openMetricsDoor(options), /ENOENT/);
});

test('an address that is taken is refused by name', async () => {
  const { address } = await open(async () => '');
  const port = Number(new URL(address).port);
  const again = openMetricsDoor({ host: '127.0.0.1', port, tokenFile, render: async () => '' });
  await assert.rejects(again, /metrics\.listen: .*EADDRINUSE/);
});
