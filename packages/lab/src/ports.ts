/** What checks do to virtual ports while they look. */
import { awaitConvergence } from './convergence.ts';
import { patch } from './faults/fault.ts';
import type { Lab } from './lab.ts';
import type { VmPlan } from './plan.ts';

/** Changes fields of a VM's (first) port and waits until that is live everywhere. Null removes a field. */
export async function changePort(lab: Lab, vm: VmPlan, fields: Readonly<Record<string, unknown>>): Promise<void> {
  await patch(lab, `/ports/${vm.interfaces[0]!.portId}`, fields);
  await awaitConvergence(lab.api);
}

/** Takes a VM's port down and up again: the flows that enter by it are gone afterwards. */
export async function forgetFlows(lab: Lab, vm: VmPlan): Promise<void> {
  await changePort(lab, vm, { adminStateUp: false });
  await changePort(lab, vm, { adminStateUp: true });
}
