/** A port with an outbound filter of its own gets its own copy of a flooded frame, by its own key: the filter was asked for it. */
import { awaitFrame, decode, startCapture } from '../capture.ts';
import { awaitConvergence } from '../convergence.ts';
import { type FaultStep, nftFault, perform } from '../faults/fault.ts';
import { ethernetFrame, frameFilter, sendFrames } from '../frames.ts';
import { bridgeId } from '../ids.ts';
import { labUuid } from '../names.ts';
import { readCapture } from '../pcap.ts';
import { tunnelAddress, type VmPlan } from '../plan.ts';
import { type CheckContext, defineKind } from './kind.ts';

const NOBODY = '02:ee:00:00:00:03';
const ETHERTYPE = 0x88ba;

export const floodFiltered = defineKind({
  kind: 'flood-filtered',
  needsApi: true,
  summary:
    "a flooded frame of `from` travels once more, by the port's own key, to a host whose port `filtered` has an outbound filter",
  fields: ['from', 'filtered'],
  read: (fields) => ({ from: fields.vm('from'), filtered: fields.vm('filtered') }),

  async run(context, { from, filtered }) {
    const source = context.vm(from);
    const { network, mac } = source.interfaces[0]!;
    const members = context.plan.vms.filter(
      (vm) => vm !== source && vm.tenant === source.tenant && vm.interfaces.some((iface) => iface.network === network),
    );
    const { apply, undo } = await filterSteps(context, context.vm(filtered));
    for (const step of apply) await perform(context.lab, step);
    try {
      await awaitConvergence(context.api);
      const filter = frameFilter(NOBODY, mac, undefined, ETHERTYPE);
      const { captures } = context.plan.paths;
      const deviceOf = (vm: VmPlan) => vm.interfaces.find((iface) => iface.network === network)!.device;
      const atVms = await Promise.all(members.map((vm) => startCapture(captures, vm.namespace, deviceOf(vm), filter)));
      const onFabric = await Promise.all(
        context
          .hostOf(source)
          .links.map((link) => startCapture(captures, context.plan.fabric, link.fabricInterface, '')),
      );
      try {
        sendFrames(source.namespace, 'eth0', [
          ethernetFrame(NOBODY, mac, undefined, ETHERTYPE, new Uint8Array(64).fill(0x5a)),
        ]);
        for (const capture of atVms) await awaitFrame(capture, filter).catch(() => {});
        const counts: string[] = [];
        for (const [i, capture] of atVms.entries())
          counts.push(`${members[i]!.name} ${(await readCapture(await capture.stop())).length}`);
        const copies: string[] = [];
        for (const capture of onFabric) copies.push(...(await copiesIn(context, await capture.stop())));
        const wanted = await expectedCopies(context, source, members, filtered);
        const everyone = members.map((vm) => `${vm.name} 1`).join(', ');
        return {
          ok: counts.join(', ') === everyone && copies.sort().join() === wanted.sort().join(),
          expected: `${everyone}; on the fabric ${wanted.join(', ')}`,
          seen: `${counts.join(', ')}; on the fabric ${copies.join(', ') || 'none'}`,
        };
      } finally {
        for (const capture of [...atVms, ...onFabric]) await capture.stop();
      }
    } finally {
      for (const step of undo) await perform(context.lab, step);
      await awaitConvergence(context.api);
    }
  },

  sabotage(context, { from }) {
    return nftFault(
      `${from} loses what it sends to ${NOBODY}`,
      context.vm(from).namespace,
      `chain out { type filter hook egress device "eth0" priority 0; ether daddr ${NOBODY} drop; }`,
      'netdev',
    );
  },
});

/** An outbound filter that lets everything pass, and its removal. */
async function filterSteps(context: CheckContext, vm: VmPlan): Promise<{ apply: FaultStep[]; undo: FaultStep[] }> {
  const chainId = labUuid('check', context.checkName);
  const path = `/ports/${vm.interfaces[0]!.portId}`;
  const before = (await context.api.get<{ outboundFilterId?: string | null }>(path)).outboundFilterId ?? null;
  return {
    apply: [
      { do: 'post', path: '/chains', body: { id: chainId, name: context.checkName }, orExists: `/chains/${chainId}` },
      { do: 'patch', path, fields: { outboundFilterId: chainId } },
    ],
    undo: [
      { do: 'patch', path, fields: { outboundFilterId: before === chainId ? null : before } },
      { do: 'delete', path: `/chains/${chainId}` },
    ],
  };
}

/** `address key N` of each copy: one per host that has plain ports, and one for the filtered port. */
async function expectedCopies(
  context: CheckContext,
  source: VmPlan,
  members: readonly VmPlan[],
  filtered: string,
): Promise<string[]> {
  const key = async (path: string) => (await context.api.get<{ tunnelKey: number }>(path)).tunnelKey;
  const { network } = source.interfaces[0]!;
  const floodKey = await key(`/bridges/${bridgeId(source.tenant, network)}`);
  const remote = members.filter((vm) => vm.host !== source.host);
  const plainHosts = new Set(remote.filter((vm) => vm.name !== filtered).map((vm) => vm.host));
  const address = (host: string) =>
    tunnelAddress(context.plan, context.plan.hosts.find((candidate) => candidate.name === host)!);
  const copies = [...plainHosts].map((host) => `${address(host)} key ${floodKey}`);
  const own = remote.find((vm) => vm.name === filtered);
  if (own) {
    copies.push(
      `${address(own.host)} key ${await key(`/ports/${own.interfaces.find((iface) => iface.network === network)!.portId}`)}`,
    );
  }
  return copies;
}

async function copiesIn({ plan }: CheckContext, file: string): Promise<string[]> {
  const keyField = plan.encap === 'vxlan' ? 'vxlan.vni' : 'gre.key';
  const destination = plan.underlay === 'ipv4' ? 'ip.dst' : 'ipv6.dst';
  const frames = await decode(file, [destination, keyField], `eth.dst == ${NOBODY}`);
  return frames.map((frame) => `${frame.get(destination)![0]} key ${Number(frame.get(keyField)![0])}`);
}
