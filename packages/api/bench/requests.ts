/**
 * Requests per second of one API process over the embedded store, through a TCP door with a token.
 *
 *     node packages/api/bench/requests.ts [--json] [--quick] [--profile DIR]
 *
 * `api_create`: ports of one bridge are created, each durable before its answer. `api_read`: single ports are read.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import type { Load, LoadResult } from './client.ts';

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
});
const CONNECTIONS = 32;
const SECONDS = options.quick ? 1 : 5;
const ROUNDS = options.quick ? 1 : 3;
const ROOT = '/midonet-api';
const CLI = resolve(import.meta.dirname, '../../cli/src/main.ts');

const dir = mkdtempSync(join(tmpdir(), 'weft-api-bench-'));
const profiling = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
const files = [
  '--store',
  join(dir, 'store'),
  '--socket',
  join(dir, 'store.sock'),
  '--api-socket',
  join(dir, 'api.sock'),
];
const door = ['--port', '0', '--token-file', join(dir, 'token')];
const server = spawn(process.execPath, [...profiling, CLI, 'api', ...files, ...door], {
  stdio: ['ignore', 'ignore', 'pipe'],
});
const ended = new Promise<void>((done) => server.once('exit', () => done()));

async function stop(): Promise<void> {
  server.kill('SIGTERM');
  await ended;
  rmSync(dir, { recursive: true, force: true });
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
    process.exit(1);
  });
}

/** The TCP port, from what the server says when it listens. */
function listening(): Promise<number> {
  return new Promise((done, fail) => {
    let said = '';
    server.stderr.on('data', (chunk) => {
      said += chunk;
      const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1];
      if (port) done(Number(port));
    });
    server.once('exit', (code) => fail(new Error(`weft api ended with ${code}: ${said}`)));
  });
}

async function drive(load: Load): Promise<LoadResult> {
  const client = resolve(import.meta.dirname, 'client.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [client, JSON.stringify(load)], {
    maxBuffer: 1024 * 1024,
  });
  return JSON.parse(stdout) as LoadResult;
}

interface Result {
  readonly id: string;
  readonly unit: string;
  readonly value: number;
  readonly runs: readonly number[];
  readonly p50: number;
  readonly p99: number;
  readonly clientCpu: number;
}

async function measure(id: string, load: Load): Promise<Result> {
  await drive({ ...load, seconds: Math.min(2, SECONDS) }); // warms up
  const results: LoadResult[] = [];
  for (let i = 0; i < ROUNDS; i++) results.push(await drive(load));
  const rates = results.map(({ requests, seconds }) => Math.round(requests / seconds));
  const middle = (list: number[]) => [...list].sort((a, b) => a - b)[list.length >> 1]!;
  return {
    id,
    unit: '1/s',
    value: middle(rates),
    runs: rates,
    p50: middle(results.map(({ p50 }) => p50)),
    p99: middle(results.map(({ p99 }) => p99)),
    clientCpu: middle(results.map(({ clientCpu }) => clientCpu)),
  };
}

try {
  const port = await listening();
  const token = readFileSync(join(dir, 'token'), 'utf8').trim();
  const headers = { 'X-Auth-Token': token, 'Content-Type': 'application/json' };
  const post = async (path: string, body: object) => {
    const answer = await fetch(`http://127.0.0.1:${port}${ROOT}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as { id: string; results: { id: string }[] };
  };
  const bridge = await post('/bridges', { name: 'bench', tenantId: 'bench' });
  const ports = `/bridges/${bridge.id}/ports`;
  const operations = Array.from({ length: 1_000 }, () => ({ path: ports, body: {} }));
  const { results: known } = await post('/bulk', { operations });
  const common = { port, token, connections: CONNECTIONS, seconds: SECONDS };
  const results = [
    await measure('api_read', {
      ...common,
      method: 'GET',
      paths: known.map(({ id }) => `${ROOT}/ports/${id}`),
      body: null,
      status: 200,
    }),
    await measure('api_create', {
      ...common,
      method: 'POST',
      paths: [ROOT + ports],
      body: JSON.stringify({ adminStateUp: true, vifId: 'vm' }),
      status: 201,
    }),
  ];
  if (options.json) process.stdout.write(`${JSON.stringify({ connections: CONNECTIONS, results }, null, 2)}\n`);
  else for (const result of results) process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  await stop();
}
