/** A TCP transfer comes to its end. "Works with ping, hangs with TCP" is what it is there to find. */
import { nftFault } from '../faults/fault.ts';
import { iperf, megabits } from './iperf.ts';
import { defineKind } from './kind.ts';

const PORT = 5201;

export const tcp = defineKind({
  kind: 'tcp',
  summary: 'a TCP transfer of `megabytes` between two VMs comes to its end',
  fields: ['from', 'to', 'family', 'megabytes', 'streams'],
  read: (fields) => ({
    from: fields.place('from'),
    to: fields.place('to'),
    family: fields.family('family'),
    megabytes: fields.integer('megabytes', 1, 100_000, 50),
    streams: fields.integer('streams', 1, 64, 1),
  }),

  async run(context, { from, to, family, megabytes, streams }) {
    const target = context.place(to);
    const address = context.address(target, family);
    const client = ['-n', `${megabytes}M`, '-P', streams];
    const report = await iperf({ from: context.place(from), to: target, address, port: PORT, client });
    const { bytes: sent = 0 } = report.end?.sum_sent ?? {};
    const { bytes: received = 0, bits_per_second: rate = 0 } = report.end?.sum_received ?? {};
    return {
      // The server counts only until the client says that it has sent all: what is then on its way, or in the server's buffers,
      // goes uncounted, and on a busy machine that is most of a short transfer.
      ok: report.error === undefined && sent >= megabytes * 2 ** 20 && received > 0,
      expected: `${megabytes} MiB from ${from} to ${address} over TCP`,
      seen: report.error ?? `${(sent / 2 ** 20).toFixed(1)} MiB at ${megabits(rate)}`,
    };
  },

  sabotage(context, { from, to, family }) {
    const address = context.address(context.place(to), family);
    const version = family === 4 ? 'ip' : 'ip6';
    return nftFault(
      `${from} loses its TCP segments to ${address}, port ${PORT}`,
      context.place(from).namespace,
      `chain out { type filter hook output priority 0; ${version} daddr ${address} tcp dport ${PORT} drop; }`,
    );
  },
});
