/** A bound interface is cut off from the host's own stack: a VM can neither resolve nor reach its host. */
import { inNetns, tryRun } from '../exec.ts';
import { defineKind } from './kind.ts';

export const hostStack = defineKind({
  kind: 'host-stack',
  summary: "a VM gets no ARP answer for its host's addresses, and its link has no address of the host",
  fields: ['from', 'answerer'],
  read: (fields) => ({
    from: fields.vm('from'),
    /** VM of the same network that answers for the host when the check is sabotaged. */
    answerer: fields.vm('answerer'),
  }),

  async run(context, { from }) {
    const source = context.vm(from);
    const host = context.hostOf(source);
    const addresses = [host.tunnelAddress4, ...host.links.map((link) => link.hostAddress4)];
    const answered: string[] = [];
    for (const address of addresses) {
      const argv = ['arping', '-q', '-f', '-c', '2', '-w', '1', '-I', 'eth0', address];
      if ((await tryRun(inNetns(source.namespace, argv))).code === 0) answered.push(address);
    }
    const links = JSON.parse(
      (await tryRun(['ip', '-n', host.namespace, '-j', '-6', 'addr', 'show'])).stdout || '[]',
    ) as {
      ifname?: string;
      addr_info?: { local?: string }[];
    }[];
    const own = links
      .filter((link) => context.plan.vms.some((vm) => vm.interfaces.some((iface) => iface.tap === link.ifname)))
      .flatMap((link) => (link.addr_info ?? []).map((info) => `${info.local} on ${link.ifname}`));
    return {
      ok: answered.length === 0 && own.length === 0,
      expected: `no answer at ${from} for ${addresses.join(', ')}, no address of the host on a VM's link`,
      seen: [...answered.map((address) => `an answer for ${address}`), ...own].join('; ') || 'none',
    };
  },

  sabotage(context, { from, answerer }) {
    const { tunnelAddress4 } = context.hostOf(context.vm(from));
    const argv = (verb: string) => ['ip', 'addr', verb, `${tunnelAddress4}/32`, 'dev', 'eth0'];
    const { namespace } = context.vm(answerer);
    return {
      what: `${answerer} answers for ${tunnelAddress4}`,
      plant: [{ do: 'exec', namespace, argv: argv('add') }],
      remove: [{ do: 'exec', namespace, argv: argv('del') }],
    };
  },
});
