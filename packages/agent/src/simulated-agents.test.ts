/** Agents on one real ZooKeeper server: each follows what its own ports need, and nothing else reaches it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, type Nsdb } from '@weft/nsdb';
import { until } from '@weft/nsdb/compliance';
import { addRule, updateObject } from '@weft/topology';
import { needsServer, startServers, type TestEnsemble } from '@weft/zookeeper/testing';
import { SimulatedAgent } from './testing/simulated-agent.ts';
import { type Cloud, createCloud } from './testing/tenants.ts';

const TENANTS = 15;
const skip = needsServer();
let ensemble: TestEnsemble;
let nsdb: Nsdb;
let cloud: Cloud;
const agents: SimulatedAgent[] = [];

before(async () => {
  if (skip) return;
  ensemble = await startServers();
  const store = { zookeeper: { servers: ensemble.connectString } };
  nsdb = await connect(store);
  cloud = await createCloud(nsdb, TENANTS);
  for (const [i, { id, ports }] of cloud.hosts.entries())
    agents.push(await SimulatedAgent.start({ hostId: id, name: `h${i}`, interfaces: ports, store }));
  await until(() => agents.every(({ isReady }) => isReady), 'all agents are ready');
  const written = async (table: string) => (await nsdb.entries(table)).length;
  await until(async () => (await written('flowstate/keys')) === agents.length, 'what agents write themselves is there');
  for (const { bound } of cloud.tenants)
    for (const { port } of bound) await until(async () => (await written(`active/${port}`)) === 1, `${port} is active`);
  await rest();
});
after(async () => {
  for (const agent of agents) await agent.close();
  await nsdb?.close();
  await ensemble?.close();
});

/** Until every agent has applied all that there is, and the entries that agents write themselves have gone round. */
async function rest(): Promise<void> {
  for (let revision = -1; ; ) {
    const before = revision;
    revision = await nsdb.revision();
    await until(() => agents.every(({ applied }) => applied.at(-1)!.revision >= revision), `revision ${revision}`);
    if (revision === before) return;
  }
}

/** Hosts that were handed content in between; all have applied the revision in the end. */
async function concerned(change: () => Promise<{ revision: number }>): Promise<number[]> {
  await rest();
  const before = agents.map(({ batches }) => batches);
  const { revision } = await change();
  await until(() => agents.every(({ applied }) => applied.at(-1)!.revision >= revision), 'all have applied it');
  await rest();
  return agents.flatMap(({ batches }, i) => (batches > before[i] ? [i] : []));
}

const placesOf = (tenant: number) =>
  [...new Set(cloud.tenants[tenant].bound.map(({ host }) => host))].sort((a, b) => a - b);

test('every bound port is active at its host', { skip }, () => {
  for (const [i, { datapath }] of agents.entries()) {
    const bound = cloud.tenants.flatMap(({ bound }) => bound.filter(({ host }) => host === i));
    assert.deepEqual([datapath.state.ports.size, bound.length], [cloud.hosts[i].ports, cloud.hosts[i].ports]);
    assert.deepEqual(agents[i].complaints, []);
  }
});

test('a change of a tenant wakes the hosts of its ports and no other; all say that they have applied it', {
  skip,
}, async () => {
  const places = placesOf(3);
  assert.ok(places.length < agents.length);
  const renamed = await concerned(() =>
    nsdb.transact(async (tx) => {
      const bridge = await tx.get('Bridge', cloud.tenants[3].bridges[0]);
      await updateObject(tx, 'Bridge', bridge!.id, { ...bridge!.value, name: 'renamed' });
    }),
  );
  assert.deepEqual(renamed, places);
  const ruled = await concerned(() =>
    nsdb.transact((tx) => addRule(tx, { chainId: cloud.tenants[3].chain, type: 'drop', nwProto: 17 })),
  );
  assert.deepEqual(ruled, places);
  const convergence = await nsdb.convergence();
  assert.equal(convergence.length, agents.length);
  assert.ok(convergence.every(({ reachable, unknownFor }) => reachable && unknownFor === null));
});

test('a change of what all tenants share reaches every host, one of a host nobody has ports on none', {
  skip,
}, async () => {
  const all = await concerned(() =>
    nsdb.transact((tx) => addRule(tx, { chainId: cloud.shared, type: 'drop', nwProto: 6 })),
  );
  assert.deepEqual(
    all,
    agents.map((_, i) => i),
  );
  assert.deepEqual(await concerned(() => nsdb.transact((tx) => tx.create('Bridge', { name: 'of nobody' }))), []);
});

test('an agent is subscribed to what its ports need, not to the cloud', { skip }, () => {
  const ports = (agent: SimulatedAgent) => [...agent.interests].filter((interest) => interest.startsWith('o/Port/'));
  for (const [i, agent] of agents.entries()) {
    const tenants = cloud.tenants.filter(({ bound }) => bound.some(({ host }) => host === i)).length;
    assert.ok(tenants < TENANTS);
    const read = ports(agent).length;
    assert.ok(read >= cloud.hosts[i].ports && read <= tenants * 40, `h${i} reads ${read} ports of ${tenants} tenants`);
  }
});
