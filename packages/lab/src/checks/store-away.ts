/** Without the store the known topology goes on forwarding *and* setting up flows, even through a restart of the agent. */
import { awaitConvergence } from '../convergence.ts';
import { inNetns, run, tryRun } from '../exec.ts';
import type { VmPlan } from '../plan.ts';
import { forgetFlows } from '../ports.ts';
import { killAgent, killStore, restartAgent, restartStore } from '../restart.ts';
import { defineKind } from './kind.ts';
import { readPing } from './ping.ts';

export const storeAway = defineKind({
  kind: 'store-away',
  needsApi: true,
  summary:
    'with the store dead and the agents of both hosts restarted without it, new flows and ARP go on, also to a third VM `also`',
  fields: ['from', 'to', 'also', 'family'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    also: fields.optionalVm('also'),
    family: fields.family('family'),
  }),

  async run(context, { from, to, also, family }) {
    const source = context.vm(from);
    const targets = [to, ...(also === undefined ? [] : [also])].map((name) => context.vm(name));
    const hosts = [...new Set([source, context.vm(to)].map((vm) => context.hostOf(vm)))];
    const ping = async (a: VmPlan, b: VmPlan) => {
      // Neither guest remembers the other, nor its router: somebody has to answer for them.
      for (const vm of [a, b]) await tryRun(['ip', '-n', vm.namespace, 'neigh', 'flush', 'dev', 'eth0']);
      const argv = ['ping', `-${family}`, '-n', '-c', '3', '-i', '0.02', '-W', '2', context.address(b, family)];
      return readPing((await tryRun(inNetns(a.namespace, argv))).stdout).received;
    };
    const both = async () => {
      const answers = [];
      for (const target of targets) answers.push(await ping(source, target), await ping(target, source));
      return answers;
    };
    const found: string[] = [];
    const judge = (when: string, answers: readonly number[]) => {
      if (answers.some((n) => n !== 3)) found.push(`${answers.join(', ')} answers ${when}`);
    };
    judge('before', await both());
    await forgetFlows(context.lab, source);
    await killStore(context.lab);
    try {
      judge('without the store', await both());
      for (const host of hosts) {
        await killAgent(context.lab, host);
        // Nothing to adopt: what is forwarded now was simulated from the snapshot alone.
        await run(['find', context.plan.paths.host(host.name).bpffs, '-mindepth', '1', '-delete']);
      }
      let ready = true;
      for (const host of hosts) {
        await restartAgent(context.lab, host, 5000).catch(() => {
          ready = false;
        });
      }
      judge('after a restart of the agents without the store', ready ? await both() : [0]);
    } finally {
      await restartStore(context.lab);
      await awaitConvergence(context.api);
    }
    // A write that every host must follow: revisions go on where they were.
    await forgetFlows(context.lab, source);
    judge('with the store back', await both());
    return {
      ok: found.length === 0,
      expected: `3 answers each way to ${targets.map((vm) => vm.name).join(' and ')}: before, without the store, after a restart of the agents without it, and with it back`,
      seen: found.join('; ') || 'as expected, all hosts converged',
    };
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
