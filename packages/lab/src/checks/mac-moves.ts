/** A MAC address (with its IP address) that appears elsewhere is followed. */
import { inNetns, ipBatch, run } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { startProbe } from '../probe.ts';
import { killAgent, restartAgent } from '../restart.ts';
import { waitUntil } from '../wait.ts';
import { defineKind } from './kind.ts';

export const macMoves = defineKind({
  kind: 'mac-moves',
  summary:
    '`from` pings `mover`, whose MAC and address move to the VM `target`: the answers go on from there; `whileDead`: moved while the agent of `from` was dead',
  fields: ['from', 'mover', 'target', 'whileDead'],
  read: (fields) => ({
    from: fields.vm('from'),
    /** Its bridge must have learned it (`known: false`): what an operator has written down does not move. */
    mover: fields.vm('mover'),
    target: fields.vm('target'),
    whileDead: fields.boolean('whileDead', false),
  }),

  async run(context, { from, mover, target, whileDead }) {
    const old = context.vm(mover);
    const next = context.vm(target);
    const [iface] = old.interfaces;
    const cidr = iface!.cidrs.find((one) => !one.includes(':'))!;
    const address = cidr.split('/')[0]!;
    const probe = await startProbe(context.vm(from), address, 20);
    const host = context.hostOf(context.vm(from));
    let followed = false;
    let returned = false;
    try {
      if (whileDead) await killAgent(context.lab, host);
      await ipBatch(old.namespace, ['link set eth0 down']);
      await ipBatch(next.namespace, [`link set eth0 address ${iface!.mac}`, `addr add ${cidr} dev eth0`]);
      await announce(next.namespace, address);
      if (whileDead) await restartAgent(context.lab, host);
      const before = probe.answers();
      followed = await waitUntil(() => probe.answers() > before + 5, 5000);
    } finally {
      const own = next.interfaces[0]!;
      await ipBatch(next.namespace, [`addr del ${cidr} dev eth0`, `link set eth0 address ${own.mac}`]);
      await ipBatch(old.namespace, ['link set eth0 up']);
      // Taking the link down has taken IPv6 addresses and all routes.
      const addresses = iface!.cidrs.map((one) => `addr replace ${one} dev eth0 nodad`);
      const routes = iface!.gateways.map((gateway) => `route replace default via ${gateway} dev eth0`);
      await ipBatch(old.namespace, [...addresses, ...routes]);
      await announce(old.namespace, address);
      const before = probe.answers();
      returned = await waitUntil(() => probe.answers() > before + 5, 5000);
      await probe.stop();
    }
    return {
      ok: followed && returned,
      expected: `${address} answers from ${target}, then from ${mover} again`,
      seen: `${followed ? 'answers' : 'no answers'} from ${target}, ${returned ? 'answers' : 'no answers'} from ${mover} again`,
    };
  },

  sabotage(context, { mover, target }) {
    const { mac } = context.vm(mover).interfaces[0]!;
    return nftFault(
      `${target} loses what it sends in the name of ${mac}`,
      context.vm(target).namespace,
      `chain out { type filter hook egress device "eth0" priority 0; ether saddr ${mac} drop; }`,
      'netdev',
    );
  },
});

/** Gratuitous ARP (RFC 5227 §3): a guest that has moved says so. */
async function announce(namespace: string, address: string): Promise<void> {
  await run(inNetns(namespace, ['arping', '-q', '-c', '1', '-U', '-I', 'eth0', address]));
}
