/** Outside networks: a namespace each, wired to the gateway hosts, or behind another outside network. */
import { ipBatch, setSysctls } from '../exec.ts';
import { familyOf, type LabPlan } from '../plan.ts';
import type { ExternalLinkPlan, ExternalPlan, ExternalRoutePlan } from '../plan-externals.ts';
import { GUEST_SYSCTLS } from './vms.ts';

const EXTERNAL_SYSCTLS = {
  ...GUEST_SYSCTLS,
  'net.ipv4.ping_group_range': '0 0',
  // Asks for a router's MAC from the address that it has on the link, as routers do: a virtual router answers nobody else.
  'net.ipv4.conf.all.arp_announce': 2,
  // The way back is not the way there: that is what it is for.
  'net.ipv4.conf.all.ignore_routes_with_linkdown': 1,
  'net.ipv6.conf.all.ignore_routes_with_linkdown': 1,
  'net.ipv4.fib_multipath_hash_policy': 1,
  'net.ipv6.fib_multipath_hash_policy': 1,
  'net.ipv6.conf.all.keep_addr_on_down': 1,
  'net.ipv6.conf.default.keep_addr_on_down': 1,
} as const;

/** Hosts and fabric are there already. */
export async function createExternals(plan: LabPlan): Promise<void> {
  const { externals } = plan;
  await ipBatch(
    null,
    externals.map((external) => `netns add ${external.namespace}`),
  );
  for (const external of externals) {
    await setSysctls(external.namespace, {
      ...EXTERNAL_SYSCTLS,
      ...(external.forward && { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 }),
    });
    await ipBatch(external.namespace, ['link set lo up', ...external.addresses.map((one) => loopback(one))]);
  }
  for (const host of plan.hosts) {
    const here = externals.flatMap((external) =>
      external.links.filter((link) => link.host === host.name).flatMap((link) => hostSide(external, link)),
    );
    await ipBatch(host.namespace, here);
  }
  for (const external of externals) await ipBatch(external.namespace, farSide(external));
  for (const external of externals) {
    const { behind } = external;
    if (behind === undefined) continue;
    await ipBatch(behind.namespace, outerSide(external));
    await ipBatch(external.namespace, [
      `addr add ${behind.address4}/30 dev ${behind.device}`,
      `addr add ${behind.address6}/64 dev ${behind.device} nodad`,
      `link set ${behind.device} up`,
      ...defaults(external),
    ]);
  }
}

const loopback = (address: string) => `addr add ${address}/${familyOf(address) === 4 ? 32 : 128} dev lo`;

function hostSide({ namespace, mtu }: ExternalPlan, link: ExternalLinkPlan): string[] {
  return [
    `link add ${link.hostInterface} mtu ${mtu} type veth peer name ${link.device} address ${link.deviceMac} mtu ${mtu} netns ${namespace}`,
    // The host's own stack has no business on it, not even before the agent takes it over.
    `link set ${link.hostInterface} addrgenmode none`,
    `link set ${link.hostInterface} up`,
  ];
}

function farSide({ links, routes }: ExternalPlan): string[] {
  return [
    ...links.flatMap((link) => [
      ...link.peerCidrs.map((cidr) => `addr add ${cidr} dev ${link.device} nodad`),
      `link set ${link.device} up`,
    ]),
    ...routes.map(externalRoute),
  ];
}

/** Also what repairs a way back after its link was down. */
export function externalRoute({ dst, metric, source, hops }: ExternalRoutePlan): string {
  const from = source === undefined ? '' : ` src ${source}`;
  const ways = hops.map(({ gateway, device }) => `nexthop via ${gateway} dev ${device}`);
  return `route replace ${dst} metric ${metric}${from} ${ways.join(' ')}`;
}

/** What an outside network does for one behind it. */
function outerSide({ behind, mtu, namespace, addresses }: ExternalPlan): string[] {
  const { outerDevice, device, outerAddress4, outerAddress6, address4, address6 } = behind!;
  return [
    `link add ${outerDevice} mtu ${mtu} type veth peer name ${device} mtu ${mtu} netns ${namespace}`,
    `addr add ${outerAddress4}/30 dev ${outerDevice}`,
    `addr add ${outerAddress6}/64 dev ${outerDevice} nodad`,
    `link set ${outerDevice} up`,
    ...addresses.map((address) => `route add ${address} via ${familyOf(address) === 4 ? address4 : address6}`),
  ];
}

/** Segments that it asks for are as large as elsewhere: that the wire is narrow is for others to find out. */
function defaults({ behind, addresses }: ExternalPlan): string[] {
  return ([4, 6] as const).map((family) => {
    const own = addresses.find((address) => familyOf(address) === family);
    const gateway = family === 4 ? behind!.outerAddress4 : behind!.outerAddress6;
    return `route add default via ${gateway}${own === undefined ? '' : ` src ${own}`} advmss ${family === 4 ? 1460 : 1440}`;
  });
}
