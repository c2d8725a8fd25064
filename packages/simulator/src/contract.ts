/**
 * The simulator as the agent sees it.
 *
 * Two halves: a **view**, the agent's cache of the virtual topology, changed only between batches by `apply`; and a
 * **simulator**, a pure synchronous function of a packet and the view. Neither does I/O, reads a clock or throws dice.
 *
 * **Handles.** Every object the view has heard of (port, bridge, router, chain …) has one small positive number, interned
 * per UUID, the same for the life of the process, never reused. 0 is "none". Handles differ between hosts and runs: nothing
 * that a verdict depends on may depend on their order.
 *
 * **What the view wants to hear** (interests of the state database), and how table entries are spelled:
 *
 * | interest | content |
 * |---|---|
 * | `o/Port/<id>`, `o/Bridge/<id>`, `o/Router/<id>`, `o/Route/<id>`, `o/Chain/<id>`, `o/Rule/<id>` | the object, or null: absent |
 * | `o/RuleLogger/<id>`, `o/LoggingResource/<id>` | the object, or null |
 * | `i/Port.bridgeId/<id>`, `i/Port.routerId/<id>`, `i/Route.routerId/<id>`, `i/RuleLogger.chainId/<id>` | ids of the referrers |
 * | `t/mac/<bridge>` | key: MAC (`aa:bb:cc:dd:ee:ff`), of a tagged frame `<vlan>\|<MAC>` with the VLAN in decimal; value: port id |
 * | `t/arp/<router>` | key: IP address (canonical text), of an IPv6 link-local neighbour `<ip>%<router port id>`; value: MAC |
 * | `t/arp/<bridge>` | key: IP address; value: MAC; the bridge answers ARP and ND for these |
 * | `t/addresses/<group>` | members of an address group; key: address or prefix (value free) |
 * | `o/PortGroup/<id>`, `i/Port.portGroupIds/<id>` | of a stateful group: who may see the connections of its ports |
 * | `t/active/<port>` | key: host id (value free): the port is active when there is an entry for the host it is bound to |
 *
 * The chains of a port's security are in no store: the view derives them from the port, and names them in no interest.
 */

import type { ConnectionRecord, FlowStateTable } from '@weft/flowstate';
import type { NatTarget } from './view/nat.ts';

/** One entry of a state table, as in the state database's contract. */
export interface TableEntry {
  readonly key: string;
  readonly value: string;
  readonly owner: string | null;
  readonly version: number;
}

/** An object of the topology as stored. */
export interface StoredObject {
  readonly type: string;
  readonly id: string;
  readonly version: number;
  readonly value: Record<string, unknown>;
}

