/** `weft wait` against the real API, as its user runs it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { type Api, createApi } from '@weft/api';
import { type HostSession, type Nsdb, openEmbedded } from '@weft/nsdb';
import { progressLine, spanText } from '../progress-text.ts';
import { noTerminal, Terminal } from '../testing/terminal.ts';

const main = resolve(import.meta.dirname, '../main.ts');
const directory = mkdtempSync(join(tmpdir(), 'weft-wait-'));
const socketPath = join(directory, 'api.sock');
const env = { ...process.env, WEFT_CONFIG: '' };
const [H1, H2] = ['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002'];
let nsdb: Nsdb;
let api: Api;
let session: HostSession;

before(async () => {
  nsdb = await openEmbedded({ dir: join(directory, 'store') });
  await openApi();
  await nsdb.transact((tx) => tx.create('Host', { id: H1, name: 'h1' }));
  session = await nsdb.openSession(H1);
});
after(async () => {
  await api.close();
  await nsdb.close();
  rmSync(directory, { recursive: true });
});

async function openApi(): Promise<void> {
  api = await createApi({ nsdb });
  await api.listen({ unixSocket: socketPath });
}

/** A change, which h1 has followed. */
async function change(): Promise<number> {
  const { revision } = await nsdb.transact((tx) => tx.create('Bridge', {}));
  session.reportApplied(revision);
  return revision;
}

function weft(...words: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [main, 'wait', '--api-socket', socketPath, ...words], { env });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (part) => (stdout += part));
  child.stderr.on('data', (part) => (stderr += part));
  return new Promise((done) => child.on('close', (status) => done({ status, stdout, stderr })));
}

test('a change that is live everywhere ends the wait at once', async () => {
  const revision = await change();
  const { status, stdout, stderr } = await weft();
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, new RegExp(`^revision ${revision}: live on 1 of 1 hosts, after \\d+ ms\n$`));
  const json = await weft(String(revision - 1), '--json');
  const { converged, revision: of, hosts } = JSON.parse(json.stdout);
  assert.deepEqual([json.status, converged, of, hosts], [0, true, revision - 1, 1]);
});

test('what cannot be waited for', async () => {
  const ahead = String((await nsdb.revision()) + 1);
  for (const [words, status, message] of [
    [['soon'], 2, /^weft: WEFT_CLI_USAGE: a revision is a whole number, not "soon"/],
    [['--timeout', '0'], 2, /^weft: WEFT_CLI_USAGE: --timeout takes seconds/],
    [[ahead], 1, /^weft: WEFT_CLI_API: .*404 WEFT_API_REVISION_AHEAD/],
    [['--api-socket', '/nonexistent'], 1, /^weft: WEFT_CLI_NO_API: /],
  ] as const) {
    const answer = await weft(...words);
    assert.equal(answer.status, status, answer.stderr);
    assert.match(answer.stderr, message);
  }
});

test('a host that is away is named, and the wait for it goes on through a restart of the API', {
  skip: noTerminal,
}, async () => {
  await nsdb.transact((tx) => tx.create('Host', { id: H2, name: 'h2' }));
  await (await nsdb.openSession(H2)).close({ leave: true });
  const revision = await change();
  const late = await weft('--timeout', '1');
  assert.deepEqual([late.status, late.stdout], [1, '']);
  const where =
    /^weft: WEFT_CLI_NOT_LIVE: revision \d+: live on 1 of 2 hosts, waiting for h2 \(away for \d+ s\); gave up after 1 s\n$/;
  assert.match(late.stderr, where);
  const json = await weft('--timeout', '1', '--json');
  const { behind } = JSON.parse(json.stdout);
  assert.deepEqual([json.status, behind[0].name, behind[0].reachable], [1, 'h2', false]);

  const terminal = new Terminal([process.execPath, main, 'wait', '--api-socket', socketPath], env);
  try {
    await terminal.until(/live on 1 of 2 hosts, waiting for h2 \(away for \d+ s\)/);
    await api.close();
    await terminal.until(/no API answers at/);
    await openApi();
    await terminal.until(/live on 1 of 2 hosts, waiting for h2 \(away for \d+ s\)/);
    const back = await nsdb.openSession(H2);
    await terminal.until(/waiting for h2(?! \(away)/);
    back.reportApplied(revision);
    await terminal.until(new RegExp(`revision ${revision}: live on 2 of 2 hosts, after \\d+ ms`));
    assert.equal(await terminal.ended(), 0);
  } finally {
    terminal.kill();
  }
});

test('the line for people', () => {
  const host = (n: number, unknownForMs: number | null, reachable = false) => ({
    hostId: `id-${n}`,
    name: `h${n}`,
    reachable,
    unknownForMs,
  });
  const line = (...behind: ReturnType<typeof host>[]) =>
    progressLine(
      { generation: 'g', revision: 9, converged: false, hosts: 212, applied: 212 - behind.length, behind },
      5_000,
    );
  assert.equal(line(), 'revision 9: live on 212 of 212 hosts');
  assert.equal(line(host(7, 7_400)), 'revision 9: live on 211 of 212 hosts, waiting for h7 (away for 12 s)');
  const many = [host(1, null), host(2, null, true), { ...host(3, 0), name: '' }, host(4, 0), host(5, 0)];
  const named = 'h1 (away, never heard of), h2, id-3 (away for 5 s) and 2 more';
  assert.equal(line(...many), `revision 9: live on 207 of 212 hosts, waiting for ${named}`);
  const nameless = { ...host(1, 0), hostId: '', name: '' };
  assert.equal(line(nameless), 'revision 9: live on 211 of 212 hosts, waiting for 1 more');
  assert.deepEqual([0, 119_999, 120_000, 7_200_000].map(spanText), ['0 s', '119 s', '2 min', '2 h']);
});
