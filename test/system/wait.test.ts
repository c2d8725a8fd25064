/** `weft wait` where an agent stands still, and where one is dead: it names the host, and ends when the host has followed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import {
  freezeAgent,
  killAgent,
  type Lab,
  labDown,
  labUp,
  requireHost,
  restartAgent,
  thawAgent,
} from '../../packages/lab/src/index.ts';

const main = resolve(import.meta.dirname, '../../packages/cli/src/main.ts');
const scenario = resolve(import.meta.dirname, 'doctor.yaml');
const skip = process.getuid?.() === 0 ? false : 'needs root';
const NAME = `wait-${process.pid}`;
let lab: Lab;

before(async () => {
  if (!skip) ({ lab } = await labUp(scenario, { name: NAME }));
});
after(async () => {
  if (!skip) await labDown(NAME);
});

interface Answer {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function weftWait(...words: string[]): Promise<Answer> {
  const child = spawn(process.execPath, [main, 'wait', '--api-socket', lab.plan.paths.apiSocket, ...words]);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (part) => (stdout += part));
  child.stderr.on('data', (part) => (stderr += part));
  return new Promise((done) => child.on('close', (status) => done({ status, stdout, stderr })));
}

const change = () => lab.api.post('/bridges', { name: 'news' });

test('an agent that stands still is waited for', { skip }, async () => {
  const h2 = requireHost(lab.plan, 'h2');
  assert.equal((await weftWait('--timeout', '30')).status, 0, 'at first all is live');
  freezeAgent(lab, h2);
  try {
    await change();
    const late = await weftWait('--timeout', '2');
    assert.deepEqual([late.status, late.stdout], [1, '']);
    assert.match(late.stderr, /live on 1 of 2 hosts, waiting for h2;/);
  } finally {
    thawAgent(lab, h2);
  }
  const live = await weftWait('--timeout', '60');
  assert.deepEqual([live.status, live.stderr], [0, '']);
  assert.match(live.stdout, /live on 2 of 2 hosts/);
});

test('a dead agent stays a host that the change is not live on, until it is back', { skip }, async () => {
  const h2 = requireHost(lab.plan, 'h2');
  await killAgent(lab, h2);
  await change();
  const late = await weftWait('--timeout', '2', '--json');
  const { converged, hosts, applied, reachable, behind } = JSON.parse(late.stdout);
  assert.deepEqual([late.status, converged, hosts, applied, reachable], [1, false, 2, 1, 1]);
  assert.deepEqual([behind.length, behind[0].name, behind[0].reachable], [1, 'h2', false]);
  assert.ok(behind[0].unknownForMs > 0 && behind[0].unknownForMs < 60_000, `${behind[0].unknownForMs}`);
  const waiting = weftWait('--timeout', '60');
  await restartAgent(lab, h2);
  assert.equal((await waiting).status, 0);
});
