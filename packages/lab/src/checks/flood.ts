/** A frame for an unknown MAC: one copy per host on the fabric, under the bridge's flood key, and one for every other VM. */
import { randomBytes } from 'node:crypto';
import { awaitFrame, countFrames, decode, startCapture } from '../capture.ts';
import { nftFault } from '../faults/fault.ts';
import { ethernetFrame, frameFilter, sendFrames } from '../frames.ts';
import { bridgeId } from '../ids.ts';
import { tunnelAddress, type VmPlan } from '../plan.ts';
import { type CheckContext, defineKind } from './kind.ts';

const NOBODY = '02:ee:00:00:00:01';
const ETHERTYPE = 0x88b6;

export const flood = defineKind({
  kind: 'flood',
  needsApi: true,
  summary: 'a frame of `from` for an unknown MAC reaches every other VM of the network once, each host by one copy',
  fields: ['from'],
  read: (fields) => ({ from: fields.vm('from') }),

  async run(context, { from }) {
    const source = context.vm(from);
    const { network, mac } = source.interfaces[0]!;
    const others = membersOf(context, source, network);
    const remoteHosts = new Set(others.map((vm) => vm.host).filter((host) => host !== source.host));
    const filter = frameFilter(NOBODY, mac, undefined, ETHERTYPE);
    const { captures } = context.plan.paths;
    const atVms = await Promise.all(
      others.map((vm) => startCapture(captures, vm.namespace, deviceIn(vm, network), filter)),
    );
    const near = context.hostOf(source);
    const onFabric = await Promise.all(
      near.links.map((link) => startCapture(captures, context.plan.fabric, link.fabricInterface, '')),
    );
    try {
      sendFrames(source.namespace, 'eth0', [ethernetFrame(NOBODY, mac, undefined, ETHERTYPE, randomBytes(100))]);
      for (const capture of atVms) await awaitFrame(capture, filter).catch(() => {});
      const counts: number[] = [];
      for (const capture of atVms) counts.push(await countFrames(await capture.stop(), filter));
      const key = (await context.api.get<{ tunnelKey: number }>(`/bridges/${bridgeId(source.tenant, network)}`))
        .tunnelKey;
      const copies: string[] = [];
      for (const capture of onFabric) copies.push(...(await copiesIn(await capture.stop(), context)));
      const wanted = context.plan.hosts
        .filter((host) => remoteHosts.has(host.name))
        .map((host) => `${tunnelAddress(context.plan, host)} key ${key}`)
        .sort();
      const ok = counts.every((count) => count === 1) && copies.sort().join() === wanted.join();
      return {
        ok,
        expected: `one frame at each of ${others.map((vm) => vm.name).join(', ')}; on the fabric ${wanted.join(', ') || 'none'}`,
        seen: `${others.map((vm, i) => `${vm.name} ${counts[i]}`).join(', ')}; on the fabric ${copies.join(', ') || 'none'}`,
      };
    } finally {
      for (const capture of [...atVms, ...onFabric]) await capture.stop();
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

function membersOf(context: CheckContext, source: VmPlan, network: string): VmPlan[] {
  return context.plan.vms.filter(
    (vm) => vm !== source && vm.tenant === source.tenant && vm.interfaces.some((iface) => iface.network === network),
  );
}

function deviceIn(vm: VmPlan, network: string): string {
  return vm.interfaces.find((iface) => iface.network === network)!.device;
}

/** `destination key N` of each copy of the flooded frame. */
async function copiesIn(file: string, { plan }: CheckContext): Promise<string[]> {
  const keyField = plan.encap === 'vxlan' ? 'vxlan.vni' : 'gre.key';
  const destination = plan.underlay === 'ipv4' ? 'ip.dst' : 'ipv6.dst';
  const frames = await decode(file, [destination, keyField], `eth.dst == ${NOBODY}`);
  return frames.map((frame) => `${frame.get(destination)![0]} key ${Number(frame.get(keyField)![0])}`);
}
