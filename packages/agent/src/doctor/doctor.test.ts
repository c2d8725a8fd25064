/** Verdicts, without a host: what the probes' numbers, the counters and the store's records mean. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EnsembleServer } from '@weft/nsdb/client';
import { parseConfig } from '../config.ts';
import { DOCTOR_CHECKS } from './doctor.ts';
import { ok, reportOf, runChecks, warn } from './finding.ts';
import { caps, flowTable, hosts, revision, versions } from './health.ts';
import { isKernelAtLeast, isStep } from './machine.ts';
import type { PathResult } from './prober.ts';
import { storeAnswers, storeServers } from './store.ts';
import type { AgentStatus, Peer, StoreFacts, Surroundings } from './surroundings.ts';
import { judge, tunnelAddress, tunnelZone } from './underlay.ts';

const ME = 'a';
const status = (fields: Partial<AgentStatus> = {}): AgentStatus => ({
  hostId: ME,
  pid: 1,
  storeUp: true,
  session: true,
  revision: 10,
  applied: 10,
  flows: 5,
  flowsMax: 100,
  flowsRefused: 0,
  evicted: 0,
  waiting: 0,
  errors: 0,
  drops: {},
  ports: [],
  tunnels: [],
  ...fields,
});
const member = (host: string, address: string, type = 'vxlan') => ({
  zone: 'z',
  zoneName: 'fabric',
  type,
  host,
  address,
});
const store = (fields: Partial<StoreFacts> = {}): StoreFacts => ({
  latencyMs: 1,
  revision: 10,
  convergence: [],
  hostNames: new Map([
    ['a', 'h1'],
    ['b', 'h2'],
  ]),
  members: [member('a', '10.0.0.1'), member('b', '10.0.0.2')],
  ports: [],
  versions: new Map(),
  ...fields,
});
const host = (fields: Partial<Surroundings> = {}): Surroundings => ({
  config: parseConfig({}),
  hostId: ME,
  links: [],
  addresses: [{ ifindex: 1, family: 4, address: '10.0.0.1', prefixLength: 32, peer: '10.0.0.1', scope: 0, flags: 0 }],
  neighbours: [],
  agent: status(),
  agentError: '',
  agentLater: status(),
  store: store(),
  storeError: '',
  storeCodes: [],
  servers: null,
  peers: [],
  underlay: [],
  ports: [],
  ...fields,
});
type Verdict = { status: string; subject: string; seen: string; fix: string };
const only = async (check: (typeof DOCTOR_CHECKS)[number], s: Surroundings): Promise<Verdict> => {
  const results = await check.run(s);
  assert.equal(results.length, 1, JSON.stringify(results));
  return results[0]!;
};

describe('tunnel MTU', () => {
  const peer: Peer = {
    hostId: 'b',
    name: 'h2',
    local: '10.0.0.1',
    remote: '10.0.0.2',
    path: { hops: [{ ifindex: 2, gateway: '10.1.0.1' }], mtu: 1500 },
    tunnelMtu: 1450,
  };
  const all: PathResult = {
    ifindex: 2,
    size: 1500,
    by: 'tcp',
    flows: 12,
    passed: 12,
    refused: 0,
    mtu: 0,
    router: '',
    swallowed: 0,
    passes: 0,
    errno: 0,
  };
  const verdict = (fields: Partial<PathResult>) => judge(host(), peer, { ...all, ...fields });

  test('is in order when all flows pass', () => assert.equal(verdict({}), undefined));
  test('tells what a router said, and what the VMs may send then', () => {
    const result = verdict({ passed: 8, refused: 4, mtu: 1400, router: '10.1.0.1' })!;
    assert.equal(result.status, 'fail');
    assert.match(result.seen, /4 of 12 flows .* 1400 bytes only, not 1500 \(says 10\.1\.0\.1\)/);
    assert.match(result.fix, /the VMs 1350/);
  });
  test('tells of silence', () => {
    assert.match(verdict({ passed: 6, swallowed: 6, passes: 1400 })!.seen, /without a word; 1400 bytes pass/);
  });
  test('does not call a peer broken that answers no probe', () => {
    assert.equal(verdict({ by: 'none', passed: 0 })!.status, 'warn');
  });
  test('calls a path broken that loses everything while others answer', () => {
    assert.equal(verdict({ passed: 6 })!.status, 'fail');
  });
});

describe('tunnel zones', () => {
  test('in order', async () => assert.equal((await only(tunnelZone, host())).status, 'ok'));
  test('in none', async () => {
    const s = host({ store: store({ members: [member('b', '10.0.0.2')] }) });
    assert.match((await only(tunnelZone, s)).seen, /in none/);
  });
  test('of another type', async () => {
    const s = host({ store: store({ members: [member('a', '10.0.0.1', 'gre')] }) });
    assert.match((await only(tunnelZone, s)).seen, /another type/);
  });
  test('two hosts with one address', async () => {
    const s = host({ store: store({ members: [member('a', '10.0.0.1'), member('b', '10.0.0.1')] }) });
    const result = await only(tunnelAddress, s);
    assert.deepEqual([result.status, result.subject, result.seen], ['fail', '10.0.0.1', 'h1 and h2 have it both']);
  });
  test('an address that is not here', async () => {
    assert.equal((await only(tunnelAddress, host({ addresses: [] }))).status, 'fail');
  });
});

describe('health', () => {
  test('a revision that stands still, and one that is being caught up with', async () => {
    const behind = { store: store({ revision: 12 }) };
    assert.equal((await only(revision, host(behind))).status, 'warn');
    assert.equal((await only(revision, host({ ...behind, agentLater: status({ applied: 11 }) }))).status, 'ok');
    assert.equal((await only(revision, host())).status, 'ok');
  });
  test('a cap counts while it is being hit, not for ever', async () => {
    const before = status({ drops: { cap_macs: 5 } });
    assert.equal((await only(caps, host({ agent: before, agentLater: before }))).status, 'ok');
    const now = await only(caps, host({ agent: before, agentLater: status({ drops: { cap_macs: 7 } }) }));
    assert.deepEqual([now.status, now.subject], ['warn', 'cap_macs']);
    assert.match(now.seen, /^2 packets/);
  });
  test('a flow table that is nearly full, and one that refuses', async () => {
    assert.equal((await only(flowTable, host({ agentLater: status({ flows: 90 }) }))).status, 'warn');
    assert.equal((await only(flowTable, host({ agentLater: status({ flowsRefused: 1 }) }))).status, 'fail');
  });
  test('a host that is away, and one of another version', async () => {
    const convergence = [{ hostId: 'b', applied: null, reachable: false, unknownFor: null }];
    assert.equal((await only(hosts, host({ store: store({ convergence }) }))).subject, 'h2');
    const mixed = new Map([
      ['a', '2.0.0'],
      ['b', '1.0.0'],
    ]);
    assert.match(
      (await only(versions, host({ store: store({ versions: mixed }) }))).seen,
      /runs 1\.0\.0, this host 2\.0\.0/,
    );
  });
  test('a stepped clock is told from a slewed one', () => {
    const day = 86_400_000;
    assert.equal(isStep(40_000, day), false);
    assert.equal(isStep(-50_000, day), true);
    assert.equal(isStep(1_500, 1_000), true);
  });
  test('a store that refuses us is told from one that is away', async () => {
    const refused = (...storeCodes: string[]) => only(storeAnswers, host({ store: null, storeError: 'x', storeCodes }));
    assert.match((await refused('WEFT_STORE_AWAY', 'WEFT_ZK_AUTH_FAILED')).fix, /user or password/);
    assert.match((await refused('WEFT_STORE_DENIED')).fix, /"access"/);
    assert.match((await refused('WEFT_STORE_INSECURE')).fix, /"auth" and "tls"/);
    assert.match((await refused('WEFT_STORE_AWAY')).fix, /start `weft api`/);
  });
  test('of the servers of an ensemble a majority is needed, and one leader', async () => {
    const server = (name: string, state: EnsembleServer['state'], role = ''): EnsembleServer => ({
      server: name,
      state,
      role,
      latencyMs: state === 'serving' ? 1 : null,
      znodes: null,
      error: '',
    });
    const verdict = async (...servers: EnsembleServer[]) =>
      (await storeServers.run(host({ servers }))).map(({ status }) => status);
    const [leader, follower] = [server('a', 'serving', 'leader'), server('b', 'serving', 'follower')];
    assert.deepEqual(await verdict(leader, follower, server('c', 'serving', 'follower')), ['ok', 'ok', 'ok']);
    assert.deepEqual(await verdict(leader, follower, server('c', 'away')), ['ok', 'ok', 'warn']);
    assert.deepEqual(await verdict(server('a', 'waiting'), server('b', 'away'), server('c', 'away')), [
      'fail',
      'fail',
      'fail',
    ]);
    assert.deepEqual(await verdict(leader, server('b', 'serving', 'leader'), follower), ['ok', 'ok', 'ok', 'fail']);
    assert.deepEqual(await verdict(leader, follower, server('c', 'untrusted')), ['ok', 'ok', 'warn']);
  });
  test('kernel releases', () => {
    assert.ok(isKernelAtLeast('6.18.44-amd64', [6, 3]));
    assert.ok(isKernelAtLeast('6.3.0', [6, 3]));
    assert.ok(isKernelAtLeast('7.0', [6, 3]));
    assert.ok(!isKernelAtLeast('6.1.0-18-amd64', [6, 3]));
  });
});

describe('report', () => {
  test('a check that breaks does not end the others', async () => {
    const broken = { id: 'a', asks: '', why: '', run: () => Promise.reject(new Error('boom')) };
    const good = { id: 'b', asks: '', why: 'because', run: () => [ok('fine'), warn('x', 'bad', 'mend')] };
    const report = reportOf('h', await runChecks<object>([broken, good], {}));
    assert.deepEqual(
      report.findings.map((f) => `${f.check} ${f.status}`),
      ['a warn', 'b ok', 'b warn'],
    );
    assert.deepEqual([report.ok, report.warn, report.fail, report.skip], [1, 2, 0, 0]);
  });
  test('without agent and store nothing is guessed', async () => {
    const s = host({ agent: null, agentLater: null, store: null, hostId: null });
    const stateless = [
      'agent',
      'store',
      'revision',
      'hosts',
      'versions',
      'tunnel-zone',
      'tunnel-address',
      'peer-routes',
    ];
    for (const check of DOCTOR_CHECKS.filter(({ id }) => stateless.includes(id))) {
      const expected = ['agent', 'store'].includes(check.id) ? 'fail' : 'skip';
      assert.equal((await only(check, s)).status, expected, check.id);
    }
  });
  test('every check has a name of its own, a question and a reason', () => {
    assert.equal(new Set(DOCTOR_CHECKS.map(({ id }) => id)).size, DOCTOR_CHECKS.length);
    for (const { asks, why } of DOCTOR_CHECKS) {
      assert.match(asks, /\?/);
      assert.notEqual(why, '');
    }
  });
});
