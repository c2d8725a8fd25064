/** A VM that goes round in a circle of hosts while it talks to the outside: nobody loses anything, and nobody is told where it is. */
import { awaitConvergence } from '../convergence.ts';
import { nftFault } from '../faults/fault.ts';
import { MovingVm } from '../moving.ts';
import type { HostPlan } from '../plan.ts';
import { converse, type Server, startServer, startTalk, type Talk } from '../talk.ts';
import { sleep } from '../wait.ts';
import { ownPort } from './firewall.ts';
import { defineKind } from './kind.ts';

/** How often the VM says something by UDP, so that a time without answers shows. */
const PROBE_MS = 1;
/** TCP's own pauses after a loss. */
const PATIENCE_MS = 5_000;

interface Hop {
  readonly to: string;
  readonly outageMs: number;
}

export const migration = defineKind({
  kind: 'migration',
  needsApi: true,
  summary:
    '`connections` of `vm` by TCP through source NAT to `external` outlive its move to two other hosts and back, each prepared, switched and ended, and so does a last move that was not prepared; the time without answers to probes each millisecond is told',
  fields: ['vm', 'external', 'connections'],
  read: (fields) => ({
    vm: fields.vm('vm'),
    external: fields.external('external'),
    connections: fields.integer('connections', 1, 16, 6),
  }),

  async run(context, { vm: name, external, connections }) {
    const { lab } = context;
    const vm = context.vm(name);
    const outside = context.external(external);
    const address = context.address(outside, 4);
    const port = ownPort(context);
    const [second, third] = context.plan.hosts.filter((host) => host.name !== vm.host);
    const circle = [second!, third!, context.hostOf(vm)];
    const server = await startServer(outside, address, port);
    const moving = new MovingVm(lab, vm);
    const talks: Talk[] = [];
    const found: string[] = [];
    const hops: Hop[] = [];
    try {
      for (let i = 0; i < connections; i++) talks.push(await startTalk({ from: vm, address, port }));
      const step = async (host: HostPlan, how: string, go: () => Promise<unknown>) => {
        const probes = await startTalk({
          from: vm,
          address,
          port,
          protocol: 'udp',
          options: { intervalMs: PROBE_MS, patienceMs: PATIENCE_MS },
        });
        await sleep(300);
        await go();
        await awaitConvergence(context.api);
        await sleep(300);
        const { longestGapMs, answered, seenAs } = await probes.stop();
        hops.push({ to: `${host.name}${how}`, outageMs: longestGapMs });
        if (answered === 0 || seenAs === '') found.push(`no answer on the way to ${host.name}`);
        const fresh = await converse({ from: vm, address, port, options: { patienceMs: PATIENCE_MS } });
        if (fresh.answered !== 1) found.push(`no new connection from ${host.name}: ${fresh.error}`);
      };
      for (const host of circle) {
        await step(host, '', () => moving.move(host));
        await moving.done();
      }
      await step(second!, ' (unprepared)', () => moving.jump(second!));
      found.push(...(await endings(talks, server, connections, hops.length)));
      const outages = hops.map(({ to, outageMs }) => `${to} ${outageMs} ms`).join(', ');
      return {
        ok: found.length === 0,
        expected: `${connections} connections with every message answered in ${hops.length} moves; new ones from each host`,
        seen: `${found.join('; ') || 'all answered'}; without answers: ${outages}`,
      };
    } finally {
      await moving.goHome();
      await server.stop();
      await awaitConvergence(context.api);
    }
  },

  sabotage(context, { vm }) {
    const port = ownPort(context);
    return nftFault(
      `${vm} loses what it sends from other hosts than its own`,
      context.vm(vm).namespace,
      `chain out { type filter hook output priority 0; oifname "mv*" tcp dport ${port} drop; }`,
    );
  },
});

/** What is wrong with the connections, in the end. */
async function endings(talks: Talk[], server: Server, connections: number, moves: number): Promise<string[]> {
  const reports = await Promise.all(talks.map((talk) => talk.stop()));
  const found: string[] = [];
  for (const { sent, answered, error, local } of reports) {
    if (error !== '' || answered !== sent || sent === 0)
      found.push(`${local}: ${answered} of ${sent} answered ${error}`);
  }
  // Each came once, and new ones with each move: whoever is translated anew comes again.
  const peers = server.peers().length;
  if (peers > connections + moves) found.push(`${peers} connections seen outside`);
  return found;
}