/** Structurally the `Change` of the state database's contract. */
export type Change =
  | { readonly interest: string; readonly kind: 'object'; readonly object: StoredObject | null }
  | {
      readonly interest: string;
      readonly kind: 'objects';
      readonly reset: boolean;
      readonly upserts: readonly StoredObject[];
      readonly removed: readonly string[];
    }
  | {
      readonly interest: string;
      readonly kind: 'index';
      readonly reset: boolean;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  | {
      readonly interest: string;
      readonly kind: 'table';
      readonly reset: boolean;
      readonly upserts: readonly TableEntry[];
      readonly removed: readonly string[];
    };

/** What a batch of changes did to the view. */
export interface Applied {
  /** Tags (see `@weft/flow`) of the flows whose verdict may have changed. Without duplicates. */
  readonly tags: number[];
  /** What filters let through may have changed: a rule, a group, or which filter a port or device has. */
  readonly filters: boolean;
  /** Interests that things already in use need and the view does not have: subscribe now, before a packet has to wait. */
  readonly wanted: string[];
}

export const PORT_BRIDGE = 1;
export const PORT_ROUTER = 2;

/** A port, compiled. `bound` (exterior), `peer !== 0` (interior) or neither (unplugged). Read-only outside the view. */
export interface SimPort {
  readonly handle: number;
  readonly id: string;
  /** PORT_BRIDGE or PORT_ROUTER. */
  readonly kind: number;
  /** Handle of the bridge or router. */
  readonly device: number;
  readonly adminUp: boolean;
  /** Handle of the port at the other end, or 0. */
  readonly peer: number;
  /** Host and interface of an exterior port, else ''. */
  readonly hostId: string;
  readonly interfaceName: string;
  /** Tunnel key (24 bit) of frames to this port, 0 if none. */
  readonly tunnelKey: number;
  /** Handles of the filters, 0 if none. */
  readonly inFilter: number;
  readonly outFilter: number;
  /** Handles of the chains of its port security, 0 if it has none: passed before the filter on the way in, behind it on the way out. */
  readonly securityIn: number;
  readonly securityOut: number;
  /** VLAN of the interior side of a VLAN-aware bridge, 0 if none. */
  readonly vlan: number;
  /** Router port: own MAC (6 bytes), else zeros. */
  readonly mac: Uint8Array;
  /** Router port: own addresses, 16 bytes each; the automatic IPv6 link-local address is the last. */
  readonly addresses: Uint8Array;
  /** Prefix length (16-byte form) of each of `addresses`. */
  readonly prefixes: Uint8Array;
  /** Handles of the port groups that it is in, ascending. */
  readonly groups: Int32Array;
}

/** Whether what leaves by a port passes a filter of its own: a copy of a flood cannot go to it together with those to others. */
export function isFiltered(port: Pick<SimPort, 'outFilter' | 'securityOut'>): boolean {
  return port.outFilter !== 0 || port.securityOut !== 0;
}

/**
 * What is known of connections at this moment, and where new translations come from. The simulator changes nothing of it: whoever
 * asked for the simulation inserts what it created before anything else happens.
 */
export interface StateView {
  readonly table: FlowStateTable;
  /** Number in `table.uuids` of what a handle stands for; 0: there is no room for it. */
  number(handle: number): number;
  /**
   * Chooses the translated source of `record` on a device (its number): NAT_CHOSEN, NAT_NO_BLOCK (the packet waits for `sourceNeed`) or
   * NAT_EXHAUSTED. Nothing is reserved.
   */
  chooseSource(device: number, target: NatTarget, record: ConnectionRecord): number;
  /**
   * Whether there are connections or translations (with FLAG_KEEP) that a rule of this filter (its number) let begin, and that are to
   * finish also without it. When that becomes true, flows with the filter's chain tag are to be simulated anew: they did not ask.
   */
  keeps(filter: number): boolean;
  /** Name of the wait for ports of a target. */
  sourceNeed(device: number, target: NatTarget): string;
}

/** The agent's cache of the virtual topology. */
export interface VirtualTopologyView {
  /** Handle of a UUID; interned if new. */
  handle(id: string): number;
  /** UUID of a handle, '' for 0. */
  id(handle: number): string;
  /** The port, or undefined while it is missing (not delivered) or absent (delivered as null). */
  port(handle: number): SimPort | undefined;
  /** Exterior ports of a bridge, ascending by UUID; undefined while the bridge is not wholly cached. */
  bridgePorts(bridge: number): readonly number[] | undefined;
  /** Flood key of a bridge (its `tunnelKey`), 0 if unknown. */
  floodKey(bridge: number): number;
  /**
   * Handles of the hosts that may see the connections of a port: its own and those of the members of its stateful groups. Undefined:
   * something is not cached; its interests are appended to `needs`. Valid until the next `apply`.
   */
  audience(port: number, needs: string[]): readonly number[] | undefined;
  /** Host id where an exterior port is active (table `t/active/<port>`), '' if nowhere, undefined if not cached. */
  activeHost(port: number): string | undefined;

  /** Applies one batch of changes, atomically for the simulator. Changes of interests it does not know are ignored. */
  apply(changes: readonly Change[]): Applied;
  /**
   * Interests that are needed, and not cached, for a packet to enter at this port, and to know who else may know its connection: for
   * warming up a binding.
   * Call again after each apply until it returns none. `asked`: devices and chains that were asked for with other ports in the same go;
   * what they need is not said again.
   */
  interestsFor(port: number, asked?: Set<number>): string[];
  /** The same for all that its packets may reach from there, through at most so many ports: for a binding that is to lose no time. */
  interestsAround(port: number, most: number): string[];
  /** All interests whose content the view holds because it was delivered. */
  interests(): string[];
  /**
   * Cached interests that no simulation consulted at or after `olderThan` (same clock as `now` of the inputs) and no flow
   * stands on. `hasFlows(tag)`: is there an installed flow with this tag? Every flow that consulted anything of a device,
   * port or chain holds that thing's own tag, so the view asks for few. What the view derived of the same age it drops by itself.
   */
  unused(olderThan: number, hasFlows: (tag: number) => boolean): string[];
  /** Forgets the content: missing again. The caller has ended the subscription. Returns tags of flows that might have stood on it. */
  forget(interests: Iterable<string>): number[];

  /**
   * Local verdict on a neighbour that does not answer: simulations yield host unreachable until `clearNeighbourFailed` or
   * until the neighbour is learned. `port`: router port, `ip` 16 bytes. Returns the tags to invalidate.
   */
  markNeighbourFailed(port: number, ip: Uint8Array): number[];
  clearNeighbourFailed(port: number, ip: Uint8Array): number[];

  /**
   * Local verdict on a host that is not heard any more, until it is: routes by its ports are taken only when there is no other. Returns the
   * tags to invalidate.
   */
  markHost(host: number, failed: boolean): number[];

  /** State table (`arp/…`, `mac/…`: the name that `HostSession.put` takes), key and value under which a learned fact is published. */
  neighbourEntry(learned: LearnedNeighbour): { table: string; key: string; value: string };
  macEntry(learned: LearnedMac): { table: string; key: string; value: string };
}

/** A packet to simulate. The object and its buffers may be reused by the caller. */
export interface SimulationInput {
  /** Full flow key (`extractKey`). `inPort` in it is not looked at. */
  key: Uint8Array;
  /** The frame from its first Ethernet byte, VLAN tag in the bytes; may be cut behind the headers. */
  frame: Uint8Array;
  /** Bytes of the whole packet. */
  length: number;
  /** Handle of the port by which it enters. */
  port: number;
  /** Milliseconds of any steady clock; only marks what was used when. */
  now: number;
}

export const VERDICT_FORWARD = 1;
export const VERDICT_DROP = 2;
export const VERDICT_POSTPONE = 3;

/** A frame that a device of the virtual topology sends of its own: it leaves the device by `port` (egress filters apply). */
export interface GeneratedFrame {
  frame: Uint8Array;
  port: number;
  /** GENERATED_…: for rate limits and counters. */
  kind: number;
}

export const GENERATED_ARP_REPLY = 1;
export const GENERATED_ND_ADVERT = 2;
export const GENERATED_ICMP_ERROR = 3;
export const GENERATED_ECHO_REPLY = 4;
export const GENERATED_TCP_RESET = 5;

/** "This MAC was seen at this port": to be published if caps allow. Only reported when the view says otherwise. */
export interface LearnedMac {
  bridge: number;
  /** VLAN id, 0: untagged. */
  vlan: number;
  readonly mac: Uint8Array;
  port: number;
}

/**
 * "This address has this MAC." `device`: router or bridge; `port`: router port (0 on a bridge). Of a router's neighbour also
 * reported when the view knows it: a sign of life.
 */
export interface LearnedNeighbour {
  device: number;
  port: number;
  readonly ip: Uint8Array;
  readonly mac: Uint8Array;
  /** Port at which the packet that taught it entered the simulation (for caps); 0: generated. */
  from: number;
}

/** A neighbour without which the packet cannot go on: send `buildNeighbourRequest(port, ip)`, simulate again when it is learned. */
export interface WantedNeighbour {
  port: number;
  readonly ip: Uint8Array;
}

/** Words of an entry of `ruleHits` and of `ruleLogs`. */
export const RULE_HIT_WORDS = 2;
export const RULE_LOG_WORDS = 3;
/** Most entries of each; what goes beyond is not told. */
export const MAX_RULE_HITS = 1024;
export const MAX_RULE_LOGS = 64;

/** Most connections that one packet can belong to or begin; more: it is dropped. */
export const MAX_STATES = 16;

/** Most exterior ports that one packet may leave by; beyond, the packet is dropped. */
export const MAX_OUTPUTS = 4096;
/** Most tags; a simulation that has more is right but not cacheable. */
export const MAX_TAGS = 512;

/**
 * Result of a simulation; reused, lists are preallocated and valid up to their count. Made by `newSimulation()`.
 *
 * FORWARD: the packet, rewritten to `key` (and TTL lowered by `ttlDec`), leaves by every port of `outputs`. If `divergent`,
 * output i has its own key at `outputKeys[i * 64]` and its own `outputTtlDec[i]`.
 * DROP: `reason` says why; frames in `generated` may answer it (`local_delivered`: the packet was for a router or bridge).
 * POSTPONE: nothing is decided; `needs` are to be subscribed, `wantedNeighbours` resolved, `wantedBlocks` allocated, then simulate from
 * scratch.
 * `created` is to be inserted before anything else is simulated: with FORWARD, and with DROP when there are answers in `generated`.
 * `learnedMacs` and `learnedNeighbours` count with every verdict; `generated` not with POSTPONE.
 */
export interface Simulation {
  verdict: number;
  /** Index of DROP_REASONS; 0 unless dropped. */
  reason: number;
  /** Device or port at which it was dropped or postponed. */
  where: number;
  /** F_ bits of the fields that the verdict depends on. TTL is not among them when it only has to exceed `ttlDec`. */
  fields: number;
  readonly tags: Uint32Array;
  tagCount: number;
  readonly key: Uint8Array;
  ttlDec: number;
  readonly outputs: Int32Array;
  outputCount: number;
  /** Per output: bridge whose flood made it, 0: unicast. */
  readonly outputFlood: Int32Array;
  divergent: boolean;
  outputKeys: Uint8Array;
  outputTtlDec: Uint8Array;
  /** A flow may be installed: false when more than the key was read, frames were generated, outputs diverge or tags overflowed. */
  cacheable: boolean;
  /** A flow of this verdict should live this many milliseconds at most; 0: no limit. */
  shortLived: number;
  readonly generated: GeneratedFrame[];
  readonly learnedMacs: LearnedMac[];
  learnedMacCount: number;
  readonly learnedNeighbours: LearnedNeighbour[];
  learnedNeighbourCount: number;
  readonly needs: string[];
  readonly wantedNeighbours: WantedNeighbour[];
  wantedNeighbourCount: number;
  /** Waits for ports of NAT targets (`StateView.sourceNeed`). */
  readonly wantedBlocks: string[];
  /** Known connections that the packet belongs to: record << 1 | direction, each once. */
  readonly states: Int32Array;
  stateCount: number;
  /**
   * Connections that it begins: both tuples are set, and FLAG_KEEP. Ingress and egress port, owner and version are the caller's. Of each
   * the handles of the rule (or, with FLAG_KEEP, of the filter) that let it begin, 0: none.
   */
  readonly created: ConnectionRecord[];
  readonly createdRules: Int32Array;
  createdCount: number;
  /** Tuples that were looked up and not found, each once, TUPLE_WORDS long: another host may know them. */
  readonly missed: Int32Array;
  missedCount: number;
  /** A rule that translates answers back did not find the connection: if it is one, it goes on as it came. */
  missedBack: boolean;
  /** The frame with its quoted packet translated (an ICMP error): goes on in place of the one that came. Null: as it came. */
  frame: Uint8Array | null;
  /** Every rule that matched, in the order of evaluation: its handle and what it did (ACTION_…). For counters. */
  readonly ruleHits: Int32Array;
  ruleHitCount: number;
  /** Of chains with a logger that wants to know: handle of the chain, of the rule that decided, and ACTION_… of the decision. */
  readonly ruleLogs: Int32Array;
  ruleLogCount: number;
  /** Devices (bridges, routers) traversed, routers among them. */
  devices: number;
  routers: number;
}

/**
 * Told of every decision when given; costs nothing when absent. All arguments are numbers (`STEP_…`, handles, small values), so
 * that steps can be stored and sent; `key` is the packet's key at that moment and valid only during the call.
 */
export interface Recorder {
  step(step: number, at: number, a: number, b: number, key: Uint8Array): void;
}

export interface SimulatorOptions {
  /** Most devices on one path; default 12. */
  readonly maxDevices?: number;
  /** Connections; absent: none is known, and none can be translated dynamically. */
  readonly state?: StateView;
  readonly recorder?: Recorder;
}

export interface PacketSimulator {
  /** Simulates a packet that enters at `input.port`; fills `out`. */
  simulate(input: SimulationInput, out: Simulation): void;
  /** Simulates a frame that a device sends by `port`: from the port's egress on. */
  simulateGenerated(frame: Uint8Array, port: number, now: number, out: Simulation): void;
  /**
   * After a FORWARD of `input` whose packet exceeds `mtu` (L3 bytes) on the way out: appends to `out.generated` what the
   * last router on its way sends back (ICMP fragmentation needed, ICMPv6 packet too big).
   * @returns false if nothing may be sent: no router on the path, or an error about this packet is forbidden.
   */
  tooBig(input: SimulationInput, out: Simulation, mtu: number): boolean;
  /** ARP request or neighbour solicitation for `ip` (16 bytes) leaving by a router port; null if it has no address to ask from. */
  buildNeighbourRequest(port: number, ip: Uint8Array): Uint8Array | null;
}
