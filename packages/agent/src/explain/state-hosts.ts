/** Which other hosts have to do with the connections of a packet: who is told of them, and who is asked about what is not known. */
import { type Simulation, type SimulationInput, VERDICT_FORWARD } from '@weft/simulator';
import type { Core } from '../worker/core.ts';
import { tcpFlagsOf } from '../worker/opening-segment.ts';
import { isDoubtful } from '../worker/packet-path.ts';
import type { ConnectionWords, HostRef } from './connection-words.ts';

export interface StateHosts {
  /** Told of what the packet begins before it leaves, and of changes of what it belongs to. */
  readonly toldHosts: readonly HostRef[];
  /** Asked before the packet is decided: one of them may know a connection that is not known here. */
  readonly askedHosts: readonly HostRef[];
  /** Interests without which that cannot be said. */
  readonly needs: readonly string[];
}

const NOBODY: StateHosts = { toldHosts: [], askedHosts: [], needs: [] };

export function stateHosts(core: Core, words: ConnectionWords, sim: Simulation, input: SimulationInput): StateHosts {
  if (sim.missedCount + sim.stateCount + sim.createdCount === 0) return NOBODY;
  const { connections, view } = core;
  const { table } = connections;
  const needs: string[] = [];
  const audience = (port: number): string[] => (view.audience(port, needs) ?? []).map((host) => view.id(host));
  const told = new Set<string>();
  if (begins(sim)) {
    for (const port of [input.port, ...sim.outputs.subarray(0, sim.outputCount)]) {
      if (port !== 0) for (const id of audience(port)) told.add(id);
    }
  }
  for (let i = 0; i < sim.stateCount; i++) {
    const record = sim.states[i] >>> 1;
    for (const host of [table.owner(record), ...table.audiences.members(table.audience(record))]) {
      told.add(table.uuids.text(host));
    }
  }
  const cameFrom = connections.cameFrom(view.id(input.port));
  const doubtful = isDoubtful(sim, tcpFlagsOf(input.key, input.frame), input.key, cameFrom !== undefined);
  const asked = doubtful ? [...audience(input.port), ...(cameFrom === undefined ? [] : [cameFrom])] : [];
  const named = (ids: Iterable<string>): HostRef[] =>
    [...new Set(ids)]
      .filter((id) => id !== core.hostId)
      .map((id) => words.hostOf(id))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { toldHosts: named(told), askedHosts: named(asked), needs };
}

/** Whether the packet would begin connections, as `PacketPath` enters them. */
export function begins(sim: Simulation): boolean {
  return sim.createdCount > 0 && (sim.verdict === VERDICT_FORWARD || sim.generated.length > 0);
}

/** Whether what the packet would begin can be entered: there is room, and no other connection is in the way. */
export function hasRoom({ connections }: Core, sim: Simulation, port: number): boolean {
  const { table, numbers } = connections;
  for (let i = 0; i < sim.createdCount; i++) if (table.clashes(sim.created[i])) return false;
  return table.hasRoom(numbers.of(port), sim.createdCount);
}
