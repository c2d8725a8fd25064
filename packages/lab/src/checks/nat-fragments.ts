/** Datagrams in fragments, of which only the first has ports, through source NAT and through a forwarded port, there and back. */
import { nftFault } from '../faults/fault.ts';
import { addressOf, converse, startServer, type TalkReport } from '../talk.ts';
import { ownPort } from './firewall.ts';
import { defineKind } from './kind.ts';

const COUNT = 20;
const SIZE = 4000;

export const natFragments = defineKind({
  kind: 'nat-fragments',
  summary:
    'UDP datagrams in fragments are answered in fragments: those of `from` to `external` through source NAT, those of `external` to `address`, `port`, by `to` at `toPort`',
  fields: ['from', 'external', 'address', 'port', 'to', 'toPort'],
  read: (fields) => ({
    from: fields.vm('from'),
    external: fields.external('external'),
    address: fields.ip('address'),
    port: fields.integer('port', 1, 65_535, 8080),
    to: fields.vm('to'),
    toPort: fields.integer('toPort', 1, 65_535, 80),
  }),

  async run(context, { from, external, address, port, to, toPort }) {
    const source = context.vm(from);
    const outside = context.external(external);
    const inside = context.vm(to);
    const own = context.address(outside, 4);
    const talk = async (conversation: { from: typeof source | typeof outside; address: string; port: number }) => {
      const options = { size: SIZE, intervalMs: 20, patienceMs: 1000 };
      // The outside sends as large as its wire allows, which no tunnel carries: it hears of that once, and remembers.
      await converse({ ...conversation, protocol: 'udp', options });
      return converse({ ...conversation, protocol: 'udp', options: { ...options, count: COUNT } });
    };
    const called = await startServer(outside, own, ownPort(context));
    const forwarded = await startServer(inside, context.address(inside, 4), toPort);
    try {
      const out = await talk({ from: source, address: own, port: ownPort(context) });
      const back = await talk({ from: outside, address, port });
      const word = ({ answered, wrong }: TalkReport) => `${answered} of ${COUNT} answered, ${wrong} wrong`;
      const expected = `out: ${COUNT} of ${COUNT} answered, 0 wrong; in: ${COUNT} of ${COUNT} answered, 0 wrong, from ${own}`;
      const seen = `out: ${word(out)}; in: ${word(back)}, from ${addressOf(back.seenAs) || 'nobody'}`;
      return { ok: seen === expected, expected, seen };
    } finally {
      await called.stop();
      await forwarded.stop();
    }
  },

  sabotage(context, { from }) {
    return nftFault(
      `${from} loses the later fragments of what it sends through NAT`,
      context.vm(from).namespace,
      'chain out { type filter hook egress device "eth0" priority 0; ip frag-off & 0x1fff != 0 drop; }',
      'netdev',
    );
  },
});
