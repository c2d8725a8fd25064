/** An agent that is killed with -9 costs no packet, nor does its successor. */
import { agentRequest } from '../agent-control.ts';
import { startProbe } from '../probe.ts';
import { awaitSettled, killAgent, restartAgent } from '../restart.ts';
import { sleep } from '../wait.ts';
import { defineKind } from './kind.ts';

export const agentRestart = defineKind({
  kind: 'agent-restart',
  summary: "the agent of `from`'s host is killed with -9 and restarted: an established ping loses nothing",
  fields: ['from', 'to', 'family', 'deadMs'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    family: fields.family('family'),
    deadMs: fields.integer('deadMs', 0, 60_000, 500),
  }),

  async run(context, { from, to, family, deadMs }) {
    const source = context.vm(from);
    const host = context.hostOf(source);
    if (context.plan.datapath === 'userspace') {
      const skipped = 'the userspace datapath forwards nothing while its agent is dead';
      return { ok: false, expected: 'no loss', seen: 'nothing', skipped };
    }
    const probe = await startProbe(source, context.address(context.vm(to), family), 5);
    await sleep(200);
    await killAgent(context.lab, host);
    await sleep(deadMs);
    await restartAgent(context.lab, host);
    await awaitSettled(context.lab);
    const { flows } = await agentRequest<{ flows: unknown }>(context.plan, host, 'GET', '/status');
    await sleep(300);
    const report = await probe.stop();
    return {
      ok: report.lost === 0 && report.alive,
      expected: 'every request answered',
      seen: `${report.lost} of ${report.sent} requests lost, ${flows} flows after the restart`,
    };
  },

  sabotage(context, { from }) {
    const { beforeStart, bpffs } = context.plan.paths.host(context.vm(from).host);
    return {
      what: `when ${context.vm(from).host}'s agent starts, its pinned objects are gone`,
      plant: [{ do: 'write', file: beforeStart, text: `#!/bin/sh\nrm -rf '${bpffs}'/*\n`, mode: 0o700 }],
      remove: [{ do: 'unlink', file: beforeStart }],
    };
  },
});
