/** Clients that know nothing of Weft are content with the API: httpie, and one that a generator makes of the OpenAPI document. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { exchange } from '../../packages/lab/src/index.ts';
import { ApiProcess } from '../soak/api-process.ts';

const VENV = process.env.WEFT_VENV ?? resolve(import.meta.dirname, '../../.tools/venv');
const program = (name: string) => join(VENV, 'bin', name);
const without = (name: string) =>
  existsSync(program(name)) ? false : `needs the Python package of ${name} in ${VENV}: make deps`;

function run(argv: readonly string[], cwd: string): string {
  const [command, ...args] = argv;
  const { status, stdout, stderr } = spawnSync(command!, args, { cwd, encoding: 'utf8', timeout: 120_000 });
  assert.equal(status, 0, `${argv.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

describe('generic clients', () => {
  const api = new ApiProcess();
  before(() => api.start());
  after(() => api.end());

  test('httpie makes, filters, changes and deletes', { skip: without('http') }, () => {
    const http = (method: string, path: string, ...items: string[]) => {
      const flags = ['--ignore-stdin', '--check-status', '--body'];
      const url = path.startsWith('http') ? path : `${api.base}/midonet-api${path}`;
      const text = run([program('http'), ...flags, method, url, `X-Auth-Token:${api.token}`, ...items], api.dir);
      return text.trim() === '' ? undefined : JSON.parse(text);
    };
    const made = http('POST', '/bridges', 'name=httpie', 'adminStateUp:=true');
    assert.deepEqual(http('GET', '/bridges', 'name==httpie'), [made]);
    http('PUT', made.uri, 'name=other');
    assert.equal(http('GET', made.uri).name, 'other');
    http('DELETE', made.uri);
    assert.deepEqual(http('GET', '/bridges'), []);
  });

  test('a generated client goes through the life of a network', {
    skip: without('openapi-python-client'),
  }, async () => {
    const { text } = await exchange({ url: api.base, token: api.token }, 'GET', '/openapi.json');
    writeFileSync(join(api.dir, 'openapi.json'), text);
    const options = ['--path', 'openapi.json', '--meta', 'none', '--output-path', 'weft_client'];
    run([program('openapi-python-client'), 'generate', ...options], api.dir);
    const script = resolve(import.meta.dirname, 'generated_client.py');
    assert.match(run([program('python'), script, api.base, api.token, api.dir], api.dir), /content/);
  });
});
