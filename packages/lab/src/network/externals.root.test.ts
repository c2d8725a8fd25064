/** Outside networks as the kernel sees them, without any agent. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { inNetns, ipBatch, run, tryRun } from '../exec.ts';
import { GATEWAY_SCENARIO } from '../lab.ts';
import { planLab } from '../plan.ts';
import { parseScenario } from '../scenario/parse.ts';
import { waitUntil } from '../wait.ts';
import { createExternals } from './externals.ts';
import { createFabric } from './fabric.ts';
import { labNamespaces, removeNamespaces } from './teardown.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
// Two hosts: both links are folded onto hosts that have VMs too.
const options = { name: 'exttest', hosts: 2 };
const plan = planLab(parseScenario(await readFile(GATEWAY_SCENARIO, 'utf8'), 'gateway.yaml'), options);

describe('outside networks of a lab', { skip }, () => {
  const cleanUp = () => removeNamespaces(plan.name);
  before(async () => {
    await cleanUp();
    await createFabric(plan);
    await createExternals(plan);
  });
  after(cleanUp);

  const [inet, far] = plan.externals;
  const deviceTo = async (address: string) =>
    /dev (\S+)/.exec(await run(inNetns(inet!.namespace, ['ip', 'route', 'get', address])))?.[1];

  test('each link is a veth between its gateway host and the outside', async () => {
    for (const link of inet!.links) {
      const host = plan.hosts.find(({ name }) => name === link.host)!;
      assert.match(await run(['ip', '-n', host.namespace, 'link', 'show', link.hostInterface]), /state UP/);
      const outer = await run(['ip', '-n', inet!.namespace, 'addr', 'show', link.device]);
      for (const cidr of link.peerCidrs) assert.ok(outer.includes(` ${cidr} `), outer);
      assert.ok(outer.includes(link.deviceMac));
    }
  });

  test('the way back is the first whose link is up', async () => {
    assert.equal(await deviceTo('192.0.2.1'), 'link1');
    assert.equal(await deviceTo('192.0.2.20'), 'link0');
    const { host, hostInterface } = inet!.links[1]!;
    const { namespace } = plan.hosts.find(({ name }) => name === host)!;
    await ipBatch(namespace, [`link set ${hostInterface} down`]);
    assert.ok(await waitUntil(async () => (await deviceTo('192.0.2.1')) === 'link0', 3000));
    await ipBatch(namespace, [`link set ${hostInterface} up`]);
    assert.ok(await waitUntil(async () => (await deviceTo('192.0.2.1')) === 'link1', 3000));
  });

  test('what is behind another is reached through it, over IPv4 and IPv6', async () => {
    for (const address of far!.addresses) {
      assert.equal((await tryRun(inNetns(inet!.namespace, ['ping', '-c', '1', '-W', '1', address]))).code, 0, address);
    }
    const route = await run(['ip', '-n', far!.namespace, 'route']);
    assert.match(route, /default via 100\.64\.1\.1 .*advmss 1460/);
    assert.match(await run(['ip', '-n', far!.namespace, 'link', 'show', far!.behind!.device]), /mtu 1300/);
  });

  test('everything goes by name alone', async () => {
    assert.equal(labNamespaces(plan.name).length, 1 + plan.hosts.length + plan.externals.length);
    await removeNamespaces(plan.name);
    assert.deepEqual(labNamespaces(plan.name), []);
  });
});
