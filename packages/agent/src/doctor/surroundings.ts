/**
 * All that the checks look at, gathered once: the host's interfaces and routes, what the agent says of itself, what the store
 * knows. Each part may be missing; the checks that need it say so.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  connect,
  type EnsembleServer,
  type HostConvergence,
  type Nsdb,
  storeAddress,
  surveyEnsemble,
} from '@weft/nsdb/client';
import { ipFormat } from '@weft/packet';
import {
  addressList,
  type InterfaceAddress,
  type Link,
  linkList,
  type Neighbour,
  NetlinkSocket,
  neighbourList,
} from '@weft/sys';
import type { AgentConfig } from '../config.ts';
import { Underlay, type UnderlayPath } from '../worker/underlay.ts';

/** How long the store may take to answer before it counts as away. */
const STORE_MS = 3_000;
/** Between the two looks at the agent's counters: what grows, happens now. */
export const SAMPLE_MS = 1_000;

/** The members of `GET /status` that the doctor reads. */
export interface AgentStatus {
  readonly hostId: string;
  readonly pid: number;
  readonly version?: string;
  readonly clockStepMs?: number;
  readonly uptimeMs?: number;
  readonly storeUp: boolean;
  readonly session: boolean;
  readonly revision: number;
  readonly applied: number;
  readonly flows: number;
  readonly flowsMax: number;
  readonly flowsRefused: number;
  readonly evicted: number;
  readonly waiting: number;
  readonly errors: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly ports: readonly { portId: string; interfaceName: string; ifindex: number; live: boolean }[];
  readonly tunnels: readonly {
    peer: number;
    hostId: string;
    local: readonly number[];
    remote: readonly number[];
    ifindexes: readonly number[];
    mtu: number;
  }[];
}

export interface ZoneMember {
  readonly zone: string;
  readonly zoneName: string;
  readonly type: string;
  readonly host: string;
  readonly address: string;
}

/** What the store says. */
export interface StoreFacts {
  /** Time of one read, ms. */
  readonly latencyMs: number;
  readonly revision: number;
  readonly convergence: readonly HostConvergence[];
  readonly hostNames: ReadonlyMap<string, string>;
  readonly members: readonly ZoneMember[];
  readonly ports: readonly { portId: string; interfaceName: string }[];
  /** Version of the agent by host id. */
  readonly versions: ReadonlyMap<string, string>;
}

/** A host that ours has a tunnel to, or should have. */
export interface Peer {
  readonly hostId: string;
  readonly name: string;
  readonly local: string;
  readonly remote: string;
  readonly path: UnderlayPath;
  /** L3 bytes that the agent sends through the tunnel; 0: it has none, or there is no agent. */
  readonly tunnelMtu: number;
}

export interface Surroundings {
  readonly config: AgentConfig;
  readonly hostId: string | null;
  readonly links: readonly Link[];
  readonly addresses: readonly InterfaceAddress[];
  readonly neighbours: readonly Neighbour[];
  readonly agent: AgentStatus | null;
  /** Why there is no `agent`. */
  readonly agentError: string;
  /** The agent's status a moment later. */
  readonly agentLater: AgentStatus | null;
  readonly store: StoreFacts | null;
  readonly storeError: string;
  /** Codes of that error and of what caused it, the outermost first. */
  readonly storeCodes: readonly string[];
  /** Servers of ZooKeeper; null: the store is not there, or its settings cannot be used. */
  readonly servers: readonly EnsembleServer[] | null;
  readonly peers: readonly Peer[];
  /** Interfaces that lead to peers. */
  readonly underlay: readonly Link[];
  /** Ports that name this host, and their interface if it is there. */
  readonly ports: readonly { portId: string; interfaceName: string; link: Link | undefined; live: boolean | null }[];
}

export interface GatherOptions {
  /** Asks the agent for its status. Rejects when there is none. */
  readonly askAgent: () => Promise<AgentStatus>;
}

export async function gather(config: AgentConfig, options: GatherOptions): Promise<Surroundings> {
  const hostId = config.hostId ?? storedHostId(config);
  const [agent, store, servers] = await Promise.all([
    attempt(options.askAgent()),
    attempt(askStore(config, hostId)),
    attempt(askServers(config)),
  ]);
  const later = agent.value
    ? await attempt(new Promise((resolve) => setTimeout(resolve, SAMPLE_MS)).then(options.askAgent))
    : { value: null };
  using nl = new NetlinkSocket();
  const links = linkList(nl);
  const me = agent.value?.hostId ?? hostId;
  const peers = peersOf(config, me, agent.value, store.value);
  const hops = new Set(peers.flatMap((peer) => peer.path.hops.map((hop) => hop.ifindex)));
  const status = new Map(agent.value?.ports.map((port) => [port.portId, port]));
  const ports = (agent.value?.ports ?? store.value?.ports ?? []).map(({ portId, interfaceName }) => ({
    portId,
    interfaceName,
    link: links.find((link) => link.name === interfaceName),
    live: status.get(portId)?.live ?? null,
  }));
  return {
    config,
    hostId: me,
    links,
    addresses: addressList(nl),
    neighbours: neighbourList(nl),
    agent: agent.value,
    agentError: agent.error,
    agentLater: later.value,
    store: store.value,
    storeError: store.error,
    storeCodes: store.codes,
    servers: servers.value,
    peers,
    underlay: links.filter((link) => hops.has(link.ifindex)),
    ports,
  };
}

