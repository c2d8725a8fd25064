/** traceroute(8) through NAT: routers answer to the translated address, and the VM must recognize its own packets in what they quote. */
import { startCapture } from '../capture.ts';
import { type Dissected, dissect } from '../dissect.ts';
import { inNetns, tryRun } from '../exec.ts';
import { readCapture } from '../pcap.ts';
import { sleep } from '../wait.ts';
import { loseTraffic } from './firewall.ts';
import { defineKind } from './kind.ts';

const UDP = 17;

export const natTraceroute = defineKind({
  kind: 'nat-traceroute',
  summary:
    "traceroute of `from` through NAT shows exactly the `hops` and `to`; each error quotes a packet with the VM's own address and ports",
  fields: ['from', 'to', 'hops'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.place('to'), hops: fields.ips('hops') }),

  async run(context, { from, to, hops }) {
    const source = context.vm(from);
    const own = context.address(source, 4);
    const address = context.address(context.place(to), 4);
    const capture = await startCapture(context.plan.paths.captures, source.namespace, 'eth0', 'icmp or udp');
    let output = '';
    try {
      const argv = ['traceroute', '-4', '-n', '-q', 1, '-N', 1, '-w', 2, '-m', hops.length + 3, address].map(String);
      output = (await tryRun(inNetns(source.namespace, argv))).stdout;
      await sleep(100);
    } finally {
      await capture.stop();
    }
    const frames = (await readCapture(capture.file)).map(({ bytes }) => dissect(bytes));
    const probes = new Set(
      frames
        .filter((one) => one?.protocol === UDP && one.source === own && one.target === address)
        .map((one) => ends(one!)),
    );
    const errors = frames.filter((one) => one?.target === own && one.quoted !== undefined);
    const strange = errors.filter((one) => !probes.has(ends(one!.quoted!)));
    const shown = [...output.matchAll(/^\s*\d+\s+(\S+)/gm)].map((line) => line[1]!);
    const wanted = [...hops, address];
    const describe = (names: readonly string[], quoted: number, others: readonly string[]) =>
      `${names.join(' ')}; ${quoted} errors quote own packets${others.length > 0 ? `, others quote ${others.join(', ')}` : ''}`;
    const expected = describe(wanted, wanted.length, []);
    const seen = describe(
      shown,
      errors.length - strange.length,
      strange.map((one) => ends(one!.quoted!)),
    );
    return { ok: seen === expected, expected, seen };
  },

  sabotage: (context, { from }) => loseTraffic(context, context.vm(from), 'udp dport 33434-33534'),
});

function ends(one: Omit<Dissected, 'quoted'>): string {
  return `${one.source}:${one.sourcePort} → ${one.target}:${one.targetPort}`;
}
