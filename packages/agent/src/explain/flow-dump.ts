/** Installed flows in words, filtered, and on demand with the explanation that made them. */
import { ACTION_SIZE, K_ETH_DST, K_ETH_SRC, K_IP_DST, K_IP_SRC, KEY_SIZE, readU32le } from '@weft/flow';
import { ipFormat, macFormat } from '@weft/packet';
import type { Explanation } from '@weft/simulator';
import type { Core } from '../worker/core.ts';
import { type FlowState, statesOf } from './connection-list.ts';
import type { Destination } from './trace.ts';
import type { Tracer } from './tracer.ts';

/** Explanations are made while packets wait: for this long at most. */
const EXPLAIN_MS = 100;

export interface FlowQuery {
  readonly limit: number;
  /** Only flows that entered by this port: its id, the beginning of it, or its interface. */
  readonly port?: string;
  /** Only flows that go to this host: its id, the beginning of it, or its address on the underlay. */
  readonly host?: string;
  /** Only flows whose first packet has this IP or MAC address, as source or destination. */
  readonly address?: string;
  /** Say why, by simulating the first packet again. */
  readonly explain?: boolean;
}

/** One installed flow, in words. Times in ms. */
export interface FlowDump {
  readonly id: number;
  readonly match: string;
  readonly action: string;
  /** Id and interface of the port by which it entered. */
  readonly port: string;
  readonly interface: string;
  readonly packets: number;
  readonly bytes: number;
  readonly ageMs: number;
  readonly idleMs: number;
  /** How many things it stands on. */
  readonly tags: number;
  /** The connections that its packets belong to. */
  readonly states: readonly FlowState[];
  /** With `explain`. */
  readonly why?: FlowReason;
}

/** Why a flow does what it does: from a simulation of its first packet at the time of asking, on the topology of then. */
export interface FlowReason {
  readonly resimulated: true;
  /** Whether the simulation comes to the installed action; a flow that waits for its turn after a change may differ. */
  readonly agrees: boolean;
  readonly standsOn: readonly string[];
  readonly explanation: Explanation;
  readonly destinations: readonly Destination[];
}

export interface FlowList {
  readonly flows: readonly FlowDump[];
  /** Installed flows, and those of them that the query means. */
  readonly total: number;
  readonly matching: number;
  /** Flows of the list that could not be explained in the time there was. */
  readonly unexplained: number;
}

export function dumpFlows(core: Core, tracer: Tracer, query: FlowQuery, now: number, clock: () => number): FlowList {
  const { installer, bindings } = core;
  const [packets, bytes] = [new Float64Array(1), new Float64Array(1)];
  const flows: FlowDump[] = [];
  const interfaces = new Map(bindings.list().map(({ portId, interfaceName }) => [portId, interfaceName]));
  const peers = peersOf(core, query.host);
  const until = clock() + EXPLAIN_MS;
  const key = new Uint8Array(KEY_SIZE);
  let matching = 0;
  let unexplained = 0;
  installer.table.forEach((slot) => {
    const { actions, firstKeys } = installer.table;
    const value = actions.subarray(slot * ACTION_SIZE, (slot + 1) * ACTION_SIZE);
    const port = bindings.portAt(readU32le(value, 8));
    const name = interfaces.get(port) ?? '';
    if (query.port !== undefined && name !== query.port && !port.startsWith(query.port)) return;
    const first = firstKeys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE);
    if (query.address !== undefined && !has(first, query.address)) return;
    if (peers === undefined && matching >= query.limit) {
      matching++;
      return;
    }
    const { words } = tracer;
    const action = words.action(value, words.installedList(value));
    if (peers !== undefined && !peers.some((peer) => action.includes(`tunnel(peer=${peer},`))) return;
    if (++matching > query.limit) return;
    const late = query.explain === true && clock() > until;
    if (late) unexplained++;
    installer.table.maskedKey(slot, key);
    packets[0] = 0;
    bytes[0] = 0;
    core.datapath.readCounters(packets, bytes, slot);
    const explained = query.explain === true && !late ? tracer.explainFlow(slot, now) : null;
    flows.push({
      id: readU32le(value, 0) + readU32le(value, 4) * 2 ** 32,
      match: words.match(key, installer.table.classOf(slot)),
      action,
      port,
      interface: name,
      packets: Math.max(0, packets[0] - installer.bases.packets[slot]),
      bytes: Math.max(0, bytes[0] - installer.bases.bytes[slot]),
      ageMs: now - installer.createdAt[slot],
      idleMs: now - installer.activeAt[slot],
      tags: installer.tags.tagsOf(slot).length,
      states: statesOf(core, tracer.connections, slot, now),
      ...(explained === null
        ? {}
        : {
            why: {
              resimulated: true as const,
              agrees: explained.flow?.action === action,
              standsOn: tracer.tagWords(installer.tags.tagsOf(slot)),
              explanation: explained.explanation,
              destinations: explained.destinations,
            },
          }),
    });
  });
  return { flows, total: installer.table.size, matching, unexplained };
}

/** Peer numbers of the hosts that are meant; undefined: no matter. */
function peersOf({ tunnels }: Core, host: string | undefined): number[] | undefined {
  if (host === undefined) return undefined;
  return tunnels
    .list()
    .filter(({ hostId, remote }) => hostId.startsWith(host) || ipFormat(remote) === host)
    .map(({ peer }) => peer);
}

function has(key: Uint8Array, address: string): boolean {
  const wanted = address.toLowerCase();
  return (
    [K_IP_SRC, K_IP_DST].some((offset) => ipFormat(key, offset) === wanted) ||
    [K_ETH_SRC, K_ETH_DST].some((offset) => macFormat(key, offset) === wanted)
  );
}
