/**
 * A VM moves while the agent of a host that sends to it stands still: that host's kernel goes on sending to where the VM was, and the kernel there
 * sends it on, super-packets too, until the first host hears of the move.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import {
  agentRequest,
  awaitConvergence,
  awaitValue,
  freezeAgent,
  GATEWAY_SCENARIO,
  inNetns,
  type Lab,
  type LabOptions,
  labDown,
  labUp,
  MovingVm,
  requireHost,
  requireVm,
  sleep,
  thawAgent,
} from '@weft/lab';
import { skipInHaste } from './soak.ts';

const NAME = 'soak-follow';
const SECONDS = 8;
const PATIENCE_MS = 20_000;
/** A busy machine does many times as much. */
const LEAST_BITS = 20e6;

interface Status {
  readonly tunnelKeys: { readonly forwarded: number };
}

interface Report {
  readonly intervals: readonly { readonly sum: { readonly start: number; readonly bits_per_second: number } }[];
}

/** With the userspace driver nothing is forwarded while the agent stands still. */
const LABS: readonly LabOptions[] = [{}, { encap: 'gre', underlay: 'ipv6' }];

for (const options of LABS) {
  describe(`frames for a VM that has moved: ${JSON.stringify(options)}`, { skip: skipInHaste }, () => {
    let lab: Lab;
    before(async () => {
      await labDown(NAME);
      ({ lab } = await labUp(GATEWAY_SCENARIO, { ...options, name: NAME }));
    });
    after(() => labDown(NAME));

    test('reach it by way of the host that it was on, and directly when the sender knows', async (t) => {
      const [sender, mover] = [requireVm(lab, 'green-a1'), requireVm(lab, 'green-a4')];
      const [from, old, next] = [sender.host, mover.host, 'g1'].map((name) => requireHost(lab.plan, name));
      assert.equal(new Set([from, old, next]).size, 3);
      const iperf = (vm: typeof mover, ...words: string[]) => {
        const [command, ...argv] = inNetns(vm.namespace, ['iperf3', ...words]);
        return spawn(command!, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
      };
      const server = iperf(mover, '-s', '-1', '--forceflush');
      await once(server.stdout!, 'data');
      const moving = new MovingVm(lab, mover);
      try {
        const client = iperf(sender, '-c', mover.addresses[0]!, '-t', String(SECONDS), '-i', '0.5', '-J');
        let text = '';
        client.stdout!.on('data', (data) => (text += data));
        const ended = once(client, 'close');
        await sleep(1_500);
        freezeAgent(lab, from!);
        await moving.move(next!);
        const { tunnelKeys } = await awaitValue('the old host to send on', PATIENCE_MS, async () => {
          const status = await agentRequest<Status>(lab.plan, old!, 'GET', '/status');
          return status.tunnelKeys.forwarded > 0 ? status : undefined;
        });
        assert.equal(tunnelKeys.forwarded, 1);
        await ended;
        const late = (JSON.parse(text) as Report).intervals
          .map(({ sum }) => sum)
          .filter(({ start }) => start > SECONDS - 2);
        const bits = late.reduce((sum, one) => sum + one.bits_per_second, 0) / late.length;
        t.diagnostic(`${Math.round(bits / 1e6)} Mbit/s by way of ${old!.name}`);
        assert.ok(bits > LEAST_BITS, `${bits} bit/s`);
        thawAgent(lab, from!);
        await awaitConvergence(lab.api);
        await moving.done();
        await awaitConvergence(lab.api);
        const { tunnelKeys: then } = await agentRequest<Status>(lab.plan, old!, 'GET', '/status');
        assert.equal(then.forwarded, 0);
        const ping = spawn(
          'nsenter',
          inNetns(sender.namespace, ['ping', '-c', '3', '-i', '0.2', mover.addresses[0]!]).slice(1),
        );
        assert.deepEqual(await once(ping, 'close'), [0, null]);
      } finally {
        thawAgent(lab, from!);
        server.kill();
        await moving.goHome();
      }
    });
  });
}
