/** Two VMs reach each other: every echo request is answered, and the answers have crossed so many routers. */
import { inNetns, tryRun } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { defineKind } from './kind.ts';

/** Tells these echo requests from those of other checks: a fault of this kind is no other's. */
const ECHO_ID = 0x5771;

export const ping = defineKind({
  kind: 'ping',
  summary: 'every ICMP echo request from one VM to another is answered; `ttl` is what the answers arrive with',
  fields: ['from', 'to', 'family', 'count', 'ttl', 'size'],
  read: (fields) => ({
    from: fields.place('from'),
    to: fields.place('to'),
    family: fields.family('family'),
    count: fields.integer('count', 1, 10_000, 10),
    ttl: fields.optionalInteger('ttl', 1, 255),
    size: fields.integer('size', 16, 65_000, 56),
  }),

  async run(context, { from, to, family, count, ttl, size }) {
    const source = context.place(from);
    const address = context.address(context.place(to), family);
    const argv = ['ping', `-${family}`, '-n', '-e', ECHO_ID, '-c', count, '-i', '0.02', '-W', '2', '-s', size, address];
    const { stdout, stderr } = await tryRun(inNetns(source.namespace, argv.map(String)));
    const summary = readPing(stdout);
    const ttls = [...new Set(summary.ttls)].join(' and ');
    return {
      ok: summary.received === count && summary.duplicates === 0 && (ttl === undefined || ttls === String(ttl)),
      expected: `${count} of ${count} answers from ${address}${ttl === undefined ? '' : ` with TTL ${ttl}`}`,
      seen:
        summary.received === 0
          ? `0 of ${count} answers ${stderr.trim() || lastLine(stdout)}`
          : `${summary.received} of ${count} answers with TTL ${ttls}, ${summary.duplicates} duplicates`,
    };
  },

  sabotage(context, { from, to, family }) {
    const source = context.place(from);
    const address = context.address(context.place(to), family);
    const icmp = family === 4 ? 'icmp' : 'icmpv6';
    const match = `${family === 4 ? 'ip' : 'ip6'} daddr ${address} ${icmp} type echo-request ${icmp} id ${ECHO_ID}`;
    return nftFault(
      `${from} loses its echo requests to ${address}`,
      source.namespace,
      `chain out { type filter hook output priority 0; ${match} drop; }`,
    );
  },
});

interface PingSummary {
  readonly received: number;
  readonly duplicates: number;
  readonly ttls: readonly number[];
}

/** Reads what ping(8) of iputils prints. */
export function readPing(output: string): PingSummary {
  const answers = [...output.matchAll(/icmp_seq=(\d+) .*?ttl=(\d+).*$/gm)];
  const sequences = new Set(answers.map((answer) => answer[1]));
  return {
    received: sequences.size,
    duplicates: answers.length - sequences.size,
    ttls: answers.map((answer) => Number(answer[2])),
  };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
