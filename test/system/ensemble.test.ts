/** The lab on three servers of ZooKeeper: agents that reach the store by themselves, with TLS and credentials, and no API in between. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  agentRequest,
  askServer,
  awaitConvergence,
  awaitValue,
  cutManagement,
  DEFAULT_SCENARIO,
  healManagement,
  killServers,
  type Lab,
  labDown,
  labUp,
  restartServers,
  runChecks,
  runChecksWithoutApi,
  serverRoles,
} from '@weft/lab';
import { needsServer } from '@weft/zookeeper/testing';

const NAME = 'sys-zk';
const weft = resolve(import.meta.dirname, '../../weft');
const skip = process.getuid?.() === 0 ? needsServer() : 'needs root';

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(weft, args, { encoding: 'utf8', timeout: 120_000 });
  return { status, stdout, stderr };
}

/** Bridges with a port that concern no host. @returns their ids */
async function growForeign({ api }: Lab, count: number): Promise<string[]> {
  const made: string[] = [];
  for (let i = 0; i < count; i++) {
    const { location } = await api.post('/bridges', { name: `elsewhere-${i}`, tenantId: 'elsewhere' });
    const id = location!.split('/').at(-1)!;
    made.push(id);
    await api.post(`/bridges/${id}/ports`, {});
  }
  return made;
}

/** Watches that each agent has at the servers, and bytes that it has read of the store, once all have applied what there is. */
async function consumption(lab: Lab): Promise<{ watches: number[]; bytes: number[] }> {
  await awaitConvergence(lab.api);
  const lists = await Promise.all(lab.plan.management!.servers.map((server) => askServer(server, 'wchc')));
  // A line per session, below it one for each path.
  const sessions = lists
    .join('\n')
    .split(/^0x/m)
    .map((text) => text.split('\n\t').slice(1));
  const agents = sessions.filter((paths) => paths.some((path) => path.includes('/n/o/Port/')));
  const bytes = await Promise.all(
    lab.plan.hosts.map(async (host) => {
      const { bytesReceived } = await agentRequest<{ bytesReceived: number }>(lab.plan, host, 'GET', '/status');
      return bytesReceived;
    }),
  );
  return { watches: agents.map((paths) => paths.length).sort((a, b) => a - b), bytes };
}

