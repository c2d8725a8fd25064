/** VMs: a namespace each, with one veth per interface whose other end lies in the host's namespace, as a tap would. */
import { ipBatch, setSysctls } from '../exec.ts';
import { familyOf, type LabPlan, type VmPlan } from '../plan.ts';
import { isUserNamespace } from '../rootless.ts';

/** A quiet guest: it says nothing on its own, so that checks can count what their own traffic causes. */
export const GUEST_SYSCTLS = {
  'net.ipv6.conf.all.accept_dad': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.autoconf': 0,
  'net.ipv6.conf.default.router_solicitations': 0,
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
  // Redirects from a virtual router would change paths behind the checks' backs.
  'net.ipv4.conf.all.accept_redirects': 0,
  'net.ipv4.conf.default.accept_redirects': 0,
  'net.ipv6.conf.default.accept_redirects': 0,
  // ICMP errors are part of what is tested: no rate limit at the guest.
  'net.ipv4.icmp_ratelimit': 0,
  'net.ipv6.icmp.ratelimit': 0,
  'net.ipv4.ping_group_range': '0 2147483647',
} as const;

export async function createVms(plan: LabPlan): Promise<void> {
  await ipBatch(
    null,
    plan.vms.map((vm) => `netns add ${vm.namespace}`),
  );
  for (const vm of plan.vms) {
    await setSysctls(vm.namespace, {
      ...GUEST_SYSCTLS,
      // A user namespace knows one group only.
      ...(isUserNamespace() && { 'net.ipv4.ping_group_range': '0 0' }),
      ...(vm.forward && { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 }),
    });
  }
  for (const host of plan.hosts)
    await ipBatch(host.namespace, plan.vms.filter((vm) => vm.host === host.name).flatMap(hostSide));
  for (const vm of plan.vms) await ipBatch(vm.namespace, vmSide(vm));
}

function hostSide(vm: VmPlan): string[] {
  return vm.interfaces.flatMap((iface) => [
    `link add ${iface.tap} mtu ${vm.mtu} type veth peer name ${iface.device} address ${iface.mac} mtu ${vm.mtu} netns ${vm.namespace}`,
    // The host's own stack has no business on a VM's link, not even before the agent takes it over.
    `link set ${iface.tap} addrgenmode none`,
    `link set ${iface.tap} up`,
  ]);
}

function vmSide(vm: VmPlan): string[] {
  const commands = ['link set lo up'];
  for (const iface of vm.interfaces) {
    for (const cidr of iface.cidrs) commands.push(`addr add ${cidr} dev ${iface.device} nodad`);
    commands.push(`link set ${iface.device} up`);
  }
  // One default route per family, by the first interface that has a router.
  const done = new Set<number>();
  for (const iface of vm.interfaces) {
    for (const gateway of iface.gateways) {
      const family = familyOf(gateway);
      if (done.has(family) || !iface.addresses.some((address) => familyOf(address) === family)) continue;
      done.add(family);
      commands.push(`route add default via ${gateway} dev ${iface.device}`);
    }
  }
  return [...commands, ...vm.routes.map((route) => `route add ${route}`)];
}
