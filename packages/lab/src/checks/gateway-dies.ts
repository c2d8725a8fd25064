/** A gateway dies in the middle of conversations, with all its wires: they go on by the others, which knew nothing of them. */
import { randomInt } from 'node:crypto';
import { agentRequest } from '../agent-control.ts';
import { watchLinks, wayBack, waysBack } from '../gateways.ts';
import { externalRoute } from '../network/externals.ts';
import type { HostPlan } from '../plan.ts';
import { startServer, startTalk, type Talk, type TalkReport } from '../talk.ts';
import { comeBack, vanish } from '../vanish.ts';
import { sleep } from '../wait.ts';
import { ownPort } from './firewall.ts';
import { type CheckContext, defineKind } from './kind.ts';

/** Conversations over UDP; as many over TCP. */
const TALKS = 6;
const INTERVAL_MS = 10;

export const gatewayDies = defineKind({
  kind: 'gateway-dies',
  summary:
    'the gateway by which answers to `as` come back is killed and cut off in the middle of conversations of `from` with `external`: each goes on within `withinMs` by the others, which had no flow of it',
  fields: ['from', 'external', 'as', 'withinMs'],
  read: (fields) => ({
    from: fields.vm('from'),
    external: fields.external('external'),
    as: fields.ip('as'),
    withinMs: fields.integer('withinMs', 10, 60_000, 1000),
  }),

  async run(context, { from, external, as, withinMs }) {
    const source = context.vm(from);
    const outside = context.external(external);
    const address = context.address(outside, 4);
    const port = ownPort(context);
    // New ones each time: of the last time's conversations the gateways still know.
    const ownPorts = randomInt(40_000, 60_000);
    const back = wayBack(outside, as);
    const hostAt = (link: number) => context.plan.hosts.find((host) => host.name === outside.links[link]!.host)!;
    const victim = hostAt(back);
    const survivors = outside.links.map((_, link) => hostAt(link)).filter((host) => host !== victim);
    if (survivors.length === 0) {
      return { ok: false, expected: 'another gateway', seen: '', skipped: 'all links are at one host' };
    }
    const server = await startServer(outside, address, port);
    const watch = await watchLinks(context.lab, outside, `udp dst port ${port}`);
    const talks: Talk[] = [];
    try {
      for (const protocol of ['udp', 'tcp'] as const) {
        for (let i = 0; i < TALKS; i++) {
          const options = { intervalMs: INTERVAL_MS, patienceMs: 3000, sourcePort: ownPorts + i };
          talks.push(await startTalk({ from: source, address, port, protocol, options }));
        }
      }
      await sleep(300);
      const before = await watch.stop();
      // Who leaves by the victim has to find another way out as well, the others only another way back.
      const byVictim = new Set(before.filter(({ link }) => hostAt(link) === victim).map((one) => one.sourcePort)).size;
      const atFirst = await flowsOf(context, survivors, address, port);
      await vanish(context.lab, victim);
      await sleep(withinMs + 500);
      const reports: TalkReport[] = [];
      for (const talk of talks) reports.push(await talk.stop());
      const atLast = await flowsOf(context, survivors, address, port);
      const translated = new Set(reports.map((one) => one.seenAs.split(' ')[1]));
      const ofThem = (flows: readonly string[]) =>
        flows.filter((match) => translated.has(/\btp_dst=(\d+)/.exec(match)?.[1] ?? '')).length;
      const [known, after] = [ofThem(atFirst), ofThem(atLast)];
      const [udp, tcp] = [reports.slice(0, TALKS), reports.slice(TALKS)];
      const gaps = udp.map((one) => one.longestGapMs);
      const lost = udp.reduce((sum, one) => sum + one.sent - one.answered, 0);
      const whole = tcp.filter((one) => one.error === '' && one.answered === one.sent && one.sent > 0).length;
      const names = survivors.map((host) => host.name).join(', ');
      return {
        ok: Math.max(...gaps) <= withinMs && whole === TALKS && known === 0 && after > 0,
        expected: `${TALKS} conversations by ${names} at most ${withinMs} ms after ${victim.name} died, 0 flows of them there before; ${TALKS} TCP connections whole`,
        seen: `at most ${Math.max(...gaps)} ms without answers (${gaps.join(', ')}), ${lost} packets lost, ${known} flows before and ${after} after; ${whole} TCP connections whole; ${byVictim} had left by ${victim.name}`,
      };
    } finally {
      for (const talk of talks) await talk.stop().catch(() => {});
      await watch.stop();
      await server.stop();
      await comeBack(context.lab, victim);
    }
  },

  sabotage(context, { external, as }) {
    const outside = context.external(external);
    const [first, ...others] = waysBack(outside, as);
    const batch = (commands: readonly string[]) => ({
      do: 'exec' as const,
      namespace: outside.namespace,
      argv: ['ip', '-batch', '-'],
      input: `${commands.join('\n')}\n`,
    });
    return {
      what: `${external} knows one way back to ${as} only, by ${first!.hops[0]!.device}`,
      plant: [batch(others.map(({ dst, metric }) => `route del ${dst} metric ${metric}`))],
      remove: [batch(others.map(externalRoute))],
    };
  },
});

/** What the installed flows of these hosts match that are about packets of the server. */
async function flowsOf(
  { plan }: CheckContext,
  hosts: readonly HostPlan[],
  address: string,
  port: number,
): Promise<string[]> {
  const found: string[] = [];
  for (const host of hosts) {
    const path = `/flows?limit=100000&address=${address}`;
    const { flows } = await agentRequest<{ flows: { match: string }[] }>(plan, host, 'GET', path);
    found.push(...flows.map(({ match }) => match).filter((match) => new RegExp(`\\btp_src=${port}\\b`).test(match)));
  }
  return found;
}
