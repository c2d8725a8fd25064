/** Agents that are restarted, however, wherever, one or all: what they translate goes on as it was. */
import { agentRequest } from '../agent-control.ts';
import { run } from '../exec.ts';
import type { FaultStep } from '../faults/fault.ts';
import type { HostPlan } from '../plan.ts';
import { awaitAgentEnd, awaitSettled, killAgent, restartAgents } from '../restart.ts';
import { addressOf, converse, startServer, startTalk } from '../talk.ts';
import { sleep, waitUntil } from '../wait.ts';
import { ownPort } from './firewall.ts';
import { type CheckContext, defineKind } from './kind.ts';

const PATIENCE_MS = 15_000;

/** How the life of an agent ends, in words of what was done to it. */
const ENDS = { killed: killAgent, stopped: stopAgent, 'killed with their flows': killWithFlows };

export const natRestart = defineKind({
  kind: 'nat-restart',
  summary:
    "a TCP connection of `from` through source NAT to `external` outlives restarts of the agents by kill -9 at `from`'s host, at all gateways, and at both at once; at both also in order, and with the kernel's flows gone",
  fields: ['from', 'external'],
  read: (fields) => ({ from: fields.vm('from'), external: fields.external('external') }),

  async run(context, { from, external }) {
    const source = context.vm(from);
    const outside = context.external(external);
    const address = context.address(outside, 4);
    const port = ownPort(context);
    const near = [context.hostOf(source)];
    const far = context.plan.hosts.filter((host) => outside.links.some((link) => link.host === host.name));
    const both = [...new Set([...near, ...far])];
    const rounds = [
      ["the VM's end", near, 'killed'],
      ['the gateways', far, 'killed'],
      ['both ends', both, 'killed'],
      ['both ends', both, 'stopped'],
      ['both ends', both, 'killed with their flows'],
    ] as const;
    const server = await startServer(outside, address, port);
    const found: string[] = [];
    let slowest = 0;
    try {
      const talk = await startTalk({ from: source, address, port });
      await sleep(200);
      for (const [where, hosts, how] of rounds) {
        await Promise.all(hosts.map((host) => ENDS[how](context.lab, host)));
        await restartAgents(context.lab, hosts);
        await awaitSettled(context.lab);
        const fresh = await converse({ from: source, address, port, options: { patienceMs: PATIENCE_MS } });
        slowest = Math.max(slowest, fresh.connectMs);
        const when = `after the agents of ${where} were ${how}`;
        if (fresh.answered !== 1) found.push(`no new connection ${when}: ${fresh.error}`);
        // Where nothing is forwarded meanwhile TCP takes its time until it tries again.
        const before = talk.answers();
        const goesOn = await waitUntil(() => talk.answers() > before, PATIENCE_MS);
        if (goesOn) continue;
        found.push(`no answer for ${PATIENCE_MS} ms ${when}`);
        break;
      }
      await sleep(300);
      const { seenAs, sent, answered, longestGapMs, error } = await talk.stop();
      const peers = new Set(server.peers().map(addressOf));
      const whole = error === '' && answered === sent && sent > 0;
      if (!whole) found.push(`${answered} of ${sent} messages answered ${error}`);
      if (peers.size !== 1) found.push(`peers outside: ${[...peers].join(', ')}`);
      return {
        ok: found.length === 0,
        expected: 'every message answered, and new connections, in one name, after each of 5 restarts',
        seen:
          found.join('; ') ||
          `${answered} messages answered as ${seenAs}, never more than ${longestGapMs} ms without; new ones after at most ${slowest} ms`,
      };
    } finally {
      await server.stop();
    }
  },

  sabotage(context) {
    const each = (step: (host: HostPlan) => FaultStep) => context.plan.hosts.map(step);
    return {
      what: 'when an agent starts, all that it knew of connections and flows is gone, and its archive, too',
      plant: each((host) => {
        const { beforeStart, bpffs, runDir, stateDir } = context.plan.paths.host(host.name);
        const text = `#!/bin/sh\nrm -rf '${bpffs}'/* '${runDir}'/* '${stateDir}'/archive\n`;
        return { do: 'write', file: beforeStart, text, mode: 0o700 };
      }),
      remove: each((host) => ({ do: 'unlink', file: context.plan.paths.host(host.name).beforeStart })),
    };
  },
});

async function stopAgent(lab: CheckContext['lab'], host: HostPlan): Promise<void> {
  await agentRequest(lab.plan, host, 'POST', '/stop');
  await awaitAgentEnd(lab, host);
}

/** Nothing in the kernel to adopt: what is forwarded afterwards is decided from what the agent remembers of connections. */
async function killWithFlows(lab: CheckContext['lab'], host: HostPlan): Promise<void> {
  await killAgent(lab, host);
  await run(['find', lab.plan.paths.host(host.name).bpffs, '-mindepth', '1', '-delete']);
}
