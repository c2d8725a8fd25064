/** Cassandra is killed while connections through NAT go on and come about: nothing is lost, and it is written to again when it is back. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  agentRequest,
  awaitValue,
  describeLoad,
  GATEWAY_SCENARIO,
  killArchive,
  type Lab,
  labDown,
  labUp,
  requireHost,
  requirePlace,
  requireVm,
  restartArchive,
  sleep,
  startLoad,
} from '@weft/lab';
import { needsServer } from '@weft/zookeeper/testing';
import { skip } from './soak.ts';

const NAME = 'soak-zkarch';
const PATIENCE_MS = 60_000;
const AROUND_MS = 2_000;
/** Before it is started again, which takes some 15 s more. */
const AWAY_MS = 5_000;

describe('an archive in Cassandra', { skip: skip || needsServer() }, () => {
  let lab: Lab;

  before(async () => {
    await labDown(NAME);
    ({ lab } = await labUp(GATEWAY_SCENARIO, { name: NAME, store: 'zookeeper', archive: 'cassandra' }));
  });
  after(() => labDown(NAME));

  test('its end costs no packet and no connection, and it is caught up with', async (t) => {
    const [vm, inet] = [requireVm(lab, 'green-a1'), requirePlace(lab, 'inet')];
    const host = requireHost(lab.plan, vm.host);
    const archive = async () =>
      (await agentRequest<{ archive: { up: boolean; written: number } }>(lab.plan, host, 'GET', '/status')).archive;
    const load = await startLoad(vm, inet, inet.addresses[0]!);
    await sleep(AROUND_MS);
    const before = await awaitValue('connections in the archive', PATIENCE_MS, async () => {
      const now = await archive();
      return now.up && now.written > 0 ? now : undefined;
    });
    await killArchive(lab);
    await awaitValue('the agent to miss it', PATIENCE_MS, async () => ((await archive()).up ? undefined : true));
    await sleep(AWAY_MS);
    await restartArchive(lab);
    await awaitValue('the agent to write again', PATIENCE_MS, async () => {
      const now = await archive();
      return now.up && now.written > before.written ? true : undefined;
    });
    await sleep(AROUND_MS);
    const report = await load.stop();
    t.diagnostic(describeLoad(report));
    assert.equal(report.probe.lost, 0);
    assert.ok(report.probe.alive);
    assert.equal(report.connections.failed, 0);
    assert.ok(report.connections.opened > 0);
    assert.equal(report.transfer.broken, false);
  });
});
