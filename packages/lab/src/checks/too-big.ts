/** A VM that sends packets too big for the tunnel is told so, with the size that fits. */
import { inNetns, tryRun } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { tunnelOverhead, UNDERLAY_MTU } from '../plan.ts';
import { defineKind } from './kind.ts';

export const tooBig = defineKind({
  kind: 'too-big',
  summary: "packets of a VM whose MTU exceeds the tunnels' are answered with packet-too-big and the right MTU",
  fields: ['from', 'to', 'family'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to'), family: fields.family('family') }),

  async run(context, { from, to, family }) {
    const source = context.vm(from);
    const address = context.address(context.vm(to), family);
    const mtu = UNDERLAY_MTU - tunnelOverhead(context.plan.encap, context.plan.underlay);
    await tryRun(['ip', '-n', source.namespace, `-${family}`, 'route', 'flush', 'cache']);
    const size = source.mtu - (family === 4 ? 28 : 48);
    const argv = ['ping', `-${family}`, '-n', '-M', 'do', '-c', '3', '-i', '0.2', '-W', '1', '-s', size, address];
    const { stdout, stderr } = await tryRun(inNetns(source.namespace, argv.map(String)));
    const said = /(?:mtu ?= ?|mtu=)(\d+)/i.exec(stdout + stderr)?.[1];
    await tryRun(['ip', '-n', source.namespace, `-${family}`, 'route', 'flush', 'cache']);
    return {
      ok: said === String(mtu),
      expected: `packets of ${source.mtu} bytes answered with "too big", MTU ${mtu}`,
      seen: said === undefined ? `no such answer: ${stdout.trim().split('\n').at(-2) ?? ''}` : `MTU ${said}`,
    };
  },

  sabotage(context, { from, family }) {
    const match = family === 4 ? 'icmp type destination-unreachable' : 'icmpv6 type packet-too-big';
    return nftFault(
      `${from} does not hear that its packets are too big`,
      context.vm(from).namespace,
      `chain in { type filter hook prerouting priority raw; ${match} drop; }`,
    );
  },
});
