/** What is called by an address that is not its own: forwarded ports, also from within, and floating addresses. */
import { inNetns, tryRun } from '../exec.ts';
import { familyOf } from '../plan.ts';
import { addressOf, converse, startServer, type TalkReport } from '../talk.ts';
import { loseTraffic, ownPort } from './firewall.ts';
import { defineKind } from './kind.ts';

export const portForward = defineKind({
  kind: 'port-forward',
  summary:
    'TCP and UDP of `from` to `address`, `port` reach `to` at `toPort`, where they come from the address `as` (default: its own); `from` may be in the network of `to`',
  fields: ['from', 'address', 'port', 'to', 'toPort', 'as'],
  read: (fields) => ({
    from: fields.place('from'),
    address: fields.ip('address'),
    port: fields.integer('port', 1, 65_535, 80),
    to: fields.vm('to'),
    toPort: fields.integer('toPort', 1, 65_535, 80),
    as: fields.optionalIp('as'),
  }),

  async run(context, { from, address, port, to, toPort, as }) {
    const source = context.place(from);
    const target = context.vm(to);
    const wanted = as ?? context.address(source, 4);
    const server = await startServer(target, context.address(target, 4), toPort);
    try {
      const tcp = await converse({ from: source, address, port, options: { count: 5 } });
      const udp = await converse({ from: source, address, port, protocol: 'udp', options: { count: 5 } });
      const word = ({ answered, seenAs, error }: TalkReport) =>
        `${answered} answers${answered > 0 ? `, called by ${addressOf(seenAs)}` : ` ${error}`}`;
      const expected = `TCP: 5 answers, called by ${wanted}; UDP: 5 answers, called by ${wanted}`;
      const seen = `TCP: ${word(tcp)}; UDP: ${word(udp)}`;
      return { ok: seen === expected, expected, seen };
    } finally {
      await server.stop();
    }
  },

  sabotage: (context, { from, address, port }) =>
    loseTraffic(context, context.place(from), `ip daddr ${address} tcp dport ${port}`),
});

export const floatingIp = defineKind({
  kind: 'floating-ip',
  summary:
    '`vm` calls `external` in the name of `address`, from the port that it has chosen, and is called by `external` at `address` on any port; pings both ways',
  fields: ['vm', 'external', 'address'],
  read: (fields) => ({
    vm: fields.vm('vm'),
    external: fields.external('external'),
    address: fields.ip('address'),
  }),

  async run(context, { vm, external, address }) {
    const inside = context.vm(vm);
    const outside = context.external(external);
    const family = familyOf(address);
    const own = context.address(outside, family);
    const port = ownPort(context);
    const options = { count: 5, sourcePort: port + 1 };
    const servers = [
      await startServer(outside, own, port),
      await startServer(inside, context.address(inside, family), port),
    ];
    const ping = async (namespace: string, target: string) =>
      (await tryRun(inNetns(namespace, ['ping', '-n', '-q', '-c', '1', '-W', '2', target]))).code === 0;
    try {
      const out = await converse({ from: inside, address: own, port, options });
      const back = await converse({ from: outside, address, port, options });
      const pinged = [await ping(inside.namespace, own), await ping(outside.namespace, address)];
      const ends = `${port + 1}, 5 answers`;
      const expected = `out: as ${address} ${ends}; in: as ${own} ${ends}; 2 pings of 2`;
      const seen = `out: as ${out.seenAs}, ${out.answered} answers; in: as ${back.seenAs}, ${back.answered} answers; ${pinged.filter(Boolean).length} pings of 2`;
      return { ok: seen === expected, expected, seen };
    } finally {
      for (const server of servers) await server.stop();
    }
  },

  sabotage(context, { external, address }) {
    const ip = familyOf(address) === 4 ? 'ip' : 'ip6';
    return loseTraffic(context, context.external(external), `${ip} daddr ${address} tcp dport ${ownPort(context)}`);
  },
});
