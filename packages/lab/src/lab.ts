/** A lab as one thing: bring it up, take it down, run something in it. */
import { chmod, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { isAlive, killTree, type ProcessIdentity, processIdentity } from '@weft/sys';
import { startArchive } from './archive.ts';
import { certify } from './certificates.ts';
import { prepareChecks } from './checks/index.ts';
import { awaitConvergence } from './convergence.ts';
import { prepareEnsemble, startServers } from './ensemble.ts';
import { LabError } from './errors.ts';
import { run } from './exec.ts';
import { withLock } from './lock.ts';
import { requireLabName } from './names.ts';
import { createExternals } from './network/externals.ts';
import { createFabric } from './network/fabric.ts';
import { createManagement } from './network/management.ts';
import { labNamespaces, removeNamespaces, unmountBelow } from './network/teardown.ts';
import { createVms } from './network/vms.ts';
import { LABS_DIRECTORY, labPaths } from './paths.ts';
import { type LabOptions, type LabPlan, type Place, planLab, type VmPlan } from './plan.ts';
import type { ManagementPlan } from './plan-management.ts';
import { RestClient } from './rest.ts';
import { isUserNamespace, needsUserNamespace } from './rootless.ts';
import type { AgentCheck } from './scenario/agent.ts';
import { parseScenario } from './scenario/parse.ts';
import { configureAgent, registerHosts, startAgent, startApi } from './services.ts';
import { type LabState, newState, planOf, readState, requireState, writeState } from './state.ts';
import { createTopology, createTunnelZone } from './topology.ts';
import { awaitValue } from './wait.ts';

export const DEFAULT_SCENARIO = resolve(import.meta.dirname, '../scenarios/default.yaml');
/** Gateways to an outside network, translation, connections. */
export const GATEWAY_SCENARIO = resolve(import.meta.dirname, '../scenarios/gateway.yaml');

/** A running lab. */
export interface Lab {
  readonly name: string;
  readonly plan: LabPlan;
  readonly state: LabState;
  readonly api: RestClient;
}

export interface UpOptions extends LabOptions {
  /** Told of each step. */
  readonly onStep?: (text: string) => void;
  /** Judges the scenario's `agent` fields before anything is made. Without it the agent refuses them when it starts. */
  readonly checkAgent?: AgentCheck;
}

/** Root is needed, and what root makes here is for root only: files, sockets, captures of other programs too. */
export function requireRoot(): void {
  process.umask(0o077);
  if (process.getuid?.() === 0) return;
  throw new LabError('WEFT_NEEDS_ROOT', 'the lab makes network namespaces and loads BPF programs: repeat this as root');
}

async function readScenario(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new LabError('WEFT_SCENARIO_FILE', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

/** Brings a lab up. One that is up as asked is left as it is (`fresh` false); one that differs or is broken is made anew. */
export async function labUp(file: string, options: UpOptions = {}): Promise<{ lab: Lab; fresh: boolean }> {
  const step = options.onStep ?? (() => {});
  const text = await readScenario(file);
  const { onStep: _, checkAgent, ...asked } = options;
  const labOptions = withoutRoot(asked);
  const scenario = parseScenario(text, file, checkAgent);
  prepareChecks(scenario);
  const plan = planLab(scenario, labOptions);
  requireRoot();
  return withLock(plan.paths.lock, async () => {
    const wanted = newState(file, text, { ...labOptions, name: plan.name });
    const existing = await readState(plan.name);
    if (existing && isSame(existing, wanted) && (await isHealthy(existing))) {
      const lab = openState(plan.name, existing);
      step('everything is up already: awaiting convergence');
      await awaitConvergence(lab.api);
      return { lab, fresh: false };
    }
    await removeAll(plan.name, existing);
    try {
      await build(plan, wanted, step);
    } catch (error) {
      const failed = await readState(plan.name);
      // Logs say why: keep the files, remove what runs.
      await removeAll(plan.name, failed, { keepFiles: true });
      throw error;
    }
    return { lab: openState(plan.name, wanted), fresh: true };
  });
}

/** In a user namespace the kernel lets nobody load programs: the other driver forwards. */
function withoutRoot(options: LabOptions): LabOptions {
  if (!isUserNamespace() || options.datapath === 'userspace') return options;
  if (options.datapath === undefined) return { ...options, datapath: 'userspace' };
  throw new LabError('WEFT_LAB_OPTION', 'without root there is no ebpf datapath: leave --datapath away, or be root');
}

function isSame(a: LabState, b: LabState): boolean {
  return a.complete && a.scenarioText === b.scenarioText && JSON.stringify(a.options) === JSON.stringify(b.options);
}

/** All processes run, all namespaces exist, no fault is planted. */
async function isHealthy(state: LabState): Promise<boolean> {
  if (Object.keys(state.faults).length > 0) return false;
  const plan = planOf(state);
  const present = new Set(labNamespaces(plan.name));
  const { management } = plan;
  const servers = management?.servers ?? [];
  const archive = management?.archive ? [management.archive] : [];
  const network = management ? [management] : [];
  const places = [...plan.hosts, ...plan.vms, ...plan.externals, ...servers, ...archive, ...network];
  const wanted = [plan.fabric, ...places.map((one) => one.namespace)];
  if (wanted.some((name) => !present.has(name))) return false;
  const processes = [
    state.processes.api,
    ...plan.hosts.map((host) => state.processes.agents[host.name]),
    ...servers.map((server) => state.processes.servers?.[server.name]),
    ...archive.map(() => state.processes.archive),
  ];
  for (const identity of processes) {
    if (identity === undefined || !isAlive(identity)) return false;
  }
  return true;
}

async function build(plan: LabPlan, state: LabState, step: (text: string) => void): Promise<void> {
  const { paths } = plan;
  const directories = [LABS_DIRECTORY, paths.directory, paths.bpffs, paths.captures];
  for (const directory of [...directories, ...plan.hosts.map((host) => paths.host(host.name).directory)]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  await writeState(plan.name, state);

  if (isUserNamespace()) step('without root: in a user namespace of your own, on the userspace datapath');
  step(
    `fabric and ${plan.hosts.length} hosts (${plan.encap} over ${plan.underlay}, MTU ${plan.vms[0]?.mtu ?? '-'} for VMs)`,
  );
  if (!isUserNamespace()) await run(['mount', '-t', 'bpf', `weft-${plan.name}`, paths.bpffs]);
  await chmod(paths.bpffs, 0o700);
  await createFabric(plan);
  await createManagement(plan);
  step(`${plan.vms.length} VMs`);
  await createVms(plan);
  if (plan.externals.length > 0) step(`${plan.externals.length} outside networks`);
  await createExternals(plan);

  if (plan.management) await startManagement(plan, plan.management, state, step);
  step(plan.store === 'zookeeper' ? 'API' : 'API and store');
  state.processes.api = await startApi(plan);
  await writeState(plan.name, state);
  if (plan.store === 'zookeeper') await registerHosts(plan);

  step(`agents (${plan.datapath} datapath)`);
  for (const host of plan.hosts) await configureAgent(plan, host);
  const started = await Promise.allSettled(
    plan.hosts.map(async (host) => {
      state.processes.agents[host.name] = await startAgent(plan, host);
    }),
  );
  await writeState(plan.name, state);
  for (const outcome of started) if (outcome.status === 'rejected') throw outcome.reason;

  step('virtual topology');
  const api = new RestClient({ socketPath: paths.apiSocket });
  for (const host of plan.hosts) {
    await awaitValue(`host ${host.name} in the store`, 20_000, () => api.find(`/hosts/${host.id}`));
  }
  await createTunnelZone(plan, api);
  await createTopology(plan, api);
  step(`awaiting revision ${api.revision} on all hosts`);
  await awaitConvergence(api);
  state.complete = true;
  await writeState(plan.name, state);
}

/** What the hosts reach by the management network. */
async function startManagement(
  plan: LabPlan,
  management: ManagementPlan,
  state: LabState,
  step: (text: string) => void,
): Promise<void> {
  const { servers, archive } = management;
  await certify(plan.paths, management);
  if (servers.length > 0) {
    step(`${servers.length} servers of ZooKeeper`);
    await prepareEnsemble(plan);
    state.processes.servers = await startServers(servers);
    await writeState(plan.name, state);
  }
  if (archive === undefined) return;
  step('Cassandra');
  state.processes.archive = await startArchive(plan, archive);
  await writeState(plan.name, state);
}

/** The running lab of that name. Throws WEFT_LAB_DOWN. */
export async function openLab(name: string): Promise<Lab> {
  const state = await requireState(requireLabName(name));
  requireRoot();
  return openState(name, state);
}

/** Where a lab's store is if it is an ensemble: namespace that reaches it, and what an admin needs. */
export async function labStore(name: string) {
  const state = await readState(requireLabName(name));
  const plan = state && planOf(state);
  if (plan?.management === undefined || plan.store !== 'zookeeper') return undefined;
  const { namespace, connectString } = plan.management;
  return { namespace, connectString, storeConfig: plan.paths.storeConfig };
}

function openState(name: string, state: LabState): Lab {
  const plan = planOf(state);
  return { name, plan, state, api: new RestClient({ socketPath: plan.paths.apiSocket }) };
}

/** Saves what changed in `lab.state`. */
export function saveLab(lab: Lab): Promise<void> {
  return writeState(lab.name, lab.state);
}

export interface DownReport {
  readonly processes: number;
  readonly namespaces: number;
}

/** Removes every namespace, link, pinned object, file and process of a lab, also when its records are damaged or gone. */
export async function labDown(name: string): Promise<DownReport> {
  requireLabName(name);
  // Without root, and without namespaces of the user's own, there is no lab to be removed.
  if (needsUserNamespace()) return { processes: 0, namespaces: 0 };
  requireRoot();
  return withLock(labPaths(name).lock, async () => removeAll(name, await readState(name)));
}

async function removeAll(
  name: string,
  state: LabState | undefined,
  options: { keepFiles?: boolean } = {},
): Promise<DownReport> {
  const identities: ProcessIdentity[] = [...Object.values(state?.processes.agents ?? {})];
  if (state?.processes.api) identities.push(state.processes.api);
  // Whatever else lives in the lab's namespaces is the lab's too: commands left behind, agents of a lost record.
  const strays = await processesIn(labNamespaces(name));
  const servers = Object.values(state?.processes.servers ?? {});
  if (state?.processes.archive) servers.push(state.processes.archive);
  const isServer = ({ pid }: ProcessIdentity) => servers.some((server) => server.pid === pid);
  const all = [...identities, ...strays, ...(await daemonsOf(name)), ...servers];
  // An agent that stops says so to the store.
  const end = (some: readonly ProcessIdentity[]) => Promise.all(some.map((identity) => killTree(identity, 5000)));
  await end(all.filter((identity) => !isServer(identity)));
  await end(servers);
  const { directory } = labPaths(name);
  const namespaces = await removeNamespaces(name);
  await unmountBelow(directory);
  if (!options.keepFiles) await rm(directory, { recursive: true, force: true });
  else await rm(labPaths(name).state, { force: true });
  return { processes: new Set(all.map((identity) => identity.pid)).size, namespaces };
}

/** Processes whose network namespace is one of these. */
async function processesIn(namespaces: readonly string[]): Promise<ProcessIdentity[]> {
  if (namespaces.length === 0) return [];
  const found: ProcessIdentity[] = [];
  for (const namespace of namespaces) {
    const pids = (await run(['ip', 'netns', 'pids', namespace])).split('\n').map(Number);
    for (const pid of pids) {
      const identity = pid > 1 && pid !== process.pid ? processIdentity(pid) : undefined;
      if (identity) found.push(identity);
    }
  }
  return found;
}

/** Processes that were started with a path in the lab's own directory as an argument: an API whose record is lost. */
async function daemonsOf(name: string): Promise<ProcessIdentity[]> {
  const prefix = `${labPaths(name).directory}/`;
  const found: ProcessIdentity[] = [];
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const argv = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const isDaemon = argv.some((argument) => argument.endsWith('/cli/src/main.ts'));
    if (!isDaemon || !argv.some((argument) => argument.startsWith(prefix))) continue;
    const identity = processIdentity(pid);
    if (identity) found.push(identity);
  }
  return found;
}

/** Names of the labs that have files or namespaces on this machine. */
export async function labNames(): Promise<string[]> {
  const entries = await readdir(LABS_DIRECTORY, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

export function requireVm(lab: Lab, name: string): VmPlan {
  const vm = lab.plan.vms.find((candidate) => candidate.name === name);
  if (vm) return vm;
  const names = lab.plan.vms.map((candidate) => candidate.name).join(', ');
  throw new LabError('WEFT_LAB_UNKNOWN_VM', `lab "${lab.name}" has no VM "${name}"; its VMs are ${names}`);
}

/** A VM or an outside network. */
export function requirePlace(lab: Lab, name: string): Place {
  return lab.plan.externals.find((candidate) => candidate.name === name) ?? requireVm(lab, name);
}
