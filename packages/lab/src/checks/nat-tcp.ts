/** TCP through source NAT from the first packet, although the answers come back by another gateway than the one they went out by. */
import { TCP_ACK, TCP_SYN } from '../dissect.ts';
import { watchLinks, wayBack } from '../gateways.ts';
import { addressOf, converse, startServer } from '../talk.ts';
import { loseTraffic, ownPort } from './firewall.ts';
import { defineKind } from './kind.ts';

export const natTcp = defineKind({
  kind: 'nat-tcp',
  summary:
    '`connections` of `from` to `external` come from the address `as`, repeat no SYN, and leave by all gateways, while what comes back does so by one',
  fields: ['from', 'external', 'as', 'connections'],
  read: (fields) => ({
    from: fields.vm('from'),
    external: fields.external('external'),
    as: fields.ip('as'),
    connections: fields.integer('connections', 2, 30, 16),
  }),

  async run(context, { from, external, as, connections }) {
    const outside = context.external(external);
    const address = context.address(outside, 4);
    const port = ownPort(context);
    const back = wayBack(outside, as);
    const gateways = outside.links.map((link) => link.host);
    const server = await startServer(outside, address, port);
    const watch = await watchLinks(context.lab, outside, `tcp port ${port}`);
    const seen = new Set<string>();
    let answered = 0;
    try {
      for (let i = 0; i < connections; i++) {
        // Ports of its own choice would differ from run to run, and with them who leaves by which gateway.
        const options = { sourcePort: port + 1 + (i % 15) + 20_000 * Math.floor(i / 15) };
        const report = await converse({ from: context.vm(from), address, port, options });
        answered += report.answered;
        if (report.answered === 0) break;
        seen.add(addressOf(report.seenAs));
      }
    } finally {
      await server.stop();
    }
    const crossings = await watch.stop();
    const syn = crossings.filter(({ isOut, flags }) => isOut && (flags & (TCP_SYN | TCP_ACK)) === TCP_SYN);
    const out = gateways.map((_, link) => syn.filter((one) => one.link === link).length);
    const returned = gateways.map((_, link) => crossings.filter((one) => !one.isOut && one.link === link).length);
    const strays = returned.filter((count, link) => link !== back && count > 0).length;
    return {
      ok:
        answered === connections &&
        seen.size === 1 &&
        seen.has(as) &&
        syn.length === connections &&
        out.every((count) => count > 0) &&
        returned[back]! > 0 &&
        strays === 0,
      expected: `${connections} connections from ${as}, ${connections} SYN out by all of ${gateways.join(', ')}; all comes back by ${gateways[back]}`,
      seen: `${answered} connections from ${[...seen].join(', ') || 'nowhere'}, SYN out: ${shares(gateways, out)}; back: ${shares(gateways, returned)}`,
    };
  },

  sabotage: (context, { from }) => loseTraffic(context, context.vm(from), `tcp dport ${ownPort(context)}`),
});

function shares(names: readonly string[], counts: readonly number[]): string {
  return names.map((name, i) => `${name} ${counts[i]}`).join(', ');
}
