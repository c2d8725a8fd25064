/**
 * The management network made concrete: what hosts reach the store by when the store is on machines of its own. It is apart
 * from the fabric, so that a host can lose the store and keep its tunnels. Pure.
 */
import { managementNamespace, serverNamespace } from './names.ts';
import type { LabPaths } from './paths.ts';

/** Name of the network's interface in a host, and at a server. */
export const MANAGEMENT_DEVICE = 'mgmt';
export const MANAGEMENT_PREFIX = 16;
/** Of clients, with TLS; the one that each server has for itself, for four-letter commands; of the servers among each other. */
export const SECURE_PORT = 2281;
export const OWN_PORT = 2181;
export const QUORUM_PORTS = '2888:3888';
const SERVERS = 3;

export interface ManagementLink {
  /** Whose it is. */
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  /** Its end at the bridge. */
  readonly bridgePort: string;
}

export interface ServerPlan extends ManagementLink {
  readonly id: number;
  readonly directory: string;
  readonly log: string;
}

/** A Cassandra of one node. */
export interface ArchivePlan extends ManagementLink {
  readonly port: number;
  readonly directory: string;
  readonly log: string;
}

/** Beside the hosts there are servers of the store, the archive, or both. */
export interface ManagementPlan {
  /** Of the bridge, and of the API. */
  readonly namespace: string;
  readonly bridge: string;
  readonly address: string;
  readonly hosts: readonly ManagementLink[];
  /** Of ZooKeeper; none: the store is embedded. */
  readonly servers: readonly ServerPlan[];
  /** `host1:port1,…/root`, with TLS. */
  readonly connectString: string;
  readonly archive: ArchivePlan | undefined;
}

export function planManagement(
  lab: string,
  paths: LabPaths,
  hosts: readonly { readonly name: string; readonly namespace: string }[],
  wanted: { readonly servers: boolean; readonly archive: boolean },
): ManagementPlan | undefined {
  if (!wanted.servers && !wanted.archive) return undefined;
  const servers = Array.from({ length: wanted.servers ? SERVERS : 0 }, (_, i): ServerPlan => {
    const name = `zk${i + 1}`;
    return {
      id: i + 1,
      name,
      namespace: serverNamespace(lab, name),
      address: `10.253.0.${11 + i}`,
      bridgePort: `s-${i + 1}`,
      directory: paths.server(name),
      log: `${paths.server(name)}.log`,
    };
  });
  return {
    namespace: managementNamespace(lab),
    bridge: 'bridge',
    address: '10.253.0.1',
    hosts: hosts.map(({ name, namespace }, i) => ({
      name,
      namespace,
      address: `10.253.1.${i + 1}`,
      bridgePort: `h-${i + 1}`,
    })),
    servers,
    archive: wanted.archive ? planArchive(lab, paths) : undefined,
    connectString: `${servers.map(({ address }) => `${address}:${SECURE_PORT}`).join(',')}/weft`,
  };
}

function planArchive(lab: string, paths: LabPaths): ArchivePlan {
  const name = 'cassandra';
  return {
    name,
    namespace: serverNamespace(lab, name),
    address: '10.253.0.21',
    bridgePort: 'a-1',
    port: 9042,
    directory: paths.archive,
    log: `${paths.archive}.log`,
  };
}
