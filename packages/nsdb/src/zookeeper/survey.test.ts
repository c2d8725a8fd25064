/** What is said of servers that serve, wait, are away, or speak otherwise than expected. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { makeCertificates, needsServer, startServers } from '@weft/zookeeper/testing';
import { surveyEnsemble } from './survey.ts';

const states = async (...options: Parameters<typeof surveyEnsemble>) =>
  (await surveyEnsemble(...options)).map(({ state, role }) => (role === '' ? state : `${state} ${role}`));

describe('a survey of servers', { skip: needsServer() }, () => {
  it('tells leader, followers, those that are away, and those that have lost the majority', async (t) => {
    const ensemble = await startServers({ count: 3 });
    t.after(() => ensemble.close());
    const servers = ensemble.connectString;
    const all = await surveyEnsemble({ servers });
    assert.deepEqual(all.map(({ role }) => role).sort(), ['follower', 'follower', 'leader']);
    for (const { server, latencyMs, znodes } of all) assert.ok(latencyMs! > 0 && znodes! > 0, server);
    const leader = await ensemble.leader();
    const follower = await ensemble.follower();
    await Promise.all([leader.kill(), follower.kill()]);
    // The last one notices by itself.
    let seen: string[];
    do seen = await states({ servers });
    while (!seen.includes('waiting'));
    assert.deepEqual(seen.sort(), ['away', 'away', 'waiting']);
  });

  it('tells a misfit of TLS, a certificate that is not trusted, and what is no ZooKeeper', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-survey-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const { ca, keyStore, trustStore } = makeCertificates(dir);
    const ensemble = await startServers({ tls: { keyStore, trustStore } });
    t.after(() => ensemble.close());
    const [plain, secure] = [ensemble.connectString, ensemble.secureConnectString];
    assert.deepEqual(await states({ servers: plain }), ['serving standalone']);
    assert.deepEqual(await states({ servers: secure, tls: { ca } }), ['serving standalone']);
    assert.deepEqual(await states({ servers: secure, tls: true }), ['untrusted']);
    assert.deepEqual(await states({ servers: secure }), ['tls']);
    assert.deepEqual(await states({ servers: plain, tls: { ca } }), ['no-tls']);
    const other = createServer((socket) => socket.end('hello\n')).listen(0, '127.0.0.1');
    t.after(() => other.close());
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    assert.deepEqual(await states({ servers: `127.0.0.1:${port}` }), ['foreign']);
  });
});
