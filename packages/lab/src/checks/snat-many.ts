/** Many connections at the same time from several hosts to one server, in one name: no two may look the same there. */
import { addressOf, holdConnections, startServer } from '../talk.ts';
import { loseTraffic, ownPort } from './firewall.ts';
import { defineKind } from './kind.ts';

export const snatMany = defineKind({
  kind: 'snat-many',
  summary:
    '`connections` of the VMs `from` to one server of `external` are open at the same time, all from the address `as`, each from a port of its own',
  fields: ['from', 'external', 'as', 'connections'],
  read: (fields) => ({
    from: fields.vms('from'),
    external: fields.external('external'),
    as: fields.ip('as'),
    /** A server has a descriptor for each, and some for itself. */
    connections: fields.integer('connections', 1, 19_000, 10_000),
  }),

  async run(context, { from, external, as, connections }) {
    const outside = context.external(external);
    const address = context.address(outside, 4);
    const port = ownPort(context);
    const server = await startServer(outside, address, port);
    const share = (i: number) => Math.floor((connections + i) / from.length);
    const holds: Awaited<ReturnType<typeof holdConnections>>[] = [];
    try {
      const started = await Promise.allSettled(
        from.map((name, i) => holdConnections(context.vm(name), address, port, share(i))),
      );
      for (const one of started) if (one.status === 'fulfilled') holds.push(one.value);
      const open = holds.map((one) => one.open);
      const peers = server.peers();
      const others = new Set(peers.map(addressOf).filter((one) => one !== as));
      const line = (total: number, different: number, strangers: number) =>
        `${total} connections open, ${different} different ports of ${as}, ${strangers} other addresses`;
      const expected = line(connections, connections, 0);
      const total = open.reduce((sum, one) => sum + one, 0);
      const seen = line(total, new Set(peers).size, others.size);
      return {
        ok: seen === expected && peers.length === connections,
        expected,
        seen: peers.length === connections ? seen : `${seen}; ${peers.length} were accepted`,
      };
    } finally {
      await Promise.all(holds.map((one) => one.stop()));
      await server.stop();
    }
  },

  // Some of the ports that the guest takes (even ones, when they are many): each that fails is waited for.
  sabotage: (context, { from }) =>
    loseTraffic(context, context.vm(from[0]!), `tcp dport ${ownPort(context)} tcp sport & 0x7e == 0x10`),
});
