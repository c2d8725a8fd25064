/** `weft doctor`: everything that can be wrong with a host, looked at, with what to do about it. */
import type { AgentConfig } from '../config.ts';
import { type Check, type Report, reportOf, runChecks } from './finding.ts';
import {
  agentErrors,
  agentRuns,
  caps,
  flowTable,
  hosts,
  revision,
  tunnelArrivals,
  upcalls,
  versions,
  waitingRoom,
} from './health.ts';
import { foreignPrograms, hostStack, offloads, portInterfaces, portMtu, programs, rpFilter } from './interfaces.ts';
import { bpfFeatures, bpffs, clock, disk, doors, kernel, memory, vxlanDevice } from './machine.ts';
import { storeAnswers, storeServers } from './store.ts';
import { type GatherOptions, gather, type Surroundings } from './surroundings.ts';
import { firewall, neighbours, peerRoutes, tunnelAddress, tunnelMtu, tunnelZone } from './underlay.ts';

/** In the order of the report: what the others stand on comes first. */
export const DOCTOR_CHECKS: readonly Check<Surroundings>[] = [
  kernel,
  bpfFeatures,
  bpffs,
  memory,
  vxlanDevice,
  disk,
  doors,
  clock,
  agentRuns,
  agentErrors,
  storeAnswers,
  storeServers,
  revision,
  hosts,
  versions,
  portInterfaces,
  programs,
  foreignPrograms,
  hostStack,
  offloads,
  portMtu,
  tunnelZone,
  tunnelAddress,
  peerRoutes,
  neighbours,
  rpFilter,
  firewall,
  tunnelMtu,
  tunnelArrivals,
  flowTable,
  upcalls,
  waitingRoom,
  caps,
];

/**
 * Looks at the host that the calling thread is on (its network namespace). Takes a second or two, up to half a minute where
 * probes are not answered. Sends probes to the peers; changes nothing.
 */
export async function diagnose(config: AgentConfig, options: GatherOptions): Promise<Report> {
  const surroundings = await gather(config, options);
  return reportOf(config.name, await runChecks(DOCTOR_CHECKS, surroundings));
}
