/** A host that is gone from one moment to the next, with all its cables; and its return. */
import { ipBatch } from './exec.ts';
import { setExternalLink } from './gateways.ts';
import type { Lab } from './lab.ts';
import { externalRoute } from './network/externals.ts';
import { fabricRoutes, hostRoutes } from './network/fabric.ts';
import { cutManagement, healManagement } from './network/management.ts';
import type { HostPlan } from './plan.ts';
import { awaitSettled, killAgent, restartAgent } from './restart.ts';

export async function vanish(lab: Lab, host: HostPlan): Promise<void> {
  const { fabric, management } = lab.plan;
  await Promise.all([
    killAgent(lab, host),
    ...wiresOf(lab, host).map((link) => setExternalLink(lab, link, 'down')),
    ipBatch(
      fabric,
      host.links.map((link) => `link set ${link.fabricInterface} down`),
    ),
    ...(management ? [cutManagement(management, host.name)] : []),
  ]);
}

/** Plugs all in again and starts the agent; resolves when every host follows the topology. `gone`: ports that are not on it any more. */
export async function comeBack(lab: Lab, host: HostPlan, gone = 0): Promise<void> {
  const { fabric, management, externals } = lab.plan;
  await ipBatch(fabric, [...host.links.map((link) => `link set ${link.fabricInterface} up`), ...fabricRoutes(host)]);
  await ipBatch(host.namespace, hostRoutes(host));
  if (management) await healManagement(management, host.name);
  for (const link of wiresOf(lab, host)) await setExternalLink(lab, link, 'up');
  for (const external of externals) await ipBatch(external.namespace, external.routes.map(externalRoute));
  await killAgent(lab, host);
  await restartAgent(lab, host, undefined, gone);
  await awaitSettled(lab);
}

function wiresOf({ plan }: Lab, host: HostPlan) {
  return plan.externals.flatMap((external) => external.links.filter((link) => link.host === host.name));
}
