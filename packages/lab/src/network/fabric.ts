/**
 * The IP fabric: one routing namespace to which every host has two links, each a subnet of its own. Tunnel addresses lie on
 * the hosts' loopbacks and are reached over both links, so that nothing depends on a shared segment or on one link.
 */
import { ipBatch, setSysctls } from '../exec.ts';
import { type HostPlan, type LabPlan, UNDERLAY_MTU } from '../plan.ts';

const ROUTER_SYSCTLS = {
  'net.ipv4.ip_forward': 1,
  'net.ipv6.conf.all.forwarding': 1,
} as const;

const UNDERLAY_SYSCTLS = {
  // The way back may take the other link.
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
  // A path without carrier is no path.
  'net.ipv4.conf.all.ignore_routes_with_linkdown': 1,
  'net.ipv6.conf.all.ignore_routes_with_linkdown': 1,
  // Spread flows, not only pairs of hosts: the hash looks at ports.
  'net.ipv4.fib_multipath_hash_policy': 1,
  'net.ipv6.fib_multipath_hash_policy': 1,
  'net.ipv6.conf.all.keep_addr_on_down': 1,
  'net.ipv6.conf.default.keep_addr_on_down': 1,
  'net.ipv6.conf.all.accept_dad': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.router_solicitations': 0,
} as const;

export async function createFabric(plan: LabPlan): Promise<void> {
  await ipBatch(
    null,
    [plan.fabric, ...plan.hosts.map((host) => host.namespace)].map((name) => `netns add ${name}`),
  );
  await setSysctls(plan.fabric, { ...UNDERLAY_SYSCTLS, ...ROUTER_SYSCTLS });
  for (const host of plan.hosts) await setSysctls(host.namespace, UNDERLAY_SYSCTLS);
  await ipBatch(plan.fabric, ['link set lo up', ...plan.hosts.flatMap((host) => fabricSide(host))]);
  for (const host of plan.hosts) await ipBatch(host.namespace, hostSide(host));
  await ipBatch(
    plan.fabric,
    plan.hosts.flatMap((host) => fabricRoutes(host)),
  );
}

function fabricSide(host: HostPlan): string[] {
  return host.links.flatMap((link) => [
    `link add ${link.fabricInterface} mtu ${UNDERLAY_MTU} type veth peer name ${link.hostInterface} mtu ${UNDERLAY_MTU} netns ${host.namespace}`,
    `addr add ${link.fabricAddress4}/30 dev ${link.fabricInterface}`,
    `addr add ${link.fabricAddress6}/64 dev ${link.fabricInterface} nodad`,
    `link set ${link.fabricInterface} up`,
  ]);
}

function hostSide(host: HostPlan): string[] {
  return [
    'link set lo up',
    `addr add ${host.tunnelAddress4}/32 dev lo`,
    `addr add ${host.tunnelAddress6}/128 dev lo nodad`,
    ...host.links.flatMap((link) => [
      `addr add ${link.hostAddress4}/30 dev ${link.hostInterface}`,
      `addr add ${link.hostAddress6}/64 dev ${link.hostInterface} nodad`,
      `link set ${link.hostInterface} up`,
    ]),
    ...hostRoutes(host),
  ];
}

/** The default route over both links; also what repairs a host after one of them was away. */
export function hostRoutes(host: HostPlan): string[] {
  const hops = (address: 'fabricAddress4' | 'fabricAddress6') =>
    host.links.map((link) => `nexthop via ${link[address]} dev ${link.hostInterface}`).join(' ');
  return [
    `route replace default src ${host.tunnelAddress4} ${hops('fabricAddress4')}`,
    `route replace default src ${host.tunnelAddress6} ${hops('fabricAddress6')}`,
  ];
}

/** The fabric's routes to a host's loopback. */
export function fabricRoutes(host: HostPlan): string[] {
  const hops = (address: 'hostAddress4' | 'hostAddress6') =>
    host.links.map((link) => `nexthop via ${link[address]} dev ${link.fabricInterface}`).join(' ');
  return [
    `route replace ${host.tunnelAddress4}/32 ${hops('hostAddress4')}`,
    `route replace ${host.tunnelAddress6}/128 ${hops('hostAddress6')}`,
  ];
}
