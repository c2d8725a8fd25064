/** UDP datagrams arrive, at a pace that no queue on the way minds. */
import { nftFault } from '../faults/fault.ts';
import { iperf } from './iperf.ts';
import { defineKind } from './kind.ts';

const PORT = 5202;

export const udp = defineKind({
  kind: 'udp',
  summary: 'UDP datagrams at `mbps` arrive; at most `maxLossPercent` are lost',
  fields: ['from', 'to', 'family', 'mbps', 'maxLossPercent'],
  read: (fields) => ({
    from: fields.place('from'),
    to: fields.place('to'),
    family: fields.family('family'),
    mbps: fields.integer('mbps', 1, 10_000, 20),
    maxLossPercent: fields.integer('maxLossPercent', 0, 100, 1),
  }),

  async run(context, { from, to, family, mbps, maxLossPercent }) {
    const target = context.place(to);
    const address = context.address(target, family);
    const client = ['-u', '-b', `${mbps}M`, '-l', '1200', '-t', '1'];
    const report = await iperf({ from: context.place(from), to: target, address, port: PORT, client });
    const { packets = 0, lost_packets: lost = 0 } = report.end?.sum ?? {};
    return {
      ok: report.error === undefined && packets > 0 && lost * 100 <= packets * maxLossPercent,
      expected: `datagrams from ${from} to ${address}, at most ${maxLossPercent} % lost`,
      seen: report.error ?? `${lost} of ${packets} datagrams lost`,
    };
  },

  sabotage(context, { from, to, family }) {
    const address = context.address(context.place(to), family);
    const version = family === 4 ? 'ip' : 'ip6';
    return nftFault(
      `${from} loses every other datagram to ${address}, port ${PORT}`,
      context.place(from).namespace,
      `chain out { type filter hook output priority 0; ${version} daddr ${address} udp dport ${PORT} numgen inc mod 2 == 1 drop; }`,
    );
  },
});
