/** What hosts tell each other of connections gets lost on its way: connections come about all the same. */
import { inNetns, run } from '../exec.ts';
import { type Fault, nftFault, perform } from '../faults/fault.ts';
import { addressOf, holdConnections, startServer } from '../talk.ts';
import { loseTraffic, ownPort } from './firewall.ts';
import { type CheckContext, defineKind } from './kind.ts';

/** Tunnel key of flow state. */
const STATE_KEY = '0xffffff';

export const stateLoss = defineKind({
  kind: 'state-loss',
  summary:
    'while `percent` of the datagrams between hosts about connections are lost, `connections` of the VMs `from` to `external` come about, all from the address `as`',
  fields: ['from', 'external', 'as', 'percent', 'connections'],
  read: (fields) => ({
    from: fields.vms('from'),
    external: fields.external('external'),
    as: fields.ip('as'),
    percent: fields.integer('percent', 1, 90, 30),
    connections: fields.integer('connections', 1, 10_000, 400),
  }),

  async run(context, { from, external, as, percent, connections }) {
    const outside = context.external(external);
    const address = context.address(outside, 4);
    const port = ownPort(context);
    const loss = stateFault(context, percent);
    const server = await startServer(outside, address, port);
    const holds: Awaited<ReturnType<typeof holdConnections>>[] = [];
    try {
      for (const step of loss.plant) await perform(context.lab, step);
      const share = Math.ceil(connections / from.length);
      for (const name of from) holds.push(await holdConnections(context.vm(name), address, port, share));
      const lost = await droppedBy(context);
      const peers = server.peers();
      const wrong = new Set(peers.map(addressOf).filter((one) => one !== as));
      const open = holds.reduce((sum, one) => sum + one.open, 0);
      const total = share * from.length;
      return {
        ok: open === total && wrong.size === 0 && new Set(peers).size === total && lost > 0,
        expected: `${total} connections, each from its own port of ${as}, with datagrams about them lost`,
        seen: `${open} connections from ${new Set(peers).size} ports, ${wrong.size} other addresses, ${lost} datagrams lost`,
      };
    } finally {
      for (const step of loss.remove) await perform(context.lab, step);
      for (const one of holds) await one.stop();
      await server.stop();
    }
  },

  // Some of the ports that the guest takes: each that fails is waited for.
  sabotage: (context, { from }) =>
    loseTraffic(context, context.vm(from[0]!), `tcp dport ${ownPort(context)} tcp sport & 0x0e == 0x02`),
});

/** In the fabric; by the key in the header of VXLAN (RFC 7348 §5) or GRE (RFC 2890 §2.1). */
function stateFault({ plan }: CheckContext, percent: number): Fault {
  const match =
    plan.encap === 'vxlan'
      ? `meta l4proto udp udp dport 4789 @th,96,24 ${STATE_KEY}`
      : `meta l4proto gre @th,32,32 ${STATE_KEY}`;
  return nftFault(
    `${percent} of 100 datagrams about connections are lost`,
    plan.fabric,
    `chain pass { type filter hook forward priority 0; ${match} numgen random mod 100 < ${percent} counter drop; }`,
  );
}

async function droppedBy({ plan }: CheckContext): Promise<number> {
  const rules = await run(inNetns(plan.fabric, ['nft', 'list', 'ruleset']));
  const counted = [...rules.matchAll(/numgen random mod 100 < \d+ counter packets (\d+)/g)];
  return counted.reduce((sum, match) => sum + Number(match[1]), 0);
}
