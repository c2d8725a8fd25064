/** Without store and API the known topology goes on forwarding *and* setting up flows, even through a restart of the agent. */
import { awaitConvergence } from '../convergence.ts';
import { inNetns, run, tryRun } from '../exec.ts';
import { forgetFlows } from '../ports.ts';
import { killAgent, killApi, restartAgent, restartApi } from '../restart.ts';
import { defineKind } from './kind.ts';
import { readPing } from './ping.ts';

export const storeAway = defineKind({
  kind: 'store-away',
  summary: 'with the store dead and the agent restarted without it, new flows are still set up',
  fields: ['from', 'to', 'family'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to'), family: fields.family('family') }),

  async run(context, { from, to, family }) {
    const source = context.vm(from);
    const host = context.hostOf(source);
    const address = context.address(context.vm(to), family);
    const ping = async () => {
      const argv = ['ping', `-${family}`, '-n', '-c', '3', '-i', '0.1', '-W', '2', address];
      return readPing((await tryRun(inNetns(source.namespace, argv))).stdout).received;
    };
    const before = await ping();
    await forgetFlows(context.lab, source);
    await killApi(context.lab);
    try {
      const afterDeath = await ping();
      await killAgent(context.lab, host);
      // Nothing to adopt: what is forwarded now was simulated from the snapshot alone.
      await run(['find', context.plan.paths.host(host.name).bpffs, '-mindepth', '1', '-delete']);
      const ready = await restartAgent(context.lab, host, 5000).then(
        () => true,
        () => false,
      );
      const afterRestart = ready ? await ping() : 0;
      return {
        ok: before === 3 && afterDeath === 3 && afterRestart === 3,
        expected: '3 answers before, 3 without the store, 3 after a restart of the agent without the store',
        seen: `${before}, ${afterDeath} and ${afterRestart} answers`,
      };
    } finally {
      await restartApi(context.lab);
      await awaitConvergence(context.api);
    }
  },

  sabotage(context, { from }) {
    const { beforeStart, stateDir } = context.plan.paths.host(context.vm(from).host);
    return {
      what: `when ${context.vm(from).host}'s agent starts, its snapshot of the topology is gone`,
      plant: [{ do: 'write', file: beforeStart, text: `#!/bin/sh\nrm -rf '${stateDir}'/*\n`, mode: 0o700 }],
      remove: [{ do: 'unlink', file: beforeStart }],
    };
  },
});
