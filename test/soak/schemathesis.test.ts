/**
 * Requests made up from the OpenAPI document, right and wrong ones, alone and in sequences: none may meet a server error or
 * an answer that the document does not describe. Needs schemathesis in `.tools/venv`.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { ApiProcess } from './api-process.ts';
import { SOAK_SEED } from './soak.ts';

const VENV = process.env.WEFT_VENV ?? resolve(import.meta.dirname, '../../.tools/venv');
const program = join(VENV, 'bin/schemathesis');
const skip = existsSync(program) ? false : `needs the Python package schemathesis in ${VENV}`;

/** What must hold of every answer. That a document admits more than the model accepts is no fault: references have to exist. */
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
  'response_headers_conformance',
  'unsupported_method',
];

const api = new ApiProcess();
after(() => api.end());

test('made-up requests meet no server error and no undocumented answer', { skip }, async (t) => {
  await api.start();
  const target = [`${api.base}/openapi.json`, '-H', `X-Auth-Token: ${api.token}`];
  // A stream of events does not end, which is no finding.
  const scope = ['--exclude-path', '/midonet-api/events', '--phases', 'examples,coverage,fuzzing,stateful'];
  const how = ['--seed', String(SOAK_SEED), '-n', '20', '--continue-on-failure', '--generation-database', 'none'];
  const args = ['run', ...target, ...scope, ...how, '-c', CHECKS.join(','), '--request-timeout', '30'];
  const child = spawn(program, args, { cwd: api.dir, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
  const code = await new Promise((done) => child.once('exit', done));
  const tested = Number(/(\d+) generated/.exec(said)?.[1] ?? 0);
  t.diagnostic(`seed ${SOAK_SEED}, ${tested} requests`);
  assert.equal(code, 0, said.slice(-20_000));
  assert.ok(tested > 1_000, said.slice(-2_000));
});
