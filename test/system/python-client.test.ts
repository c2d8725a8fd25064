/** MidoNet's own Python client against the real API process. Needs the client and what it imports in `.tools/venv`. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { connect, registerHost } from '@weft/nsdb';

const ROOT = resolve(import.meta.dirname, '../..');
const VENV = process.env.WEFT_VENV ?? join(ROOT, '.tools/venv');
const python = join(VENV, 'bin/python3');

function missing(): string | false {
  const lib = join(VENV, 'lib');
  const packages = existsSync(lib) ? readdirSync(lib).map((version) => join(lib, version, 'site-packages')) : [];
  const has = (name: string) => packages.some((dir) => existsSync(join(dir, name)));
  const lacking = ['midonetclient', 'httplib2', 'webob'].filter((name) => !has(name));
  return lacking.length > 0 && `needs the Python package(s) ${lacking.join(', ')} in ${VENV}`;
}

test("MidoNet's Python client builds, changes and takes down a network", { skip: missing() }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-python-'));
  const files = ['--store', join(dir, 'store'), '--socket', join(dir, 'store.sock')];
  const doors = ['--api-socket', join(dir, 'api.sock'), '--port', '0', '--token-file', join(dir, 'token')];
  const cli = join(ROOT, 'packages/cli/src/main.ts');
  const api = spawn(process.execPath, [cli, 'api', ...files, ...doors], { stdio: ['ignore', 'ignore', 'pipe'] });
  const kill = () => api.kill('SIGKILL');
  process.once('exit', kill);
  try {
    const address = await new Promise<string>((done, fail) => {
      let said = '';
      api.stderr.on('data', (chunk) => {
        said += chunk;
        const url = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
        if (url) done(url);
      });
      api.once('exit', (code) => fail(new Error(`weft api ended with ${code}: ${said}`)));
    });
    const nsdb = await connect({ socket: join(dir, 'store.sock') });
    const host = randomUUID();
    await registerHost(nsdb, { id: host, name: 'monk' });
    await nsdb.close();
    const token = readFileSync(join(dir, 'token'), 'utf8').trim();
    const script = join(import.meta.dirname, 'python_client.py');
    const { stdout } = await promisify(execFile)(python, [script, `${address}/midonet-api`, token, host], {
      timeout: 60_000,
    });
    assert.deepEqual(JSON.parse(stdout), {
      peers: [true],
      vlan: null,
      routes: [
        ['Local', '10.0.0.1', 32, 0],
        ['Normal', '192.168.0.0', 16, 100],
      ],
      renamed: 'renamed',
      listed: ['renamed'],
      'group ports': [true],
      'port groups': [true],
      'groups of port': ['pg'],
      addresses: [
        ['2001:db8::7', 6],
        ['203.0.113.7', 4],
      ],
      rules: [
        ['jump', 1],
        ['accept', 2],
        ['drop', 3],
      ],
      rule: [6, { start: 22, end: 22 }, true, '10.0.0.0', 8, null, 'header'],
      'by flow direction': true,
      snat: ['accept', true],
      'snat to nothing': 400,
      members: [[true, '192.0.2.1']],
      bindings: [[true, 'tap0']],
      alive: false,
      'bound host': 403,
      'zone twice': 409,
      'missing bridge': 404,
      'bad address': 400,
      tenants: ['python'],
      state: 'READWRITE',
      'deleted twice': 404,
      left: [],
    });
  } finally {
    process.off('exit', kill);
    kill();
    await new Promise((done) =>
      api.exitCode === null && api.signalCode === null ? api.once('exit', done) : done(null),
    );
    rmSync(dir, { recursive: true, force: true });
  }
});