async function attempt<T>(work: Promise<T>): Promise<{ value: T | null; error: string; codes: string[] }> {
  try {
    return { value: await work, error: '', codes: [] };
  } catch (error) {
    return { value: null, error: (error as Error).message, codes: codesOf(error) };
  }
}

function codesOf(error: unknown): string[] {
  const codes: string[] = [];
  for (let one = error as { code?: unknown; cause?: unknown } | undefined; one; one = one.cause as typeof one) {
    if (typeof one.code === 'string') codes.push(one.code);
  }
  return codes;
}

async function askServers(config: AgentConfig): Promise<EnsembleServer[] | null> {
  const address = storeAddress(config.store, config.storeConfig);
  return 'zookeeper' in address ? surveyEnsemble(address.zookeeper) : null;
}

function storedHostId(config: AgentConfig): string | null {
  try {
    return readFileSync(join(config.stateDir, 'host-id'), 'utf8').trim();
  } catch {
    return null;
  }
}

async function askStore(config: AgentConfig, hostId: string | null): Promise<StoreFacts> {
  let nsdb: Nsdb | undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer on ${config.store} within ${STORE_MS} ms`)), STORE_MS);
  });
  const read = async (): Promise<StoreFacts> => {
    nsdb = await connect(storeAddress(config.store, config.storeConfig));
    await nsdb.revision();
    const start = performance.now();
    const revision = await nsdb.revision();
    const latencyMs = performance.now() - start;
    const [hosts, zones, members, convergence, versions] = await Promise.all([
      nsdb.list<{ name?: string }>('Host'),
      nsdb.list<{ name?: string; type: string }>('TunnelZone'),
      nsdb.list<{ tunnelZoneId: string; hostId: string; ipAddress: string }>('TunnelZoneHost'),
      nsdb.convergence(),
      nsdb.entries('versions/agents'),
    ]);
    const zoneOf = new Map(zones.map((zone) => [zone.id, zone.value]));
    const ports = hostId === null ? [] : await nsdb.referrers('Port', 'hostId', hostId);
    const bound = await Promise.all(ports.map((id) => nsdb!.get<{ interfaceName?: string }>('Port', id)));
    return {
      latencyMs,
      revision,
      convergence,
      hostNames: new Map(hosts.map((host) => [host.id, host.value.name ?? host.id])),
      members: members.map(({ value }) => ({
        zone: value.tunnelZoneId,
        zoneName: zoneOf.get(value.tunnelZoneId)?.name ?? value.tunnelZoneId,
        type: zoneOf.get(value.tunnelZoneId)?.type ?? '',
        host: value.hostId,
        address: value.ipAddress,
      })),
      ports: bound.flatMap((port) =>
        port?.value.interfaceName === undefined ? [] : [{ portId: port.id, interfaceName: port.value.interfaceName }],
      ),
      versions: new Map(versions.map((entry) => [entry.key, entry.value])),
    };
  };
  try {
    return await Promise.race([read(), late]);
  } finally {
    clearTimeout(timer);
    void nsdb?.close().catch(() => {});
  }
}

/** From the store, which knows also those that the agent has no tunnel to; else from the agent. */
function peersOf(
  config: AgentConfig,
  me: string | null,
  agent: AgentStatus | null,
  store: StoreFacts | null,
): readonly Peer[] {
  const underlay = new Underlay();
  try {
    const tunnels = new Map(agent?.tunnels.map((tunnel) => [tunnel.hostId, tunnel]));
    const peers = new Map<string, Peer>();
    const add = (hostId: string, local: string, remote: string) => {
      if (peers.has(hostId)) return;
      const name = store?.hostNames.get(hostId) ?? hostId;
      const tunnelMtu = tunnels.get(hostId)?.mtu ?? 0;
      peers.set(hostId, { hostId, name, local, remote, path: underlay.path(remote), tunnelMtu });
    };
    if (store === null) {
      for (const t of tunnels.values())
        add(t.hostId, ipFormat(Uint8Array.from(t.local)), ipFormat(Uint8Array.from(t.remote)));
      return [...peers.values()];
    }
    // The first zone that both are in, in order of the zones' ids, as the agents choose it.
    const usable = store.members.filter((member) => member.type === config.encap);
    const mine = usable.filter((member) => member.host === me).sort((a, b) => (a.zone < b.zone ? -1 : 1));
    for (const own of mine) {
      for (const other of usable) {
        if (other.zone === own.zone && other.host !== me) add(other.host, own.address, other.address);
      }
    }
    return [...peers.values()];
  } finally {
    underlay.close();
  }
}
