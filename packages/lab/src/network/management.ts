/** The management network: a bridge in a namespace of its own, with a cable to each host and each server. */
import { ipBatch } from '../exec.ts';
import type { LabPlan } from '../plan.ts';
import { MANAGEMENT_DEVICE, MANAGEMENT_PREFIX, type ManagementLink, type ManagementPlan } from '../plan-management.ts';

/** Hosts are there already. */
export async function createManagement({ management }: LabPlan): Promise<void> {
  if (management === undefined) return;
  const { namespace, bridge, address, servers, archive, hosts } = management;
  const machines = [...servers, ...(archive ? [archive] : [])];
  await ipBatch(
    null,
    [namespace, ...machines.map((machine) => machine.namespace)].map((name) => `netns add ${name}`),
  );
  const links = [...machines, ...hosts];
  await ipBatch(namespace, [
    'link set lo up',
    `link add ${bridge} type bridge`,
    `link set ${bridge} addrgenmode none`,
    `addr add ${address}/${MANAGEMENT_PREFIX} dev ${bridge}`,
    `link set ${bridge} up`,
    ...links.flatMap((link) => [
      `link add ${link.bridgePort} type veth peer name ${MANAGEMENT_DEVICE} netns ${link.namespace}`,
      `link set ${link.bridgePort} addrgenmode none`,
      plugged(management, link),
      `link set ${link.bridgePort} up`,
    ]),
  ]);
  for (const link of links) {
    await ipBatch(link.namespace, [
      'link set lo up',
      `link set ${MANAGEMENT_DEVICE} addrgenmode none`,
      `addr add ${link.address}/${MANAGEMENT_PREFIX} dev ${MANAGEMENT_DEVICE}`,
      `link set ${MANAGEMENT_DEVICE} up`,
    ]);
  }
}

const plugged = ({ bridge }: ManagementPlan, { bridgePort }: ManagementLink) =>
  `link set ${bridgePort} master ${bridge}`;

/** Pulls the cable of a host or server out of the bridge: nothing passes, nobody is told, and tunnels are not concerned. */
export async function cutManagement(management: ManagementPlan, name: string): Promise<void> {
  await ipBatch(management.namespace, [`link set ${linkOf(management, name).bridgePort} nomaster`]);
}

/** Plugs it in again. */
export async function healManagement(management: ManagementPlan, name: string): Promise<void> {
  await ipBatch(management.namespace, [plugged(management, linkOf(management, name))]);
}

function linkOf({ hosts, servers }: ManagementPlan, name: string): ManagementLink {
  return [...hosts, ...servers].find((link) => link.name === name)!;
}
