/**
 * Two hosts behind a routing fabric, without any overlay. Same shape as a lab: the hosts are namespaces, two links each, tunnel
 * addresses on loopbacks, underlay MTU 1500. The kernel's own overlays are built on it.
 */
import { randomBytes } from 'node:crypto';
import { listNetns } from '@weft/sys';
import { onCleanup } from './cleanup.ts';
import { inNamespace, ipBatch, run, tryRun } from './exec.ts';
import type { Host } from './paths.ts';

/** Namespaces of a benchmark that runs as process 123 begin with `weft-bench-123-`. */
export const NAMESPACE_PREFIX = 'weft-bench-';
const UNDERLAY_MTU = 1500;

/** The kernel's default way to spread and check paths, set as a lab sets it: `packages/lab/src/network/fabric.ts`. */
const UNDERLAY_SYSCTLS = [
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
  'net.ipv4.fib_multipath_hash_policy=1',
  'net.ipv6.conf.default.accept_dad=0',
  'net.ipv6.conf.default.router_solicitations=0',
];

export interface UnderlayHost extends Host {
  readonly number: number;
  /** Address of its tunnels. */
  readonly tunnel: string;
  /** Of the VM on it: there is nothing in it yet. */
  readonly vmNamespace: string;
}

export interface KernelUnderlay {
  readonly hosts: readonly [UnderlayHost, UnderlayHost];
  readonly fabric: Host;
  /** Removes it, and what was built on it; else that is done at the end. */
  readonly down: () => Promise<void>;
}

/** Removes what a benchmark left behind that no longer runs. */
export async function sweepKernelUnderlays(isRunning: (pid: number) => boolean): Promise<void> {
  for (const name of listNetns()) {
    const owner = new RegExp(`^${NAMESPACE_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner !== undefined && !isRunning(Number(owner))) await tryRun(['ip', 'netns', 'delete', name]);
  }
}

export async function createKernelUnderlay(what: string): Promise<KernelUnderlay> {
  const prefix = `${NAMESPACE_PREFIX}${process.pid}-${randomBytes(2).toString('hex')}`;
  const fabric = `${prefix}-fabric`;
  const hosts = [planHost(prefix, 1), planHost(prefix, 2)] as const;
  const namespaces = [fabric, ...hosts.flatMap((host) => [host.namespace, host.vmNamespace])];
  const down = onCleanup(what, async () => {
    for (const name of listNetns().filter((name) => namespaces.includes(name)))
      await run(['ip', 'netns', 'delete', name]);
  });
  await ipBatch(
    null,
    namespaces.map((name) => `netns add ${name}`),
  );
  await run(inNamespace(fabric, ['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1', ...UNDERLAY_SYSCTLS]));
  for (const host of hosts) await run(inNamespace(host.namespace, ['sysctl', '-q', '-w', ...UNDERLAY_SYSCTLS]));
  await ipBatch(fabric, ['link set lo up', ...hosts.flatMap(fabricSide)]);
  for (const host of hosts) await ipBatch(host.namespace, hostSide(host));
  await ipBatch(fabric, hosts.map(fabricRoute));
  return {
    hosts,
    fabric: { namespace: fabric, uplinks: hosts.flatMap((host) => [`f${host.number}0`, `f${host.number}1`]) },
    down,
  };
}

/** A VXLAN device without outer UDP checksum and with DF, as Weft encapsulates. Words of `ip link add`. */
export function vxlanDevice(name: string, mtu: number, vni: number, own: UnderlayHost, other: UnderlayHost): string {
  return `${name} mtu ${mtu} type vxlan id ${vni} local ${own.tunnel} remote ${other.tunnel} dstport 4789 noudpcsum df set ttl 64`;
}

function planHost(prefix: string, number: number): UnderlayHost {
  return {
    number,
    namespace: `${prefix}-h${number}`,
    uplinks: ['u0', 'u1'],
    tunnel: `10.254.0.${number}`,
    vmNamespace: `${prefix}-vm${number}`,
  };
}

function fabricSide({ number, namespace }: UnderlayHost): string[] {
  return [0, 1].flatMap((link) => [
    `link add f${number}${link} mtu ${UNDERLAY_MTU} type veth peer name u${link} mtu ${UNDERLAY_MTU} netns ${namespace}`,
    `addr add 10.255.${number}.${4 * link + 1}/30 dev f${number}${link}`,
    `link set f${number}${link} up`,
  ]);
}

function hostSide({ number, tunnel }: UnderlayHost): string[] {
  const hops = [0, 1].map((link) => `nexthop via 10.255.${number}.${4 * link + 1} dev u${link}`).join(' ');
  return [
    'link set lo up',
    `addr add ${tunnel}/32 dev lo`,
    ...[0, 1].flatMap((link) => [`addr add 10.255.${number}.${4 * link + 2}/30 dev u${link}`, `link set u${link} up`]),
    `route add default src ${tunnel} ${hops}`,
  ];
}

function fabricRoute({ number, tunnel }: UnderlayHost): string {
  return `route add ${tunnel}/32 ${[0, 1].map((link) => `nexthop via 10.255.${number}.${4 * link + 2} dev f${number}${link}`).join(' ')}`;
}
