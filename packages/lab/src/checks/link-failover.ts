/** Either fabric link of a host may fail: the overlay follows the underlay's routes. */
import { ipBatch } from '../exec.ts';
import { fabricRoutes, hostRoutes } from '../network/fabric.ts';
import type { HostPlan } from '../plan.ts';
import { type Probe, startProbe } from '../probe.ts';
import { waitUntil } from '../wait.ts';
import { type CheckContext, defineKind } from './kind.ts';

const INTERVAL_MS = 10;

export const linkFailover = defineKind({
  kind: 'link-failover',
  summary: "a ping goes on when either fabric link of `from`'s host fails, and when both are back",
  fields: ['from', 'to', 'family', 'withinMs'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    family: fields.family('family'),
    /** Longest time without answers that is accepted. */
    withinMs: fields.integer('withinMs', 10, 60_000, 1000),
  }),

  async run(context, { from, to, family, withinMs }) {
    const source = context.vm(from);
    const host = context.hostOf(source);
    const probe = await startProbe(source, context.address(context.vm(to), family), INTERVAL_MS);
    const recovered: boolean[] = [];
    try {
      for (const link of [0, 1]) {
        await setLink(context, host, link, 'down');
        recovered.push(await goesOn(probe));
        await setLink(context, host, link, 'up');
        recovered.push(await goesOn(probe));
      }
    } finally {
      for (const link of [0, 1]) await setLink(context, host, link, 'up');
    }
    const report = await probe.stop();
    const gapMs = report.longestGap * INTERVAL_MS;
    return {
      ok: recovered.every((one) => one) && gapMs <= withinMs,
      expected: `answers with either link down, never more than ${withinMs} ms without`,
      seen: `${recovered.filter((one) => one).length} of ${recovered.length} times answered again, at most ${gapMs} ms without, ${report.lost} of ${report.sent} lost`,
    };
  },

  sabotage(context, { from }) {
    const host = context.hostOf(context.vm(from));
    const [first] = host.links;
    const replace = (hops: string): string[] => ['ip', 'route', 'replace', ...hops.split(' ')];
    const single = `default src ${host.tunnelAddress4} via ${first!.fabricAddress4} dev ${first!.hostInterface}`;
    const single6 = `default src ${host.tunnelAddress6} via ${first!.fabricAddress6} dev ${first!.hostInterface}`;
    return {
      what: `${host.name} has lost its route over ${host.links[1]!.hostInterface}`,
      plant: [
        { do: 'exec', namespace: host.namespace, argv: replace(single) },
        { do: 'exec', namespace: host.namespace, argv: ['ip', '-6', 'route', 'del', 'default'] },
        { do: 'exec', namespace: host.namespace, argv: replace(single6) },
      ],
      remove: [
        { do: 'exec', namespace: host.namespace, argv: ['ip', '-6', 'route', 'del', 'default'] },
        {
          do: 'exec',
          namespace: host.namespace,
          argv: ['ip', '-batch', '-'],
          input: `${hostRoutes(host).join('\n')}\n`,
        },
      ],
    };
  },
});

/** Answers to requests sent after now. */
async function goesOn(probe: Probe): Promise<boolean> {
  const before = probe.answers();
  return waitUntil(() => probe.answers() > before + 20, 5000);
}

/** A link fails at its far end, as a cable does: the host sees the carrier go. */
async function setLink(context: CheckContext, host: HostPlan, link: number, state: 'up' | 'down'): Promise<void> {
  await ipBatch(context.plan.fabric, [`link set ${host.links[link]!.fabricInterface} ${state}`]);
  if (state === 'up') await ipBatch(context.plan.fabric, fabricRoutes(host));
}
