/** What checks do to virtual ports while they look. */
import { agentRequest } from './agent-control.ts';
import { awaitConvergence } from './convergence.ts';
import type { Lab } from './lab.ts';
import type { HostPlan, LabPlan, VmPlan } from './plan.ts';
import { awaitValue } from './wait.ts';

/** Unbinds a VM's (first) port and binds it again: no flow that entered by it is left. */
export async function forgetFlows(lab: Lab, vm: VmPlan): Promise<void> {
  const host = lab.plan.hosts.find((candidate) => candidate.name === vm.host)!;
  const [iface] = vm.interfaces;
  const bindings = `/hosts/${host.id}/ports`;
  await lab.api.delete(`${bindings}/${iface!.portId}`);
  await awaitConvergence(lab.api);
  await lab.api.post(bindings, { portId: iface!.portId, interfaceName: iface!.tap });
  await awaitConvergence(lab.api);
  await awaitPorts(lab, host);
}

/** Waits until all VMs and outside links of a host are attached to their ports, but those whose ports (`gone` of them) have been deleted. */
export async function awaitPorts(lab: Lab, host: HostPlan, timeoutMs = 20_000, gone = 0): Promise<void> {
  const { vms, externals } = lab.plan;
  const taps = vms.filter((vm) => vm.host === host.name).flatMap((vm) => vm.interfaces);
  const links = externals.flatMap((external) => external.links).filter((link) => link.host === host.name);
  const wanted = taps.length + links.length - gone;
  await awaitValue(`all ${wanted} ports of ${host.name} bound`, timeoutMs, async () => {
    const { ports } = await agentRequest<{ ports: { live: boolean }[] }>(lab.plan, host, 'GET', '/status');
    return ports.filter((port) => port.live).length === wanted ? true : undefined;
  });
}

/** Host and interface there of a VM's port: `vm` (its first) or `vm:device`, or of a link to an outside network: `inet:0`; undefined if the lab has none such. */
export function labPort(plan: LabPlan, name: string): { host: string; port: string } | undefined {
  const [vmName, device] = name.split(':');
  const link = plan.externals.find((candidate) => candidate.name === vmName)?.links[Number(device ?? 0)];
  if (link !== undefined) return { host: link.host, port: link.hostInterface };
  const vm = plan.vms.find((candidate) => candidate.name === vmName);
  const iface = vm?.interfaces.find((candidate) => device === undefined || candidate.device === device);
  return vm === undefined || iface === undefined ? undefined : { host: vm.host, port: iface.tap };
}
