/** Ends and restarts the lab's daemons, as faults would. */
import { isAlive, signalProcess } from '@weft/sys';
import { agentRequest } from './agent-control.ts';
import { startArchive } from './archive.ts';
import { serverRole, startServers } from './ensemble.ts';
import { type Lab, saveLab } from './lab.ts';
import type { HostPlan } from './plan.ts';
import type { ServerPlan } from './plan-management.ts';
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

/** Stops the agent of a host in order, and starts one over what it left. @param weft command of its build; default: this one */
export async function replaceAgent(lab: Lab, host: HostPlan, weft?: readonly string[]): Promise<void> {
  await agentRequest(lab.plan, host, 'POST', '/stop');
  await awaitAgentEnd(lab, host);
  lab.state.processes.agents[host.name] = await startAgent(lab.plan, host, weft);
  await saveLab(lab);
  await awaitPorts(lab, host);
}

/** `restartAgent` for several hosts at once. */
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

/** Waits until these hosts (default: all) hold their sessions and follow all that they have heard of. Asks them alone, neither API nor store. */
export async function awaitSettled(lab: Lab, hosts: readonly HostPlan[] = lab.plan.hosts): Promise<void> {
  await awaitSessions(lab, hosts);
  for (const host of hosts) {
    await awaitValue(`${host.name} following the topology`, 20_000, async () => {
      const { revision, applied } = await agentRequest<{ revision: number; applied: number }>(
        lab.plan,
        host,
        'GET',
        '/status',
      );
      return revision > 0 && applied >= revision ? true : undefined;
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

/** The store is gone for everybody, and the API with it where it lives in the same process. */
export async function killStore(lab: Lab): Promise<void> {
  if (lab.plan.store === 'embedded') return killApi(lab);
  await killServers(lab, lab.plan.management!.servers);
}

/** Brings the store back, and waits until all hosts are connected again. */
export async function restartStore(lab: Lab): Promise<void> {
  if (lab.plan.store === 'embedded') return restartApi(lab);
  await restartServers(lab, lab.plan.management!.servers);
  await awaitSessions(lab, lab.plan.hosts);
  await awaitAllAlive(lab);
}

/** Kill -9 for servers of the ensemble. */
export async function killServers(lab: Lab, servers: readonly ServerPlan[]): Promise<void> {
  await Promise.all(
    servers.map(async ({ name }) => {
      const identity = lab.state.processes.servers?.[name];
      if (identity) await killProcess(identity);
    }),
  );
}

/** Starts servers whose last ones are gone, and waits until they serve. */
export async function restartServers(lab: Lab, servers: readonly ServerPlan[]): Promise<void> {
  lab.state.processes.servers = { ...lab.state.processes.servers, ...(await startServers(servers)) };
  await saveLab(lab);
}

/** Kill -9 for Cassandra. */
export async function killArchive(lab: Lab): Promise<void> {
  if (lab.state.processes.archive) await killProcess(lab.state.processes.archive);
}

/** Starts it on what it had written, and waits until it takes requests. */
export async function restartArchive(lab: Lab): Promise<void> {
  lab.state.processes.archive = await startArchive(lab.plan, lab.plan.management!.archive!);
  await saveLab(lab);
}

/** The server that leads, and those that follow. */
export async function serverRoles({ plan }: Lab): Promise<{ leader: ServerPlan; followers: ServerPlan[] }> {
  return awaitValue('a leader of the ensemble', 30_000, async () => {
    const servers = plan.management?.servers ?? [];
    const roles = await Promise.all(servers.map(serverRole));
    const leader = servers.find((_, i) => roles[i] === 'leader');
    return leader && { leader, followers: servers.filter((_, i) => roles[i] === 'follower') };
  });
}

/** Starts the API, and the store with it unless that is an ensemble; waits until all hosts are connected again. `hostGrace`: see `startApi`. */
export async function restartApi(lab: Lab, hostGrace?: number): Promise<void> {
  lab.state.processes.api = await startApi(lab.plan, hostGrace);
  await saveLab(lab);
  await awaitAllAlive(lab);
}

async function awaitAllAlive(lab: Lab): Promise<void> {
  await awaitValue('all hosts connected to the store', 20_000, async () => {
    const hosts = await lab.api.get<{ alive: boolean }[]>('/hosts').catch(() => []);
    return hosts.length > 0 && hosts.every((host) => host.alive) ? true : undefined;
  });
}