describe('default scenario on an ensemble', { skip }, () => {
  let lab: Lab;

  before(async () => {
    await labDown(NAME);
    ({ lab } = await labUp(DEFAULT_SCENARIO, { name: NAME, store: 'zookeeper' }));
  });
  after(() => labDown(NAME));

  const green = async (report: Promise<{ checks: readonly { name: string; ok: boolean; seen: string }[] }>) =>
    assert.deepEqual(
      (await report).checks.filter(({ ok }) => !ok).map(({ name, seen }) => `${name}: ${seen}`),
      [],
    );

  test('one server leads, two follow; status names them; secrets are for root alone', async () => {
    const { followers } = await serverRoles(lab);
    assert.equal(followers.length, 2);
    const { stdout } = run('lab', 'status', '--name', NAME);
    assert.match(stdout, /zk1.*10\.253\.0\.11.*(leader|follower)/);
    const files = [
      lab.plan.paths.storeConfig,
      ...lab.plan.hosts.map(({ name }) => lab.plan.paths.host(name).storeConfig),
    ];
    for (const file of files) assert.equal(statSync(file).mode & 0o777, 0o600, file);
  });

  test('whoever has no credentials, or speaks without TLS, sees nothing', () => {
    const { namespace, servers, connectString } = lab.plan.management!;
    const inside = (...words: string[]) =>
      spawnSync('nsenter', [`--net=/run/netns/${namespace}`, weft, 'store', 'status', ...words], { encoding: 'utf8' });
    assert.match(inside('--zookeeper', connectString).stderr, /WEFT_STORE_INSECURE/);
    assert.notEqual(
      spawnSync('nsenter', [`--net=/run/netns/${namespace}`, 'ncat', '-w', '1', servers[0]!.address, '2181']).status,
      0,
    );
    // A host's own credentials make no hosts, nor anything else of the topology.
    const { storeConfig } = lab.plan.paths.host(lab.plan.hosts[0]!.name);
    const add = [weft, 'store', 'add-host', 'x', '--zookeeper', connectString, '--zookeeper-config', storeConfig];
    const byHost = spawnSync('nsenter', [`--net=/run/netns/${namespace}`, ...add], { encoding: 'utf8' });
    assert.match(byHost.stderr, /WEFT_STORE_DENIED/);
    const status = run('store', 'status', '--lab', NAME);
    assert.equal(status.status, 0, status.stderr);
    assert.equal(status.stdout.match(/reachable/g)?.length, lab.plan.hosts.length);
  });

  test('with the API stopped new flows are set up, and agents come back', async () => {
    await green(
      runChecksWithoutApi(lab, [
        'ping-l2-remote',
        'ping-l3-remote',
        'isolation',
        'mac-moves',
        'agent-restart',
        'doors',
      ]),
    );
  });

  test('what needs the API follows changes through the ensemble', async () => {
    await green(runChecks(lab, ['change-rule']));
  });

  test('ten times as much foreign topology leaves the watches of an agent, and what it reads, as they are', async () => {
    const made = await growForeign(lab, 20);
    const before = await consumption(lab);
    made.push(...(await growForeign(lab, 200)));
    const afterwards = await consumption(lab);
    for (const bridge of made) await lab.api.delete(`/bridges/${bridge}`);
    assert.equal(before.watches.length, lab.plan.hosts.length);
    assert.ok(before.watches.every((count) => count > 5));
    assert.deepEqual(afterwards, before);
  });

  test('the leader is killed, and changes are followed all the same', async () => {
    const { leader } = await serverRoles(lab);
    await killServers(lab, [leader]);
    assert.notEqual((await serverRoles(lab)).leader.name, leader.name);
    // The API was connected to one of them, and may be on its way to another.
    await awaitValue('the API', 20_000, () => lab.api.get('/hosts').catch(() => undefined));
    await green(runChecks(lab, ['change-rule']));
    await restartServers(lab, [leader]);
  });

  test('a host cut off from the store goes on, and its doctor says what it lacks', async () => {
    const [host] = lab.plan.hosts;
    const storeUp = async () => (await agentRequest<{ storeUp: boolean }>(lab.plan, host!, 'GET', '/status')).storeUp;
    await cutManagement(lab.plan.management!, host!.name);
    try {
      while (await storeUp()) await new Promise((resolve) => setTimeout(resolve, 50));
      await green(runChecks(lab, ['ping-l2-remote', 'ping-l3-remote']));
      const report = await agentRequest<{ findings: { check: string; status: string }[] }>(
        lab.plan,
        host!,
        'GET',
        '/doctor',
        60_000,
      );
      const failed = report.findings.filter(({ status }) => status === 'fail').map(({ check }) => check);
      assert.deepEqual(failed, ['store', 'store-servers', 'store-servers', 'store-servers']);
    } finally {
      await healManagement(lab.plan.management!, host!.name);
    }
    while (!(await storeUp())) await new Promise((resolve) => setTimeout(resolve, 50));
    await green(runChecks(lab, ['change-rule']));
  });

  test('down leaves nothing: no process, no namespace, no file', async () => {
    const pids = Object.values(lab.state.processes.servers!).map(({ pid }) => pid);
    await labDown(NAME);
    assert.ok(!existsSync(lab.plan.paths.directory));
    assert.doesNotMatch(spawnSync('ip', ['netns'], { encoding: 'utf8' }).stdout, new RegExp(`weft-${NAME}--`));
    const commands = pids
      .filter((pid) => existsSync(`/proc/${pid}`))
      .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    assert.deepEqual(
      commands.filter((text) => text.includes(NAME)),
      [],
    );
  });
});
