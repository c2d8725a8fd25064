/**
 * Connections that are nowhere but in Cassandra: all agents lose their memory, their kernels' flows and what is on their disks at once, and a VM
 * comes to a host of which nobody can tell anything. Agents, kernels and Cassandra are real.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import {
  agentRequest,
  awaitSettled,
  awaitValue,
  GATEWAY_SCENARIO,
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
import { skip as skipSoak } from './soak.ts';

const NAME = 'soak-alone';
const PATIENCE_MS = 30_000;
const CONNECTIONS = 6;
const PORT = 4_321;

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

describe('Cassandra alone', { skip: skipSoak }, () => {
  let lab: Lab;

  before(async () => {
    await labDown(NAME);
    ({ lab } = await labUp(GATEWAY_SCENARIO, { name: NAME, archive: 'cassandra' }));
  });
  after(() => labDown(NAME));

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
});
