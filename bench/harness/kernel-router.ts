/**
 * The peer of connections: the kernel's bridges, routing and nftables. As with Weft the two VMs are on two hosts and two networks; the
 * first host routes between them, filters and translates, and the second network reaches on to the other host by VXLAN.
 *
 *   vm1 ─ left (bridge) ─ host 1: forward, ct state, masquerade ─ right (bridge + VXLAN) ═ fabric ═ right (VXLAN + bridge) ─ vm2
 */
import { sysctlSet } from '@weft/sys';
import { inNamespace, ipBatch, run } from './exec.ts';
import { createKernelUnderlay, type UnderlayHost, vxlanDevice } from './kernel-underlay.ts';
import { TUPLE_PORT } from './paced-tuples.ts';
import type { End, NetworkPath } from './paths.ts';

const LEFT = '10.1.0';
const RIGHT = '10.2.0';
/** Target ports that the rules let through. */
const PORTS = `${TUPLE_PORT}-${TUPLE_PORT + 63}`;

export type Ruleset = 'stateful' | 'snat';

export interface KernelRouter {
  readonly path: NetworkPath;
  /** Namespace that tracks connections. */
  readonly tracker: string;
  /** Replaces the rules. */
  use(rules: Ruleset): Promise<void>;
  down(): Promise<void>;
}

/**
 * @param vmMtu IP MTU of the VMs
 * @param udpTimeout s until a connection is forgotten that nobody has answered
 */
export async function createKernelRouter(vmMtu: number, udpTimeout: number): Promise<KernelRouter> {
  const { hosts, fabric, down } = await createKernelUnderlay('the kernel router');
  const [router, other] = hosts;
  const client = vmOf(router, LEFT);
  const server = vmOf(other, RIGHT);
  await ipBatch(router.namespace, [
    ...bridge('left', vmMtu),
    ...tap('left', client, vmMtu),
    ...bridge('right', vmMtu),
    ...tunnel(router, other, vmMtu),
    `addr add ${LEFT}.254/24 dev left`,
    `addr add ${RIGHT}.254/24 dev right`,
  ]);
  await ipBatch(other.namespace, [
    ...bridge('right', vmMtu),
    ...tunnel(other, router, vmMtu),
    ...tap('right', server, vmMtu),
  ]);
  await ipBatch(client.namespace, vmSide(client, LEFT));
  await ipBatch(server.namespace, vmSide(server, RIGHT));
  sysctlSet('net/ipv4/ip_forward', '1', router.namespace);
  const use = async (rules: Ruleset) => {
    await run(inNamespace(router.namespace, ['nft', '-f', '-']), RULES[rules]);
  };
  await use('stateful');
  // The parameter is there once the namespace tracks connections.
  sysctlSet('net/netfilter/nf_conntrack_udp_timeout', `${udpTimeout}`, router.namespace);
  return {
    path: {
      name: 'kernel bridges, routing and nftables',
      client,
      server,
      clientHost: router,
      serverHost: other,
      fabric,
      onWire: 'udp dst port 4789',
    },
    tracker: router.namespace,
    use,
    down,
  };
}

/** Tunnel packets are no connections of anybody. */
const COMMON = `flush ruleset
table inet raw {
  chain prerouting {
    type filter hook prerouting priority raw
    udp dport 4789 notrack
  }
  chain output {
    type filter hook output priority raw
    udp dport 4789 notrack
  }
}
`;

const RULES: Readonly<Record<Ruleset, string>> = {
  stateful: `${COMMON}table inet filter {
  chain forward {
    type filter hook forward priority filter; policy drop
    ct state established,related accept
    udp dport ${PORTS} accept
    ip protocol icmp accept
  }
}
`,
  snat: `${COMMON}table inet nat {
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "right" ip saddr ${LEFT}.0/24 masquerade
  }
}
`,
};

function vmOf({ number, vmNamespace }: UnderlayHost, network: string): End {
  return {
    namespace: vmNamespace,
    device: 'eth0',
    mac: `02:00:00:00:00:0${number}`,
    address: `${network}.${number}`,
  };
}

function bridge(name: string, mtu: number): string[] {
  return [
    `link add ${name} type bridge mcast_snooping 0`,
    `link set ${name} mtu ${mtu} addrgenmode none`,
    `link set ${name} up`,
  ];
}

function tap(master: string, vm: End, mtu: number): string[] {
  return [
    `link add tap0 mtu ${mtu} type veth peer name ${vm.device} address ${vm.mac} mtu ${mtu} netns ${vm.namespace}`,
    `link set tap0 master ${master} addrgenmode none`,
    'link set tap0 up',
  ];
}

function tunnel(own: UnderlayHost, other: UnderlayHost, mtu: number): string[] {
  return [
    `link add ${vxlanDevice('vx0', mtu, 7001, own, other)}`,
    'link set vx0 master right addrgenmode none',
    'link set vx0 up',
  ];
}

function vmSide(vm: End, network: string): string[] {
  return [
    'link set lo up',
    `addr add ${vm.address}/24 dev ${vm.device}`,
    `link set ${vm.device} addrgenmode none`,
    `link set ${vm.device} up`,
    `route add default via ${network}.254`,
  ];
}
