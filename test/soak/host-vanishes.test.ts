/**
 * A host is gone from one moment to the next, with its cables: on an ensemble, where an API's process cleans up behind it. What it had learned
 * goes, its ports of source NAT are nobody's until they have cooled, and who sends to what was behind it is told so.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  awaitValue,
  bridgeId,
  comeBack,
  DEFAULT_SCENARIO,
  describeLoad,
  GATEWAY_SCENARIO,
  inNetns,
  killApi,
  type Lab,
  labDown,
  labUp,
  requireHost,
  requireVm,
  restartApi,
  routerId,
  startLoad,
  takenNumbers,
  tryRun,
  vanish,
} from '@weft/lab';
import { needsServer } from '@weft/zookeeper/testing';
import { skip as skipSoak } from './soak.ts';

const GRACE_S = 3;
const PATIENCE_MS = 60_000;
const skip = skipSoak || needsServer();

async function ping(lab: Lab, from: string, address: string, count = 3): Promise<string> {
  const argv = ['ping', '-n', '-c', String(count), '-i', '0.2', '-W', '1', address];
  return (await tryRun(inNetns(requireVm(lab, from).namespace, argv))).stdout;
}

const absent = (lab: Lab, hostId: string) =>
  awaitValue('the store to give up the host', PATIENCE_MS, async () =>
    (await lab.api.get<{ alive: boolean }>(`/hosts/${hostId}`)).alive ? undefined : true,
  );

describe('a host with a VM that was learned of', { skip }, () => {
  const name = 'soak-zkgone';
  let lab: Lab;

  before(async () => {
    await labDown(name);
    ({ lab } = await labUp(DEFAULT_SCENARIO, { name, store: 'zookeeper' }));
    await killApi(lab);
    await restartApi(lab, GRACE_S);
  });
  after(() => labDown(name));

  test('its MACs and its neighbours go, senders hear of it, and all is well when it is back', async (t) => {
    const vm = requireVm(lab, 'blue-u1');
    const host = requireHost(lab.plan, vm.host);
    const bridge = `/bridges/${bridgeId('blue', 'left')}`;
    const [address] = vm.addresses;
    const { mac } = vm.interfaces[0]!;
    const macs = async () =>
      (await lab.api.get<{ macAddr: string }[]>(`${bridge}/mac_table`)).map((one) => one.macAddr);
    // Another bridge: the router asks for it, and hears of it by whoever is asked.
    assert.match(await ping(lab, 'blue-b1', address!), / 0% packet loss/);
    await awaitValue('its MAC', PATIENCE_MS, async () => ((await macs()).includes(mac) ? true : undefined));
    // What goes on between the others.
    const others = requireVm(lab, 'blue-b2');
    const load = await startLoad(requireVm(lab, 'blue-a1'), others, others.addresses[0]!);
    await vanish(lab, host);
    try {
      await absent(lab, host.id);
      await awaitValue('the MAC to go', PATIENCE_MS, async () => ((await macs()).includes(mac) ? undefined : true));
      const told = await awaitValue('an error from the router', PATIENCE_MS, async () => {
        const output = await ping(lab, 'blue-b1', address!);
        return /Destination (Host|Net) Unreachable/.test(output) ? output : undefined;
      });
      assert.doesNotMatch(told, / 0% packet loss/);
    } finally {
      await comeBack(lab, host);
    }
    const report = await load.stop();
    t.diagnostic(describeLoad(report));
    assert.equal(report.probe.lost, 0);
    assert.equal(report.connections.failed, 0);
    assert.equal(report.transfer.broken, false);
    await awaitValue('answers of the VM', PATIENCE_MS, async () =>
      / 0% packet loss/.test(await ping(lab, 'blue-b1', address!)) ? true : undefined,
    );
    await awaitValue('its MAC', PATIENCE_MS, async () => ((await macs()).includes(mac) ? true : undefined));
  });
});

describe('a host that translates', { skip }, () => {
  const name = 'soak-zknat';
  let lab: Lab;

  before(async () => {
    await labDown(name);
    ({ lab } = await labUp(GATEWAY_SCENARIO, { name, store: 'zookeeper' }));
    await killApi(lab);
    await restartApi(lab, GRACE_S);
  });
  after(() => labDown(name));

  test('its ports are nobody else’s before they have cooled', async () => {
    const host = requireHost(lab.plan, requireVm(lab, 'green-a1').host);
    const pool = `nat/${routerId('green', 'edge')}/192.0.2.1`;
    assert.match(await ping(lab, 'green-a1', '198.51.100.1'), / 0% packet loss/);
    const mine = async () => (await takenNumbers(lab.plan, pool)).filter(({ hostId }) => hostId === host.id);
    const held = (await mine()).filter(({ coolsFor }) => coolsFor === null).map(({ index }) => index);
    assert.ok(held.length > 0);
    await vanish(lab, host);
    try {
      await absent(lab, host.id);
      const cooling = await awaitValue('its numbers to cool', PATIENCE_MS, async () => {
        const now = (await mine())
          .filter(({ coolsFor }) => coolsFor !== null && coolsFor > 0)
          .map(({ index }) => index);
        return held.every((index) => now.includes(index)) ? now : undefined;
      });
      // The others go on with numbers of their own.
      const other = lab.plan.vms.find(
        (vm) => vm.tenant === 'green' && vm.host !== host.name && vm.name !== 'green-b1',
      )!;
      assert.match(await ping(lab, other.name, '198.51.100.1'), / 0% packet loss/);
      const theirs = (await takenNumbers(lab.plan, pool)).filter(({ hostId }) => hostId !== host.id);
      assert.deepEqual(
        theirs.filter(({ index }) => cooling.includes(index)),
        [],
      );
    } finally {
      await comeBack(lab, host);
    }
    assert.match(await ping(lab, 'green-a1', '198.51.100.1'), / 0% packet loss/);
  });
});
