/**
 * What breaks around the store, while a probe each millisecond, a long transfer and new connections go on between two hosts: nothing of
 * it may be lost. Takes about six minutes.
 */
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import {
  agentRequest,
  awaitSettled,
  awaitValue,
  bridgeId,
  cutManagement,
  DEFAULT_SCENARIO,
  describeLoad,
  type HostPlan,
  healManagement,
  inNetns,
  killAgent,
  killApi,
  killServers,
  type Lab,
  type LoadReport,
  labDown,
  labUp,
  requireHost,
  requireVm,
  restartAgent,
  restartApi,
  restartServers,
  restartStore,
  serverRoles,
  sleep,
  startLoad,
  tryRun,
} from '@weft/lab';
import { needsServer } from '@weft/zookeeper/testing';
import { skipInHaste } from './soak.ts';

const NAME = 'soak-zkfault';
/** Until a host that is absent, and that nobody vouches for (peers do so each 5 s), is given up, s. Sessions last 5 s. */
const GRACE_S = 12;
const PAST_EXPIRY_MS = 9_000;
const PAST_GRACE_MS = 35_000;
const AWAY_MS = 60_000;
const AROUND_MS = 1_500;

describe('faults around the store', { skip: skipInHaste || needsServer() }, () => {
  let lab: Lab;
  let victim: HostPlan;

  before(async () => {
    await labDown(NAME);
    ({ lab } = await labUp(DEFAULT_SCENARIO, { name: NAME, store: 'zookeeper' }));
    await killApi(lab);
    await restartApi(lab, GRACE_S);
    victim = requireHost(lab.plan, requireVm(lab, 'blue-u1').host);
  });
  after(() => labDown(NAME));

  /** From a VM that its bridge was told of to one on another host that it has to learn of. */
  async function underLoad(t: TestContext, fault: () => Promise<void>): Promise<LoadReport> {
    const [from, to] = [requireVm(lab, 'blue-a1'), requireVm(lab, 'blue-u1')];
    const load = await startLoad(from, to, to.addresses[0]!);
    await sleep(AROUND_MS);
    let failure: unknown;
    await fault().catch((error) => (failure = error));
    await sleep(AROUND_MS);
    const report = await load.stop();
    t.diagnostic(describeLoad(report));
    if (failure !== undefined) throw failure;
    return report;
  }

  async function withLoad(t: TestContext, fault: () => Promise<void>): Promise<void> {
    const report = await underLoad(t, fault);
    assert.equal(report.probe.lost, 0);
    assert.ok(report.probe.alive);
    assert.equal(report.connections.failed, 0);
    assert.ok(report.connections.opened > 0);
    assert.equal(report.transfer.broken, false);
  }

  /** Hosts that the store takes for connected. */
  const present = async () =>
    (await lab.api.get<{ id: string; alive: boolean }[]>('/hosts')).filter(({ alive }) => alive).map(({ id }) => id);

  /** MACs that hosts have learned for themselves, in the network of the load. */
  const learned = async () =>
    (await lab.api.get<{ macAddr: string; learned: boolean }[]>(`/bridges/${bridgeId('blue', 'left')}/mac_table`))
      .filter((entry) => entry.learned)
      .map(({ macAddr }) => macAddr);

  const macOf = (name: string) => requireVm(lab, name).interfaces[0]!.mac;

  /** All flows of the hosts are decided anew. */
  const flush = () => Promise.all(lab.plan.hosts.map((host) => agentRequest(lab.plan, host, 'POST', '/flows/flush')));

  async function pings(from: string, to: string): Promise<number> {
    const argv = ['ping', '-n', '-c', '20', '-i', '0.02', '-W', '1', requireVm(lab, to).addresses[0]!];
    const { stdout } = await tryRun(inNetns(requireVm(lab, from).namespace, argv));
    return Number(/(\d+) received/.exec(stdout)?.[1]);
  }

  const roundTrips = async () =>
    Promise.all([pings('blue-a1', 'blue-u1'), pings('blue-a2', 'blue-b3'), pings('blue-b3', 'blue-a2')]);

  test('what is lost shows: a wire that carries nothing for a while', async (t) => {
    const { namespace } = requireVm(lab, 'blue-u1');
    const cable = (state: string) => tryRun(['ip', '-n', namespace, 'link', 'set', 'eth0', state]);
    const report = await underLoad(t, async () => {
      await cable('down');
      await sleep(6_000);
      await cable('up');
    });
    // It slows down while nobody answers.
    assert.ok(report.probe.lost > 100);
    assert.ok(report.connections.failed > 0);
    assert.ok(report.transfer.stalls > 10);
  });

  test('the leader is killed', (t) =>
    withLoad(t, async () => {
      const { leader } = await serverRoles(lab);
      await killServers(lab, [leader]);
      await serverRoles(lab);
      await awaitSettled(lab);
      await restartServers(lab, [leader]);
    }));

  test('a follower is killed', (t) =>
    withLoad(t, async () => {
      const { followers } = await serverRoles(lab);
      await killServers(lab, followers.slice(0, 1));
      await awaitSettled(lab);
      await restartServers(lab, followers.slice(0, 1));
    }));

  test(`all servers are away for ${AWAY_MS / 1000} s: what is known goes on, new flows and learned MACs included`, async (t) => {
    assert.deepEqual(await roundTrips(), [20, 20, 20]);
    await withLoad(t, async () => {
      await killServers(lab, lab.plan.management!.servers);
      try {
        for (let passed = 0; passed < AWAY_MS; passed += AWAY_MS / 3) {
          await flush();
          assert.deepEqual(await roundTrips(), [20, 20, 20]);
          await sleep(AWAY_MS / 3);
        }
      } finally {
        await restartStore(lab);
      }
      await awaitSettled(lab);
    });
    assert.ok((await learned()).includes(macOf('blue-u1')));
  });

  test('a host is cut off from the store past the end of its session, and comes back with another', (t) =>
    withLoad(t, async () => {
      // What is not known yet cannot be asked for.
      assert.deepEqual(await roundTrips(), [20, 20, 20]);
      await cutManagement(lab.plan.management!, victim.name);
      await sleep(PAST_EXPIRY_MS);
      await flush();
      assert.deepEqual(await roundTrips(), [20, 20, 20]);
      await healManagement(lab.plan.management!, victim.name);
      await awaitSettled(lab);
    }));

  test('a host is cut off past its grace time: while its tunnels work, it stays, and so does what it has learned', (t) =>
    withLoad(t, async () => {
      assert.ok((await learned()).includes(macOf('blue-u1')));
      // What is not known yet cannot be asked for.
      assert.deepEqual(await roundTrips(), [20, 20, 20]);
      await cutManagement(lab.plan.management!, victim.name);
      try {
        await sleep(PAST_GRACE_MS);
        assert.ok((await learned()).includes(macOf('blue-u1')), 'its MAC is gone');
        assert.ok((await present()).includes(victim.id), 'it is given up');
        await flush();
        assert.deepEqual(await roundTrips(), [20, 20, 20]);
      } finally {
        await healManagement(lab.plan.management!, victim.name);
      }
      await awaitSettled(lab);
      assert.ok((await learned()).includes(macOf('blue-u1')));
    }));

  test('agents are killed and come back', (t) =>
    withLoad(t, async () => {
      for (const host of lab.plan.hosts) {
        await killAgent(lab, host);
        await restartAgent(lab, host);
      }
      await awaitSettled(lab);
    }));

  test('every API is away', (t) =>
    withLoad(t, async () => {
      await killApi(lab);
      await flush();
      assert.deepEqual(await roundTrips(), [20, 20, 20]);
      await restartApi(lab, GRACE_S);
    }));

  test('after all of it changes are followed by every host', async () => {
    await awaitValue('all hosts', 20_000, async () =>
      (await present()).length === lab.plan.hosts.length ? true : undefined,
    );
    await awaitSettled(lab);
    assert.deepEqual(await roundTrips(), [20, 20, 20]);
  });
});
