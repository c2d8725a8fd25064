/** A link in the fabric gets narrower: a TCP transfer through it recovers by path MTU discovery. */

import { ipBatch, run } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { type HostPlan, UNDERLAY_MTU } from '../plan.ts';
import { awaitSettled, killAgent, restartAgent } from '../restart.ts';
import { iperf, megabits } from './iperf.ts';
import { type CheckContext, defineKind } from './kind.ts';

const PORT = 5206;

export const pathMtu = defineKind({
  kind: 'path-mtu',
  summary: "a TCP transfer comes through when the fabric's links to `to`'s host carry `mtu` bytes only",
  fields: ['from', 'to', 'family', 'mtu', 'megabytes'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    family: fields.family('family'),
    mtu: fields.integer('mtu', 1330, UNDERLAY_MTU, 1400),
    megabytes: fields.integer('megabytes', 1, 1000, 10),
  }),

  async run(context, { from, to, family, mtu, megabytes }) {
    const source = context.vm(from);
    const target = context.vm(to);
    const far = context.hostOf(target);
    const address = context.address(target, family);
    // A guest remembers path MTUs for ten minutes: with that there would be nothing to discover.
    for (const vm of [source, target]) {
      for (const version of ['-4', '-6']) await run(['ip', '-n', vm.namespace, version, 'route', 'flush', 'cache']);
    }
    await setMtu(context, far, mtu);
    try {
      const client = ['-n', `${megabytes}M`];
      const report = await iperf({ from: source, to: target, address, port: PORT, client, timeoutMs: 15_000 });
      const sent = report.end?.sum_sent?.bytes ?? 0;
      return {
        ok: report.error === undefined && sent >= megabytes * 2 ** 20,
        expected: `${megabytes} MiB over TCP through links of ${mtu} bytes`,
        seen:
          report.error ??
          `${(sent / 2 ** 20).toFixed(1)} MiB at ${megabits(report.end!.sum_received!.bits_per_second)}`,
      };
    } finally {
      await setMtu(context, far, UNDERLAY_MTU);
      // What was learned of the narrow path would keep the next run from learning it.
      const near = context.hostOf(source);
      await killAgent(context.lab, near);
      await restartAgent(context.lab, near);
      await awaitSettled(context.lab);
    }
  },

  sabotage(context) {
    return nftFault(
      'the fabric does not tell the hosts that their packets are too big',
      context.plan.fabric,
      `chain out { type filter hook output priority 0;
         icmp type destination-unreachable icmp code frag-needed drop
         icmpv6 type packet-too-big drop
       }`,
    );
  },
});

async function setMtu(context: CheckContext, host: HostPlan, mtu: number): Promise<void> {
  await ipBatch(
    context.plan.fabric,
    host.links.map((link) => `link set ${link.fabricInterface} mtu ${mtu}`),
  );
}
