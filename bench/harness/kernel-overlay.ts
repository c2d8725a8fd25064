/**
 * The peer: the kernel's own overlay, a bridge and a VXLAN device on each of two hosts. Same shape as a lab: the hosts are
 * namespaces behind a routing fabric, two links each, tunnel addresses on loopbacks, underlay MTU 1500. Also the bare
 * underlay between the two hosts, without any overlay.
 */
import { randomBytes } from 'node:crypto';
import { listNetns } from '@weft/sys';
import { onCleanup } from './cleanup.ts';
import { inNamespace, ipBatch, run, tryRun } from './exec.ts';
import type { End, Host, NetworkPath } from './paths.ts';

/** Namespaces of a benchmark that runs as process 123 begin with `weft-bench-123-`. */
const PREFIX = 'weft-bench-';
const UNDERLAY_MTU = 1500;

/** The kernel's default way to spread and check paths, set as a lab sets it: `packages/lab/src/network/fabric.ts`. */
const UNDERLAY_SYSCTLS = [
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
  'net.ipv4.fib_multipath_hash_policy=1',
  'net.ipv6.conf.default.accept_dad=0',
  'net.ipv6.conf.default.router_solicitations=0',
];

export interface KernelOverlay {
  /** VM to VM through bridge, VXLAN device and fabric. */
  readonly overlay: NetworkPath;
  /** Host to host, not encapsulated. */
  readonly bare: NetworkPath;
}

/** Removes what a benchmark left behind that no longer runs. */
export async function sweepKernelOverlays(isRunning: (pid: number) => boolean): Promise<void> {
  for (const name of listNetns()) {
    const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner !== undefined && !isRunning(Number(owner))) await tryRun(['ip', 'netns', 'delete', name]);
  }
}

/** @param vmMtu IP MTU of the VMs, which has to be the one of the labs that it is compared with */
export async function createKernelOverlay(vmMtu: number): Promise<KernelOverlay> {
  const prefix = `${PREFIX}${process.pid}-${randomBytes(2).toString('hex')}`;
  const fabric = `${prefix}-fabric`;
  const hosts = [1, 2].map((number) => planHost(prefix, number));
  const namespaces = [fabric, ...hosts.flatMap((host) => [host.namespace, host.vm.namespace])];
  onCleanup('the kernel overlay', async () => {
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
  for (const [i, host] of hosts.entries()) {
    await ipBatch(host.namespace, overlaySide(host, hosts[1 - i], vmMtu));
    await ipBatch(host.vm.namespace, vmSide(host));
  }
  const underlay = {
    clientHost: { namespace: hosts[0].namespace, uplinks: ['u0', 'u1'] },
    serverHost: { namespace: hosts[1].namespace, uplinks: ['u0', 'u1'] },
    fabric: {
      namespace: fabric,
      uplinks: hosts.flatMap((host) => [`f${host.number}0`, `f${host.number}1`]),
    } satisfies Host,
  };
  const end = (host: HostPlan): End => ({ namespace: host.namespace, device: 'u0', mac: '', address: host.tunnel });
  return {
    overlay: {
      name: 'kernel bridge + VXLAN device',
      client: hosts[0].vm,
      server: hosts[1].vm,
      onWire: 'udp dst port 4789',
      ...underlay,
    },
    bare: { name: 'bare underlay', client: end(hosts[0]), server: end(hosts[1]), onWire: 'icmp or tcp', ...underlay },
  };
}

interface HostPlan {
  readonly number: number;
  readonly namespace: string;
  readonly tunnel: string;
  readonly vm: End;
}

function planHost(prefix: string, number: number): HostPlan {
  return {
    number,
    namespace: `${prefix}-h${number}`,
    tunnel: `10.254.0.${number}`,
    vm: {
      namespace: `${prefix}-vm${number}`,
      device: 'eth0',
      mac: `02:00:00:00:00:0${number}`,
      address: `10.1.0.${number}`,
    },
  };
}

function fabricSide({ number, namespace }: HostPlan): string[] {
  return [0, 1].flatMap((link) => [
    `link add f${number}${link} mtu ${UNDERLAY_MTU} type veth peer name u${link} mtu ${UNDERLAY_MTU} netns ${namespace}`,
    `addr add 10.255.${number}.${4 * link + 1}/30 dev f${number}${link}`,
    `link set f${number}${link} up`,
  ]);
}

function hostSide({ number, tunnel }: HostPlan): string[] {
  const hops = [0, 1].map((link) => `nexthop via 10.255.${number}.${4 * link + 1} dev u${link}`).join(' ');
  return [
    'link set lo up',
    `addr add ${tunnel}/32 dev lo`,
    ...[0, 1].flatMap((link) => [`addr add 10.255.${number}.${4 * link + 2}/30 dev u${link}`, `link set u${link} up`]),
    `route add default src ${tunnel} ${hops}`,
  ];
}

function fabricRoute({ number, tunnel }: HostPlan): string {
  return `route add ${tunnel}/32 ${[0, 1].map((link) => `nexthop via 10.255.${number}.${4 * link + 2} dev f${number}${link}`).join(' ')}`;
}

/** Without outer UDP checksum and with DF, as Weft encapsulates. */
function overlaySide(host: HostPlan, other: HostPlan, vmMtu: number): string[] {
  return [
    'link add br0 type bridge mcast_snooping 0',
    `link set br0 mtu ${vmMtu} addrgenmode none`,
    'link set br0 up',
    `link add vx0 mtu ${vmMtu} type vxlan id 7000 local ${host.tunnel} remote ${other.tunnel} dstport 4789 noudpcsum df set ttl 64`,
    'link set vx0 master br0 addrgenmode none',
    'link set vx0 up',
    `link add tap0 mtu ${vmMtu} type veth peer name ${host.vm.device} address ${host.vm.mac} mtu ${vmMtu} netns ${host.vm.namespace}`,
    'link set tap0 master br0 addrgenmode none',
    'link set tap0 up',
  ];
}

function vmSide({ vm }: HostPlan): string[] {
  return [
    'link set lo up',
    `addr add ${vm.address}/24 dev ${vm.device}`,
    `link set ${vm.device} addrgenmode none`,
    `link set ${vm.device} up`,
  ];
}
