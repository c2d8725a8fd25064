/**
 * The peer: the kernel's own overlay, a bridge and a VXLAN device on each of two hosts. Also the bare underlay between the two
 * hosts, without any overlay.
 */
import { ipBatch } from './exec.ts';
import { createKernelUnderlay, type UnderlayHost, vxlanDevice } from './kernel-underlay.ts';
import type { End, NetworkPath } from './paths.ts';

export interface KernelOverlay {
  /** VM to VM through bridge, VXLAN device and fabric. */
  readonly overlay: NetworkPath;
  /** Host to host, not encapsulated. */
  readonly bare: NetworkPath;
}

/** @param vmMtu IP MTU of the VMs, which has to be the one of the labs that it is compared with */
export async function createKernelOverlay(vmMtu: number): Promise<KernelOverlay> {
  const { hosts, fabric } = await createKernelUnderlay('the kernel overlay');
  const vms = hosts.map(vmOf);
  for (const [i, host] of hosts.entries()) {
    await ipBatch(host.namespace, overlaySide(host, hosts[1 - i], vms[i], vmMtu));
    await ipBatch(host.vmNamespace, vmSide(vms[i]));
  }
  const underlay = { clientHost: hosts[0], serverHost: hosts[1], fabric };
  const end = (host: UnderlayHost): End => ({
    namespace: host.namespace,
    device: 'u0',
    mac: '',
    address: host.tunnel,
  });
  return {
    overlay: {
      name: 'kernel bridge + VXLAN device',
      client: vms[0],
      server: vms[1],
      onWire: 'udp dst port 4789',
      ...underlay,
    },
    bare: { name: 'bare underlay', client: end(hosts[0]), server: end(hosts[1]), onWire: 'icmp or tcp', ...underlay },
  };
}

function vmOf({ number, vmNamespace }: UnderlayHost): End {
  return {
    namespace: vmNamespace,
    device: 'eth0',
    mac: `02:00:00:00:00:0${number}`,
    address: `10.1.0.${number}`,
  };
}

function overlaySide(host: UnderlayHost, other: UnderlayHost, vm: End, vmMtu: number): string[] {
  return [
    'link add br0 type bridge mcast_snooping 0',
    `link set br0 mtu ${vmMtu} addrgenmode none`,
    'link set br0 up',
    `link add ${vxlanDevice('vx0', vmMtu, 7000, host, other)}`,
    'link set vx0 master br0 addrgenmode none',
    'link set vx0 up',
    `link add tap0 mtu ${vmMtu} type veth peer name ${vm.device} address ${vm.mac} mtu ${vmMtu} netns ${vm.namespace}`,
    'link set tap0 master br0 addrgenmode none',
    'link set tap0 up',
  ];
}

function vmSide(vm: End): string[] {
  return [
    'link set lo up',
    `addr add ${vm.address}/24 dev ${vm.device}`,
    `link set ${vm.device} addrgenmode none`,
    `link set ${vm.device} up`,
  ];
}
