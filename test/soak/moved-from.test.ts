/**
 * A VM goes on with its conversations on another host, and the host that it came from goes for good: that one's ports of source NAT would be
 * somebody else's once they have cooled, but for those that the VM's connections stand on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  awaitValue,
  comeBack,
  GATEWAY_SCENARIO,
  killApi,
  type Lab,
  labDown,
  labUp,
  MovingVm,
  requireHost,
  requireVm,
  restartApi,
  routerId,
  startServer,
  startTalk,
  takenNumbers,
  vanish,
} from '@weft/lab';
import { needsServer } from '@weft/zookeeper/testing';
import { skipInHaste } from './soak.ts';

const GRACE_S = 3;
/** It has to be silent for a minute, and connections are looked at twice a minute. */
const PATIENCE_MS = 180_000;
const BLOCK_PORTS = 64;
const skip = skipInHaste || needsServer();

describe('the host that a VM came from', { skip }, () => {
  const name = 'soak-gone';
  let lab: Lab;

  before(async () => {
    await labDown(name);
    ({ lab } = await labUp(GATEWAY_SCENARIO, { name, store: 'zookeeper' }));
    await killApi(lab);
    await restartApi(lab, GRACE_S);
  });
  after(() => labDown(name));

  test('is gone: the next one takes over the ports that its connections stand on', async () => {
    const { plan } = lab;
    const vm = requireVm(lab, 'green-a3');
    const [old, next] = [requireHost(plan, vm.host), plan.hosts.find((host) => host.name === 'h2')!];
    assert.notEqual(old.name, next.name);
    const outside = plan.externals.find((external) => external.name === 'inet')!;
    const address = outside.addresses[0]!;
    const server = await startServer(outside, address, 7_007);
    const moving = new MovingVm(lab, vm);
    try {
      const talk = await startTalk({
        from: vm,
        address,
        port: 7_007,
        options: { intervalMs: 200, patienceMs: 20_000 },
      });
      await moving.move(next);
      await moving.done();
      const [, seenAs, port] = /^(\S+) (\d+)$/.exec(server.peers()[0]!)!;
      const index = Math.floor(Number(port) / BLOCK_PORTS);
      const pool = `nat/${routerId('green', 'edge')}/${seenAs}`;
      const holder = async () => {
        const number = (await takenNumbers(plan, pool)).find((one) => one.index === index);
        return number?.coolsFor === null ? number.hostId : undefined;
      };
      assert.equal(await holder(), old.id);
      await vanish(lab, old);
      try {
        await awaitValue('the next host to hold the block', PATIENCE_MS, async () =>
          (await holder()) === next.id ? true : undefined,
        );
      } finally {
        await comeBack(lab, old, 1);
      }
      assert.equal(await holder(), next.id, 'also when the first one is back');
      const { sent, answered, error } = await talk.stop();
      assert.deepEqual([answered, error], [sent, '']);
      assert.equal(server.peers().length, 1, 'one connection all the time');
    } finally {
      await moving.goHome();
      await server.stop();
    }
  });
});
