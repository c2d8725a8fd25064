/**
 * Connections that are nowhere but in Cassandra: all agents lose their memory, their kernels' flows and what is on their disks at once, and a VM
 * comes to a host of which nobody can tell anything. Agents, kernels and Cassandra are real.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  agentRequest,
  awaitSettled,
  awaitValue,
  GATEWAY_SCENARIO,
  inNetns,
  killAgent,
  type Lab,
  labDown,
  labUp,
  MovingVm,
  requireHost,
  requirePlace,
  requireVm,
  restartAgents,
  sleep,
  startServer,
  startTalk,
  type Talk,
} from '@weft/lab';
import { cassandraMissing, TestCassandra } from '../../packages/nsdb/src/testing/cassandra.ts';
import { skip as skipSoak } from './soak.ts';

const NAME = 'soak-cass';
const PATIENCE_MS = 30_000;
const CONNECTIONS = 6;
const PORT = 4_321;
const skip = skipSoak || cassandraMissing();

interface Archived {
  readonly connections: number;
  readonly archiveWaiting: number;
  readonly archiveRestored: number;
  readonly archive: {
    readonly up: boolean;
    readonly queued: number;
    readonly writing: number;
    readonly written: number;
  };
}

describe('Cassandra alone', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-relay-'));
  const relays: ChildProcess[] = [];
  let cassandra: TestCassandra;
  let door: NetServer;
  let lab: Lab;

  before(async () => {
    await labDown(NAME);
    cassandra = await TestCassandra.start();
    const credentialsFile = join(dir, 'credentials.json');
    writeFileSync(credentialsFile, JSON.stringify(TestCassandra.credentials), { mode: 0o600 });
    const ca = join(dir, 'ca.pem');
    writeFileSync(ca, cassandra.ca);
    const archive = {
      kind: 'cassandra',
      contactPoints: [`127.0.0.1:${cassandra.port}`],
      localDataCenter: 'datacenter1',
      replication: { class: 'SimpleStrategy', replication_factor: 1 },
      credentialsFile,
      tls: { ca },
    };
    const scenario = join(dir, 'gateway.yaml');
    const text = readFileSync(GATEWAY_SCENARIO, 'utf8');
    writeFileSync(scenario, text.replace(/^hosts:/m, `agent: ${JSON.stringify({ archive })}\nhosts:`));
    ({ lab } = await labUp(scenario, { name: NAME }));
    // Hosts have loopback addresses of their own: there Cassandra stands, too.
    const socket = join(dir, 'cassandra.sock');
    door = createServer((near) => {
      const far = connect(cassandra.port, '127.0.0.1');
      near.pipe(far).pipe(near);
      near.on('error', () => far.destroy());
      far.on('error', () => near.destroy());
    }).listen(socket);
    for (const { namespace } of lab.plan.hosts) {
      const tool = resolve(import.meta.dirname, 'relay.child.ts');
      const argv = inNetns(namespace, [process.execPath, tool, String(cassandra.port), socket]);
      const relay = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
      relays.push(relay);
      await once(relay.stdout!, 'data');
    }
    for (const { name } of lab.plan.hosts) {
      await awaitValue(`${name} at Cassandra`, PATIENCE_MS, async () =>
        (await archived(name)).archive.up ? true : undefined,
      );
    }
  });

  after(async () => {
    await labDown(NAME);
    for (const relay of relays) relay.kill('SIGKILL');
    door?.close();
    await cassandra?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const archived = (host: string) => agentRequest<Archived>(lab.plan, requireHost(lab.plan, host), 'GET', '/status');

  /** Until everything that hosts know is in Cassandra. */
  async function written(): Promise<void> {
    for (const { name } of lab.plan.hosts) {
      await awaitValue(`all of ${name} in Cassandra`, PATIENCE_MS, async () => {
        const { archive, archiveWaiting } = await archived(name);
        return archive.up && archive.queued + archive.writing + archiveWaiting === 0 ? true : undefined;
      });
    }
  }

  /** What these hosts know is gone when they start again, wherever they had it. */
  async function forgetAll(hosts = lab.plan.hosts): Promise<void> {
    await Promise.all(hosts.map((host) => killAgent(lab, host)));
    for (const { name } of hosts) {
      const { bpffs, runDir, stateDir } = lab.plan.paths.host(name);
      const wipe = `rm -rf '${bpffs}'/* '${runDir}'/* '${stateDir}'/archive`;
      await once(spawn('sh', ['-c', wipe]), 'exit');
    }
    await restartAgents(lab, hosts);
    await awaitSettled(lab, hosts);
  }

  async function answersGoOn(talks: readonly Talk[], when: string): Promise<void> {
    const before = talks.map((talk) => talk.answers());
    await awaitValue(`answers ${when}`, PATIENCE_MS, async () =>
      talks.every((talk, i) => talk.answers() > before[i]! + 20) ? true : undefined,
    );
  }

  async function conversations(vm: string) {
    const outside = requirePlace(lab, 'inet');
    const address = outside.addresses.find((one) => !one.includes(':'))!;
    const server = await startServer(outside, address, PORT);
    const talks: Talk[] = [];
    for (let i = 0; i < CONNECTIONS; i++)
      talks.push(await startTalk({ from: requireVm(lab, vm), address, port: PORT }));
    await sleep(500);
    return { server, talks };
  }

  async function allWhole(talks: readonly Talk[], peers: readonly string[]): Promise<void> {
    assert.equal(peers.length, CONNECTIONS, 'nobody was translated anew');
    for (const { error, sent, answered } of await Promise.all(talks.map((talk) => talk.stop()))) {
      assert.equal(error, '');
      assert.equal(answered, sent);
    }
  }

  test('connections outlive that all hosts forget everything at once', async (t) => {
    const { server, talks } = await conversations('green-a1');
    try {
      await written();
      await forgetAll();
      await answersGoOn(talks, 'after the start');
      const { archiveRestored } = await archived('h1');
      t.diagnostic(`h1 has read ${archiveRestored} connections`);
      assert.ok(archiveRestored >= CONNECTIONS);
      await allWhole(talks, server.peers());
    } finally {
      await server.stop();
    }
  });

  test('connections outlive the move from a host that is gone, when nobody else knows them', async (t) => {
    const vm = requireVm(lab, 'green-a3');
    const moving = new MovingVm(lab, vm);
    const { server, talks } = await conversations(vm.name);
    const old = requireHost(lab.plan, vm.host);
    try {
      await written();
      await killAgent(lab, old);
      await forgetAll(lab.plan.hosts.filter((host) => host !== old));
      await moving.jump(requireHost(lab.plan, 'h2'));
      await answersGoOn(talks, 'after the move');
      const { archiveRestored } = await archived('h2');
      t.diagnostic(`h2 has read ${archiveRestored} connections`);
      assert.ok(archiveRestored >= CONNECTIONS);
      await allWhole(talks, server.peers());
    } finally {
      await moving.goHome();
      await restartAgents(lab, [old]);
      await server.stop();
    }
  });

  test('while Cassandra is away nobody waits for it', async () => {
    await cassandra.kill();
    const { server, talks } = await conversations('green-a1');
    try {
      await answersGoOn(talks, 'without Cassandra');
      await awaitValue('h1 to notice', PATIENCE_MS, async () => ((await archived('h1')).archive.up ? undefined : true));
      await allWhole(talks, server.peers());
      await cassandra.launch();
      await written();
    } finally {
      await server.stop();
    }
  });
});
