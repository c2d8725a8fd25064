/** A wire outside is narrower than everything before it: who sends through NAT is told so, and understands. */
import { inNetns, run } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { iperf, megabits } from './iperf.ts';
import { defineKind } from './kind.ts';

const PORT = 5214;

export const natPathMtu = defineKind({
  kind: 'nat-path-mtu',
  summary:
    'a TCP transfer of `from` through NAT comes through to `to`, behind a wire that carries `mtu` bytes only, and `from` has learned so',
  fields: ['from', 'to', 'mtu', 'megabytes'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.external('to'),
    mtu: fields.integer('mtu', 1280, 65_535, 1300),
    megabytes: fields.integer('megabytes', 1, 1000, 10),
  }),

  async run(context, { from, to, mtu, megabytes }) {
    const source = context.vm(from);
    const target = context.external(to);
    const address = context.address(target, 4);
    // A guest remembers path MTUs for ten minutes: with that there would be nothing to discover.
    await run(['ip', '-n', source.namespace, 'route', 'flush', 'cache']);
    const client = ['-n', `${megabytes}M`];
    const report = await iperf({ from: source, to: target, address, port: PORT, client, timeoutMs: 15_000 });
    const sent = report.end?.sum_sent?.bytes ?? 0;
    const learned = /mtu (\d+)/.exec(await run(inNetns(source.namespace, ['ip', 'route', 'get', address])))?.[1];
    await run(['ip', '-n', source.namespace, 'route', 'flush', 'cache']);
    return {
      ok: report.error === undefined && sent >= megabytes * 2 ** 20 && learned === String(mtu),
      expected: `${megabytes} MiB over TCP, ${from} learns of MTU ${mtu}`,
      seen: `${
        report.error ?? `${(sent / 2 ** 20).toFixed(1)} MiB at ${megabits(report.end!.sum_received!.bits_per_second)}`
      }, ${from} learned of ${learned === undefined ? 'none' : `MTU ${learned}`}`,
    };
  },

  sabotage(context, { from, to }) {
    const front = context.external(to).behind?.namespace ?? context.external(to).namespace;
    return nftFault(
      `${from} is not told that its packets to ${to} are too big`,
      front,
      'chain out { type filter hook output priority 0; icmp type destination-unreachable icmp code frag-needed drop; }',
    );
  },
});
