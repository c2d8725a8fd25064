/** Weft's side: labs made from `bench/scenarios`, each kept for the figures that share it. */
import { readdir, readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { exchange, type Lab, labDown, labNames, labPaths, labUp, requireVm } from '@weft/lab';
import { onCleanup } from './cleanup.ts';
import { BenchError, require } from './errors.ts';
import { run, waitUntil } from './exec.ts';
import type { Host, NetworkPath } from './paths.ts';

const SCENARIOS = resolve(import.meta.dirname, '../scenarios');

/** How long an agent's counters stand still when it has nothing to do. */
const QUIET_MS = 600;

export type Encapsulation = 'gre' | 'vxlan';
export type LabStore = 'embedded' | 'zookeeper';

/** What is read of an agent's `GET /status`. */
export interface AgentStatus {
  readonly upcalls: number;
  readonly flows: number;
  readonly flowsInstalled: number;
  readonly waiting: number;
  readonly revalidationPending: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly connections: number;
  readonly connectionsCreated: number;
  readonly connectionsRefused: number;
  readonly natBlocks: number;
  readonly natIdlePorts: number;
  readonly natExhausted: number;
  readonly stateExchange: {
    readonly sentDatagrams: number;
    readonly sentRecords: number;
    readonly receivedRecords: number;
    readonly applied: number;
    readonly unreachable: number;
    readonly resends: number;
  };
}

/** Where packets were dropped between two looks at an agent, in words. */
export function lossPlaces(before: AgentStatus, after: AgentStatus): string {
  const places = Object.entries(after.drops).map(([reason, n]) => [reason, n - (before.drops[reason] ?? 0)] as const);
  return (
    places
      .filter(([, n]) => n > 0)
      .map(([reason, n]) => `${reason} ${n}`)
      .join(', ') || 'no drop counted'
  );
}

/** MiB. `file`: program and libraries, and the maps shared with the kernel. */
export interface ResidentMemory {
  readonly total: number;
  readonly anonymous: number;
  readonly file: number;
  readonly shared: number;
}

export class BenchLab {
  readonly lab: Lab;
  readonly encap: Encapsulation;
  readonly down: () => Promise<void>;

  constructor(lab: Lab, encap: Encapsulation, down: () => Promise<void>) {
    this.lab = lab;
    this.encap = encap;
    this.down = down;
  }

  host(name: string): Host & { readonly name: string } {
    const host = this.lab.plan.hosts.find((candidate) => candidate.name === name)!;
    return { name, namespace: host.namespace, uplinks: host.links.map((link) => link.hostInterface) };
  }

  /** IPv4 between two VMs, which lie on different hosts. */
  path(from: string, to: string): NetworkPath {
    const { plan } = this.lab;
    const [client, server] = [from, to].map((name) => {
      const vm = requireVm(this.lab, name);
      const [{ device, mac, addresses }] = vm.interfaces;
      return {
        host: vm.host,
        end: { namespace: vm.namespace, device, mac, address: addresses.find((address) => !address.includes(':'))! },
      };
    });
    require(client.host !== server.host, () => `${from} and ${to} are on one host`);
    return {
      name: `weft over ${this.encap}`,
      client: client.end,
      server: server.end,
      clientHost: this.host(client.host),
      serverHost: this.host(server.host),
      fabric: {
        namespace: plan.fabric,
        uplinks: plan.hosts.flatMap((host) => host.links.map((link) => link.fabricInterface)),
      },
      onWire: this.encap === 'gre' ? 'ip proto 47' : 'udp dst port 4789',
    };
  }

  async status(host: string): Promise<AgentStatus> {
    const { controlSocket } = labPaths(this.lab.name).host(host);
    const { status, body } = await exchange({ socketPath: controlSocket }, 'GET', '/status');
    if (status !== 200) throw new BenchError('WEFT_BENCH_COMMAND', `agent ${host}: GET /status: ${status}`);
    return body as AgentStatus;
  }

  /**
   * Waits until an agent has nothing under way: its counters stood still for `QUIET_MS`. Shorter will not do: housekeeping may
   * keep its worker from looking at the upcalls that wait.
   */
  async settled(host: string, timeoutMs = 60_000): Promise<AgentStatus> {
    let last = await this.status(host);
    let since = performance.now();
    const quiet = await waitUntil(async () => {
      const before = last;
      last = await this.status(host);
      const moved = last.upcalls !== before.upcalls || last.flowsInstalled !== before.flowsInstalled;
      if (moved || last.waiting > 0 || last.revalidationPending > 0) since = performance.now();
      return performance.now() - since >= QUIET_MS;
    }, timeoutMs);
    require(quiet, () => `the agent of ${host} does not come to rest: ${JSON.stringify(last)}`);
    return last;
  }

  /** Name of the layout that a host's tables have. */
  async layout(host: string): Promise<string> {
    const directories = await readdir(labPaths(this.lab.name).host(host).bpffs);
    require(directories.length === 1, () => `${host} has tables of ${directories.length} layouts`);
    return directories[0]!;
  }

  /** Gives each host a CPU for its agent, by the order of `hosts`, as machines of their own have; they share when there are fewer. */
  async pinAgents(hosts: readonly string[]): Promise<void> {
    for (const [i, host] of hosts.entries()) {
      const { pid } = this.lab.state.processes.agents[host];
      await run(['taskset', '--all-tasks', '--cpu-list', '--pid', `${i % cpus().length}`, `${pid}`]);
    }
  }

  /** Resident memory of an agent's process in MiB, from the kernel. */
  async residentMib(host: string): Promise<ResidentMemory> {
    const agent = this.lab.state.processes.agents[host];
    const text = await readFile(`/proc/${agent.pid}/status`, 'utf8');
    const read = (field: string) =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN) / 1024;
    return { total: read('VmRSS'), anonymous: read('RssAnon'), file: read('RssFile'), shared: read('RssShmem') };
  }
}

export class Labs {
  private readonly open = new Map<string, BenchLab>();
  private made = 0;
  private readonly note: (text: string) => void;

  constructor(note: (text: string) => void) {
    this.note = note;
  }

  /** The lab of `scenarios/<scenario>.yaml`; one that is up already is used again. */
  async get(
    scenario: string,
    encap: Encapsulation,
    datapath: 'ebpf' | 'userspace' = 'ebpf',
    store: LabStore = 'embedded',
  ): Promise<BenchLab> {
    const key = `${scenario} ${encap} ${datapath} ${store}`;
    const existing = this.open.get(key);
    if (existing !== undefined) return existing;
    const name = `bn-${process.pid.toString(36)}-${this.made++}`;
    this.note(`lab ${name}: ${scenario} over ${encap}, ${datapath} driver, ${store} store`);
    const down = onCleanup(`lab ${name}`, async () => {
      this.open.delete(key);
      await labDown(name);
    });
    try {
      const { lab } = await labUp(resolve(SCENARIOS, `${scenario}.yaml`), { name, encap, datapath, store });
      const bench = new BenchLab(lab, encap, down);
      this.open.set(key, bench);
      return bench;
    } catch (error) {
      await down();
      throw error;
    }
  }
}

/** Removes labs of benchmarks that no longer run. */
export async function sweepLabs(isRunning: (pid: number) => boolean): Promise<void> {
  for (const name of await labNames()) {
    const owner = /^bn-([0-9a-z]+)-\d+$/.exec(name)?.[1];
    if (owner !== undefined && !isRunning(Number.parseInt(owner, 36))) await labDown(name);
  }
}
