/** The fabric and the VMs as the kernel sees them, without any agent. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { inNetns, ipBatch, tryRun } from '../exec.ts';
import { DEFAULT_SCENARIO } from '../lab.ts';
import { planLab } from '../plan.ts';
import { parseScenario } from '../scenario/parse.ts';
import { waitUntil } from '../wait.ts';
import { createFabric } from './fabric.ts';
import { labNamespaces, removeNamespaces } from './teardown.ts';
import { createVms } from './vms.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const plan = planLab(parseScenario(await readFile(DEFAULT_SCENARIO, 'utf8'), 'default.yaml'), { name: 'nettest' });

describe('network of a lab', { skip }, () => {
  const cleanUp = () => removeNamespaces(plan.name);
  before(async () => {
    await cleanUp();
    await createFabric(plan);
    await createVms(plan);
  });
  after(cleanUp);

  const [one, two] = plan.hosts;
  const reaches = async (from: string, to: string) =>
    (await tryRun(inNetns(from, ['ping', '-c', '1', '-W', '1', to]))).code === 0;

  test('hosts reach each other by their tunnel addresses, over IPv4 and IPv6', async () => {
    assert.ok(await reaches(one!.namespace, two!.tunnelAddress4));
    assert.ok(await reaches(one!.namespace, two!.tunnelAddress6));
  });

  for (const link of [0, 1]) {
    test(`without its link ${link} a host is still reached, and again with it`, async () => {
      const { fabricInterface } = two!.links[link]!;
      await ipBatch(plan.fabric, [`link set ${fabricInterface} down`]);
      assert.ok(await waitUntil(() => reaches(one!.namespace, two!.tunnelAddress4), 3000));
      assert.ok(await waitUntil(() => reaches(one!.namespace, two!.tunnelAddress6), 3000));
      await ipBatch(plan.fabric, [`link set ${fabricInterface} up`]);
      const other = two!.links[1 - link]!.fabricInterface;
      await ipBatch(plan.fabric, [`link set ${other} down`]);
      assert.ok(await waitUntil(() => reaches(one!.namespace, two!.tunnelAddress4), 3000));
      assert.ok(await waitUntil(() => reaches(one!.namespace, two!.tunnelAddress6), 3000));
      await ipBatch(plan.fabric, [`link set ${other} up`]);
    });
  }

  test('VMs have their addresses, routes and the MTU of the tunnels', async () => {
    const vm = plan.vms[0]!;
    const routes = (await tryRun(['ip', '-n', vm.namespace, 'route'])).stdout;
    assert.match(routes, /default via 10\.1\.0\.1 dev eth0/);
    const link = (await tryRun(['ip', '-n', vm.namespace, 'link', 'show', 'eth0'])).stdout;
    assert.match(link, /mtu 1450/);
    assert.match(link, /02:00:00:00:01:11/);
  });

  test('everything goes by name alone', async () => {
    assert.equal(labNamespaces(plan.name).length, 1 + plan.hosts.length + plan.vms.length);
    await removeNamespaces(plan.name);
    assert.deepEqual(labNamespaces(plan.name), []);
  });
});
