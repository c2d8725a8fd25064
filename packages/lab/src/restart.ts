/** Ends and restarts the lab's daemons, as faults would. */
import { isAlive, signalProcess } from '@weft/sys';
import { agentRequest } from './agent-control.ts';
import { type Lab, saveLab } from './lab.ts';
import type { HostPlan } from './plan.ts';
import { awaitPorts } from './ports.ts';
import { killProcess } from './process.ts';
import { startAgent, startApi } from './services.ts';
import { awaitValue } from './wait.ts';

/** Kill -9. */
export async function killAgent(lab: Lab, host: HostPlan): Promise<void> {
  const identity = lab.state.processes.agents[host.name];
  if (identity) await killProcess(identity);
}

/** Resolves when the agent of a host, told to stop, is gone. */
export async function awaitAgentEnd(lab: Lab, host: HostPlan): Promise<void> {
  const identity = lab.state.processes.agents[host.name];
  await awaitValue(`the end of the agent of ${host.name}`, 20_000, async () =>
    identity === undefined || !isAlive(identity) ? true : undefined,
  );
}

/** Starts the agent of a host whose last one is gone, and waits until it serves the host's VMs, but `gone` that have lost their ports. */
export async function restartAgent(lab: Lab, host: HostPlan, timeoutMs = 20_000, gone = 0): Promise<void> {
  lab.state.processes.agents[host.name] = await startAgent(lab.plan, host);
  await saveLab(lab);
  await awaitPorts(lab, host, timeoutMs, gone);
}

/** The same for several hosts at once. */
export async function restartAgents(lab: Lab, hosts: readonly HostPlan[]): Promise<void> {
  await Promise.all(
    hosts.map(async (host) => {
      lab.state.processes.agents[host.name] = await startAgent(lab.plan, host);
    }),
  );
  await saveLab(lab);
  for (const host of hosts) await awaitPorts(lab, host);
}

/** Waits until these hosts have their sessions at the store. */
export async function awaitSessions(lab: Lab, hosts: readonly HostPlan[]): Promise<void> {
  for (const host of hosts) {
    await awaitValue(`the session of ${host.name}`, 20_000, async () => {
      const status = await agentRequest<{ storeUp: boolean; session: boolean }>(lab.plan, host, 'GET', '/status');
      return status.storeUp && status.session ? true : undefined;
    });
  }
}

export async function killApi(lab: Lab): Promise<void> {
  if (lab.state.processes.api) await killProcess(lab.state.processes.api);
}

/** Stops an agent in the midst of whatever it does; what its kernel knows goes on. Goes on itself with `thawAgent`. */
export function freezeAgent(lab: Lab, host: HostPlan): void {
  signalProcess(lab.state.processes.agents[host.name]!, 'SIGSTOP');
}

export function thawAgent(lab: Lab, host: HostPlan): void {
  signalProcess(lab.state.processes.agents[host.name]!, 'SIGCONT');
}

/** Starts API and store, and waits until all hosts are connected again. `hostGrace`: see `startApi`. */
export async function restartApi(lab: Lab, hostGrace?: number): Promise<void> {
  lab.state.processes.api = await startApi(lab.plan, hostGrace);
  await saveLab(lab);
  await awaitValue('all hosts connected to the store', 20_000, async () => {
    const hosts = await lab.api.get<{ alive: boolean }[]>('/hosts');
    return hosts.every((host) => host.alive) ? true : undefined;
  });
}
