/** The lab's daemons: the API (with the store, unless that is an ensemble), one agent per host. Starting, awaiting and stopping them. */
import { access, chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { isAlive, type ProcessIdentity } from '@weft/sys';
import { agentRequest } from './agent-control.ts';
import { archiveConfig } from './archive.ts';
import { LabError } from './errors.ts';
import { inNetns, run } from './exec.ts';
import type { HostPlan, LabPlan } from './plan.ts';
import { failedProcess, startDetached } from './process.ts';
import { exchange } from './rest.ts';
import { waitUntil } from './wait.ts';

/** How the lab starts `weft`: this Node, and the command's source beside this package. */
const WEFT = [process.execPath, resolve(import.meta.dirname, '../../cli/src/main.ts')];

const START_TIMEOUT_MS = 30_000;

/**
 * Starts the API, with the store unless that is an ensemble, and waits until it answers.
 * @param hostGrace seconds that a host may be away until it is given up; default: as the command has it
 */
export async function startApi(plan: LabPlan, hostGrace?: number): Promise<ProcessIdentity> {
  const { paths, management } = plan;
  const store = plan.store === 'zookeeper' ? toEnsemble(plan) : ['--store', paths.store, '--socket', paths.storeSocket];
  const api = [...WEFT, 'api', ...store, '--api-socket', paths.apiSocket];
  if (hostGrace !== undefined) api.push('--host-grace', String(hostGrace));
  const argv = plan.store === 'zookeeper' ? inNetns(management!.namespace, api) : api;
  const identity = await startDetached(argv, paths.apiLog);
  await awaitReady(argv, identity, paths.apiLog, async () => {
    const answer = await exchange({ socketPath: paths.apiSocket }, 'GET', '/midonet-api', undefined, 2000);
    return answer.status === 200;
  });
  return identity;
}

/** A number of a pool that the store does not give now. */
export interface TakenNumber {
  readonly index: number;
  /** Who holds it, or held it last. */
  readonly hostId: string;
  /** ms until somebody else may have it; null: it is held. */
  readonly coolsFor: number | null;
}

/** What is taken of a pool, `nat/ROUTER/ADDRESS`. */
export async function takenNumbers(plan: LabPlan, pool: string): Promise<TakenNumber[]> {
  return JSON.parse(await storeCommand(plan, 'pool', pool, '--json')) as TakenNumber[];
}

/** Makes the hosts known to the store: on an ensemble a host may not do so itself. */
export async function registerHosts(plan: LabPlan): Promise<void> {
  await storeCommand(plan, 'add-host', ...plan.hosts.map(({ id, name }) => `${id}=${name}`));
}

/** Runs `weft store`, with an admin's rights. */
function storeCommand(plan: LabPlan, ...words: string[]): Promise<string> {
  const { management, paths } = plan;
  const command = [...WEFT, 'store', ...words];
  if (plan.store === 'embedded') return run([...command, '--socket', paths.storeSocket]);
  return run(inNetns(management!.namespace, [...command, ...toEnsemble(plan)]));
}

const toEnsemble = ({ paths, management }: LabPlan): string[] => [
  '--zookeeper',
  management!.connectString,
  '--zookeeper-config',
  paths.storeConfig,
];

/** Writes a host's configuration, once. */
export async function configureAgent(plan: LabPlan, host: HostPlan): Promise<void> {
  const paths = plan.paths.host(host.name);
  for (const directory of [paths.stateDir, paths.runDir, paths.bpffs]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
  }
  const config = {
    hostId: host.id,
    name: host.name,
    stateDir: paths.stateDir,
    runDir: paths.runDir,
    ...(plan.store === 'zookeeper'
      ? { store: `zookeeper://${plan.management!.connectString}`, storeConfig: paths.storeConfig }
      : { store: plan.paths.storeSocket }),
    encap: plan.encap,
    datapath: plan.datapath,
    bpffs: paths.bpffs,
    controlSocket: paths.controlSocket,
    log: { level: 'info' },
    ...(plan.management?.archive && { archive: archiveConfig(plan, plan.management.archive) }),
    ...plan.scenario.agent,
  };
  await writeFile(paths.config, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
}

/**
 * Starts a host's agent in the host's namespace and waits until it answers on its control socket.
 * @param weft command of the build that it is to be of; default: this one
 */
export async function startAgent(
  plan: LabPlan,
  host: HostPlan,
  weft: readonly string[] = WEFT,
): Promise<ProcessIdentity> {
  const paths = plan.paths.host(host.name);
  const planted = await access(paths.beforeStart).then(
    () => true,
    () => false,
  );
  if (planted) await run([paths.beforeStart]);
  await rm(paths.controlSocket, { force: true });
  const argv = inNetns(host.namespace, [...weft, 'agent', '--config', paths.config]);
  const identity = await startDetached(argv, paths.log);
  await awaitReady(argv, identity, paths.log, async () => {
    await agentRequest(plan, host, 'GET', '/status', 2000);
    return true;
  });
  return identity;
}

async function awaitReady(
  argv: string[],
  identity: ProcessIdentity,
  log: string,
  ask: () => Promise<boolean>,
): Promise<void> {
  let alive = true;
  const ready = async () => {
    alive = isAlive(identity);
    return !alive || (await ask().catch(() => false));
  };
  const settled = await waitUntil(ready, START_TIMEOUT_MS);
  if (!alive) throw await failedProcess(argv, log, 'ended before it was ready');
  if (!settled) throw await failedProcess(argv, log, `was not ready after ${START_TIMEOUT_MS} ms`);
}

/** The host of that name, or a coded error. */
export function requireHost(plan: LabPlan, name: string): HostPlan {
  const host = plan.hosts.find((candidate) => candidate.name === name);
  if (host) return host;
  const names = plan.hosts.map((candidate) => candidate.name).join(', ');
  throw new LabError('WEFT_LAB_UNKNOWN_HOST', `lab "${plan.name}" has no host "${name}"; its hosts are ${names}`);
}
