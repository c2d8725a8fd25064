/**
 * One packet's way through the worker: simulate, remember what it taught, translate, install the flow, send the frame.
 * Nothing here waits: a packet that lacks data goes to the waiting room and comes back from scratch.
 *
 * Longer than other files because the ways in (a packet that came up, one that waited, one that a device sent, a flow to be looked
 * at again) meet in the same simulation over the same reused buffers.
 */
import type { Upcall } from '@weft/datapath';
import {
  A_OUT_PORT,
  A_OUTPUT,
  A_REWRITE,
  A_TTL_DEC,
  ACTION_SIZE,
  compileAction,
  dropReason,
  extractKey,
  FRAG_NONE,
  K_ETH_SRC,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_TTL,
  K_VLAN,
  KEY_SIZE,
  keyInPort,
  newFrameLayout,
  OUT_DROP,
  OUT_TUNNEL,
  RW_TTL,
  readU16,
  readU32le,
  UPCALL_FLOW_STATE,
  UPCALL_MISS,
  UPCALL_PATH_MTU,
  UPCALL_TCP_FLAGS,
} from '@weft/flow';
import { DIR_FORWARD, KIND_CONNTRACK, RECORD_WORDS, tupleKind } from '@weft/flowstate';
import { IPPROTO_TCP, macToNumber, TCP_ACK, TCP_SYN } from '@weft/packet';
import {
  GENERATED_ICMP_ERROR,
  newSimulation,
  PORT_BRIDGE,
  type Simulation,
  type SimulationInput,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_POSTPONE,
} from '@weft/simulator';
import { NO_RULES } from '../flows/rule-sets.ts';
import { STATE_HEADERS, stateDatagramLength } from './connections/state-frame.ts';
import { type Core, countDrop, want } from './core.ts';
import { FlowWriter } from './flow-writer.ts';
import { neighbourNeed } from './neighbours.ts';
import { opensConnection, tcpFlagsOf } from './opening-segment.ts';
import { RateLimit } from './rate-limit.ts';
import { newOutput, type Output, reportTcpFlags, setDrop } from './translate.ts';
import { type Parked, parkedCopy } from './waiting-room.ts';

/** Frames that devices send in answer to frames that devices send: an echo reply may meet an unreachable, no more. */
const MAX_GENERATIONS = 4;
/** A packet that wakes and lacks something else again and again leaves the waiting room. */
const MAX_ROUNDS = 32;
/** Flow that drops because the peer's tunnel is missing: short, since nothing tells us the exact moment it could go. */
const UNREACHABLE_MS = 1_000;
/** Flow that drops for want of a connection that other hosts may know, which may be told of late: until the next sweep, a second at most. */
const UNKNOWN_MS = 1;

/** What simulating an installed flow again says of it. */
export const FLOW_STANDS = 1;
export const FLOW_STALE = 2;
export const FLOW_UNKNOWN = 3;
export type FlowVerdict = typeof FLOW_STANDS | typeof FLOW_STALE | typeof FLOW_UNKNOWN;

const PEER_UNREACHABLE = dropReason('peer_unreachable');
const TOO_BIG = dropReason('too_big');
const REWRITE_FAILED = dropReason('rewrite_failed');
const FILTERED = dropReason('filtered');
const REJECTED = dropReason('rejected');
const CAP_CONNECTIONS = dropReason('cap_connections');
/** `Parked.asked` of a packet about which other hosts were not asked. */
const NOT_ASKED = -1;
const NO_VNET = new Uint8Array(10);
const NO_FRAME = new Uint8Array(0);
const VLAN_TAG = 4;

export class PacketPath {
  private readonly core: Core;
  private readonly sims: Simulation[] = [];
  private readonly keys: Uint8Array[] = [];
  private readonly output: Output = newOutput();
  private readonly writer: FlowWriter;
  private readonly layout = newFrameLayout();
  private readonly icmp: RateLimit;
  private readonly input: SimulationInput = { key: NO_VNET, frame: NO_VNET, length: 0, port: 0, now: 0 };

  constructor(core: Core) {
    this.core = core;
    this.writer = new FlowWriter(core);
    this.icmp = new RateLimit(core.limits.icmpRate);
    for (let i = 0; i <= MAX_GENERATIONS; i++) {
      this.sims.push(newSimulation());
      this.keys.push(new Uint8Array(KEY_SIZE));
    }
  }

  collect(now: number): void {
    this.icmp.collect(now);
  }

  /** Handles a packet that came up. */
  upcall(u: Upcall, now: number): void {
    const { core } = this;
    // What other hosts tell of connections comes all the time, and is no packet of a port.
    if (u.reason !== UPCALL_FLOW_STATE) core.counters.upcalls++;
    if (u.reason === UPCALL_PATH_MTU) {
      if (core.tunnels.notePathMtu(u.peer, u.mtu, now)) {
        core.effects.log('tunnel.path_mtu', { host: core.tunnels.host(u.peer), mtu: u.mtu });
        core.tunnels.reconcile(now);
      }
      return;
    }
    if (u.reason === UPCALL_FLOW_STATE) {
      const length = stateDatagramLength(u.frame);
      if (length < 0) countDrop(core.counters, 'malformed');
      else core.connections.receive(u.frame.subarray(STATE_HEADERS, STATE_HEADERS + length), length, now);
      return;
    }
    if (u.reason === UPCALL_TCP_FLAGS) {
      const slot = core.installer.table.match(u.key);
      if (slot >= 0) core.connections.flagsSeen(slot, tcpFlagsOf(u.key, u.frame), now);
      return;
    }
    if (u.reason === UPCALL_MISS && this.hit(u.key, u.frame, u.vnetHeader, u.length, u.segmentLength, now)) return;
    this.enter(u.key, u.frame, u.vnetHeader, u.length, u.segmentLength, u.reason, u.inPort, 0, NOT_ASKED, now);
  }

  /** Simulates a waiting packet again. */
  retry(p: Parked, now: number): void {
    if (p.leavingPort !== 0) this.leave(p.frame, p.leavingPort, p.inPort, 0, p.rounds, now);
    else if (p.reason !== UPCALL_MISS || !this.hit(p.key, p.frame, p.vnetHeader, p.length, p.segmentLength, now)) {
      this.enter(p.key, p.frame, p.vnetHeader, p.length, p.segmentLength, p.reason, p.inPort, p.rounds, p.asked, now);
    }
  }

  /** The flow may have been installed since the packet came up (a burst): then it is executed, not simulated. */
  private hit(
    key: Uint8Array,
    frame: Uint8Array,
    vnetHeader: Uint8Array,
    length: number,
    segmentLength: number,
    now: number,
  ): boolean {
    const { installer, queue, openings, rules, tunnels, connections } = this.core;
    const slot = installer.table.match(key);
    if (slot < 0) return false;
    const at = slot * ACTION_SIZE;
    const { actions } = installer.table;
    // What the datapath would send up again: too old or too big.
    if ((actions[at + A_REWRITE + 1] << 8) & RW_TTL && key[K_IP_TTL] <= actions[at + A_TTL_DEC]) return false;
    if (actions[at + A_OUTPUT] === OUT_TUNNEL && segmentLength > tunnels.mtu(readU32le(actions, at + A_OUT_PORT)))
      return false;
    this.core.counters.lateHits++;
    rules.carried(slot, countedBytes(key, length));
    // What the datapath would have told of its flags.
    if (connections.flows.has(slot)) connections.flagsSeen(slot, tcpFlagsOf(key, frame), now);
    if (actions[at + A_OUTPUT] === OUT_DROP) return true;
    (opensConnection(key, frame) ? openings : queue).add(frame, vnetHeader).set(actions.subarray(at, at + ACTION_SIZE));
    return true;
  }

  private enter(
    key: Uint8Array,
    frame: Uint8Array,
    vnetHeader: Uint8Array,
    length: number,
    segmentLength: number,
    reason: number,
    inPort: number,
    rounds: number,
    asked: number,
    now: number,
  ): void {
    const { core, input } = this;
    const portId = core.bindings.portAt(inPort);
    if (portId === '') {
      countDrop(core.counters, 'no_port');
      return;
    }
    const sim = this.sims[0];
    input.key = key;
    input.frame = frame;
    input.length = length;
    input.port = core.view.handle(portId);
    input.now = now;
    core.counters.simulations++;
    core.simulator.simulate(input, sim);
    const mac = this.learn(sim, key, input.port, now);
    const park = (): Parked =>
      parkedCopy({
        key,
        frame,
        vnetHeader,
        length,
        segmentLength,
        reason,
        leavingPort: 0,
        inPort,
        deadline: now + core.limits.waitingMs,
        asked,
        rounds: rounds + 1,
      });
    if (sim.verdict === VERDICT_POSTPONE) {
      this.postpone(sim, park(), now);
      return;
    }
    if (sim.missedCount + sim.stateCount > 0) {
      // Nothing is begun anew, or dropped, for want of what the archive is just giving back.
      const archived = sim.missedCount > 0 ? core.connections.restoring(portId) : '';
      if (archived !== '') {
        if (!core.waiting.park(park(), [archived])) countDrop(core.counters, 'waiting_room_full');
        return;
      }
      const flags = tcpFlagsOf(key, frame);
      // What the answers have made known may lead to something else that is not.
      if (asked < sim.stateCount && isDoubtful(sim, flags, key, core.connections.cameFrom(portId) !== undefined)) {
        const needs: string[] = [];
        const isAsk = core.connections.ask(sim, input.port, now, needs);
        if (needs.length > 0) {
          if (!isAsk) want(core, needs);
          if (!core.waiting.park({ ...park(), asked: isAsk ? sim.stateCount : asked }, needs))
            countDrop(core.counters, 'waiting_room_full');
          return;
        }
      }
      if (!this.remember(sim, key, flags, now)) return;
    }
    // A packet that comes up for another reason has met its flow, and was counted there.
    if (reason === UPCALL_MISS) {
      core.rules.simulated(sim, countedBytes(key, length), now);
      if (sim.ruleLogCount > 0) core.ruleLogger.decided(sim, key, inPort, input.port, 'first', now);
    }
    const rules = sim.cacheable ? core.rules.intern(sim) : NO_RULES;
    if (sim.verdict === VERDICT_FORWARD)
      this.forward(sim, key, frame, vnetHeader, segmentLength, inPort, mac, rules, now);
    else this.drop(sim, key, inPort, mac, rules, now);
    core.rules.release(rules);
    this.sendGenerated(sim, inPort, 0, now);
  }

  /**
   * Notes that the packet was seen of the connections that it belongs to, and enters those that it begins. What is dropped without a word
   * keeps nothing alive, and ends nothing by its flags.
   * @returns false: there is no room for them, the packet is dropped
   */
  private remember(sim: Simulation, key: Uint8Array, flags: number, now: number): boolean {
    const { core } = this;
    if (sim.verdict !== VERDICT_FORWARD && sim.generated.length === 0) {
      this.endRefused(sim, key, now);
      return true;
    }
    core.connections.seen(sim, flags, now);
    if (sim.createdCount === 0 || core.connections.commit(sim, key, this.input.port, flags, now)) return true;
    core.counters.drops[CAP_CONNECTIONS]++;
    return false;
  }

  /** The rules do not let the opening direction of a connection through any more: it ends, for answers too. */
  private endRefused(sim: Simulation, key: Uint8Array, now: number): void {
    if (sim.reason !== FILTERED && sim.reason !== REJECTED) return;
    // What is refused of a fragment says nothing of whole packets.
    if (key[K_IP_FRAG] !== FRAG_NONE) return;
    const { connections } = this.core;
    for (let i = 0; i < sim.stateCount; i++) {
      const record = sim.states[i] >>> 1;
      if ((sim.states[i] & 1) !== DIR_FORWARD || !connections.table.isVisible(record)) continue;
      if (tupleKind(connections.table.words[record * RECORD_WORDS]) === KIND_CONNTRACK) connections.cut(record, now);
    }
  }

  private forward(
    sim: Simulation,
    key: Uint8Array,
    frame: Uint8Array,
    vnetHeader: Uint8Array,
    segmentLength: number,
    inPort: number,
    mac: number,
    rules: number,
    now: number,
  ): void {
    const { core, output } = this;
    const leaving = sim.frame ?? frame;
    if (sim.divergent) {
      for (let i = 0; i < sim.outputCount; i++) {
        core.translator.translate(sim, i, inPort, output);
        const final = sim.outputKeys.subarray(i * KEY_SIZE, (i + 1) * KEY_SIZE);
        this.execute(key, final, sim.outputTtlDec[i], leaving, vnetHeader, inPort);
      }
      return;
    }
    this.translate(sim, key, inPort);
    if (output.output === OUT_DROP) core.counters.drops[output.reason]++;
    else if (output.mtu !== 0 && segmentLength > output.mtu) {
      core.counters.drops[TOO_BIG]++;
      core.simulator.tooBig(this.input, sim, output.mtu);
    } else this.execute(key, sim.key, sim.ttlDec, leaving, vnetHeader, inPort);
    if (!sim.cacheable) return;
    const slot = this.writer.install(sim, output, key, inPort, mac, lifetimeOf(sim, output), rules, now);
    if (slot >= 0) core.connections.attach(slot, sim);
  }

  /** Where a plain simulation's packet goes from here. */
  private translate(sim: Simulation, key: Uint8Array, inPort: number): void {
    this.core.translator.translate(sim, -1, inPort, this.output);
    reportTcpFlags(sim, key, this.output);
  }

  private drop(sim: Simulation, key: Uint8Array, inPort: number, mac: number, rules: number, now: number): void {
    const { output } = this;
    this.core.counters.drops[sim.reason]++;
    if (!sim.cacheable) return;
    setDrop(output, sim.reason);
    const slot = this.writer.install(sim, output, key, inPort, mac, this.dropLifetime(sim), rules, now);
    if (slot >= 0) this.core.connections.detach(slot);
  }

  private dropLifetime(sim: Simulation): number {
    if (sim.missedCount === 0 || !this.core.connections.isShared(this.input.port)) return sim.shortLived;
    return sim.shortLived === 0 ? UNKNOWN_MS : Math.min(sim.shortLived, UNKNOWN_MS);
  }

  /** Sends a frame with the output translated last. */
  private execute(
    from: Uint8Array,
    to: Uint8Array,
    ttlDec: number,
    frame: Uint8Array,
    vnetHeader: Uint8Array | null,
    inPort: number,
  ): void {
    const { output, core } = this;
    if (output.output === OUT_DROP) {
      core.counters.drops[output.reason]++;
      return;
    }
    // A frame without what AF_PACKET needs to send it again was made here: nobody waits for its flow.
    const queue = vnetHeader !== null && opensConnection(from, frame) ? core.openings : core.queue;
    const action = queue.add(frame, vnetHeader);
    const options = {
      output: output.output,
      outPort: output.outPort,
      tunnelKey: output.tunnelKey,
      flags: output.flags,
      ttlDec,
      ownerPort: inPort,
    };
    if (compileAction(from, to, action, options)) return;
    queue.cancel();
    core.counters.drops[REWRITE_FAILED]++;
  }

  /** Publishes what the packet taught. @returns the entry of its source MAC, for the flow to hold; −1 if there is none. */
  private learn(sim: Simulation, key: Uint8Array, portHandle: number, now: number): number {
    const { core } = this;
    for (let i = 0; i < sim.learnedNeighbourCount; i++) {
      const learned = sim.learnedNeighbours[i];
      const { table, key: name, value } = core.view.neighbourEntry(learned);
      const entry = {
        table,
        key: name,
        device: learned.device,
        port: learned.port,
        ip: learned.ip,
        from: learned.from,
      };
      if (core.neighbours.publish(entry, now)) core.effects.putEntry(table, name, value);
      else countDrop(core.counters, 'cap_neighbours');
    }
    for (let i = 0; i < sim.learnedMacCount; i++) {
      const { bridge, vlan, mac, port } = sim.learnedMacs[i];
      if (port !== portHandle) core.macs.learn(bridge, vlan, macToNumber(mac, 0), port, 0, now);
    }
    return this.holdMac(sim, key, portHandle, sourceMoved(sim, portHandle) ? 0 : portHandle, now);
  }

  private postpone(sim: Simulation, packet: Parked, now: number): void {
    const { core } = this;
    core.counters.postponed++;
    want(core, sim.needs);
    const needs = [...sim.needs, ...sim.wantedBlocks];
    for (let i = 0; i < sim.wantedNeighbourCount; i++) {
      const { port, ip } = sim.wantedNeighbours[i];
      if (core.neighbours.resolve(port, ip, packet.inPort, now)) needs.push(neighbourNeed(port, ip));
    }
    if (needs.length === 0) countDrop(core.counters, 'cap_neighbours');
    else if (packet.rounds > MAX_ROUNDS) countDrop(core.counters, 'waiting_room_expired');
    else if (!core.waiting.park(packet, needs)) countDrop(core.counters, 'waiting_room_full');
  }

  /** Sends the frames that devices answered with. */
  private sendGenerated(sim: Simulation, inPort: number, generation: number, now: number): void {
    for (const { frame, port, kind } of sim.generated) {
      if (kind === GENERATED_ICMP_ERROR && !this.icmp.take(inPort, now)) this.core.counters.icmpSuppressed++;
      else this.leave(frame, port, inPort, generation + 1, 0, now);
    }
  }

  /** Simulates and sends a frame that a device sends by `port`. `inPort`: the local port that caused it, for caps. */
  leave(frame: Uint8Array, port: number, inPort: number, generation: number, rounds: number, now: number): void {
    const { core } = this;
    if (generation > MAX_GENERATIONS) return;
    core.counters.generated++;
    const sim = this.sims[generation];
    const key = this.keys[generation];
    if (!extractKey(frame, frame.length, 0, 0, key, 0, this.layout)) {
      countDrop(core.counters, 'malformed');
      return;
    }
    core.simulator.simulateGenerated(frame, port, now, sim);
    for (let i = 0; i < sim.learnedMacCount; i++) {
      const learned = sim.learnedMacs[i];
      core.macs.learn(learned.bridge, learned.vlan, macToNumber(learned.mac, 0), learned.port, 0, now);
    }
    if (sim.verdict === VERDICT_POSTPONE) {
      this.postpone(
        sim,
        parkedCopy({
          key,
          frame,
          vnetHeader: NO_VNET,
          length: frame.length,
          segmentLength: 0,
          reason: 0,
          leavingPort: port,
          inPort,
          deadline: now + core.limits.waitingMs,
          asked: NOT_ASKED,
          rounds: rounds + 1,
        }),
        now,
      );
      return;
    }
    if (sim.missedCount + sim.stateCount > 0 && sim.verdict === VERDICT_FORWARD) {
      core.connections.seen(sim, 0, now);
      if (sim.createdCount > 0 && !core.connections.commit(sim, key, 0, 0, now)) {
        core.counters.drops[CAP_CONNECTIONS]++;
        return;
      }
    }
    core.rules.simulated(sim, countedBytes(key, frame.length), now);
    if (sim.verdict === VERDICT_FORWARD) {
      for (let i = 0; i < sim.outputCount; i++) {
        if (!sim.divergent && i > 0) break;
        core.translator.translate(sim, sim.divergent ? i : -1, 0, this.output);
        const final = sim.divergent ? sim.outputKeys.subarray(i * KEY_SIZE, (i + 1) * KEY_SIZE) : sim.key;
        // The datapath floods nothing back to the port of the action: the answer may be for it.
        this.execute(key, final, sim.divergent ? sim.outputTtlDec[i] : sim.ttlDec, sim.frame ?? frame, null, 0);
      }
    } else core.counters.drops[sim.reason]++;
    this.sendGenerated(sim, inPort, generation, now);
  }

  /**
   * Simulates an installed flow again from its first packet's key.
   * @returns FLOW_STANDS (unchanged, or replaced under the same or another mask), FLOW_STALE (its next packet must come up), or
   * FLOW_UNKNOWN (the topology that it needs is not here).
   */
  revalidate(slot: number, now: number): FlowVerdict {
    const { core, input } = this;
    const { installer } = core;
    const key = this.keys[0];
    key.set(installer.table.firstKeys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE));
    const inPort = keyInPort(key);
    const portId = core.bindings.portAt(inPort);
    if (portId === '') return FLOW_STALE;
    const sim = this.sims[0];
    input.key = key;
    input.frame = NO_FRAME;
    input.length = 0;
    input.port = core.view.handle(portId);
    input.now = now;
    core.counters.revalidated++;
    core.simulator.simulate(input, sim);
    if (sim.verdict === VERDICT_POSTPONE) {
      want(core, sim.needs);
      return sim.needs.length > 0 ? FLOW_UNKNOWN : FLOW_STALE;
    }
    if (!sim.cacheable) return FLOW_STALE;
    if (sim.missedCount > 0 && core.connections.restoring(portId) !== '') return FLOW_STALE;
    // A connection begins with a packet.
    if (sim.verdict === VERDICT_FORWARD && sim.createdCount > 0) return FLOW_STALE;
    if (sim.verdict !== VERDICT_FORWARD) this.endRefused(sim, key, now);
    // The source MAC was seen elsewhere since: only a packet can say that it is back here, so the next one has to come up.
    if (sourceMoved(sim, input.port)) return FLOW_STALE;
    if (sim.verdict === VERDICT_FORWARD) this.translate(sim, key, inPort);
    else setDrop(this.output, sim.reason);
    const mac = this.holdMac(sim, key, input.port, input.port, now);
    const rules = core.rules.intern(sim);
    // What an earlier process installed has been told by it.
    if (sim.ruleLogCount > 0 && core.rules.of(slot) !== rules && !core.rules.isUnknown(slot)) {
      core.ruleLogger.decided(sim, key, inPort, input.port, 'changed', now);
    }
    const lifetime = sim.verdict === VERDICT_FORWARD ? lifetimeOf(sim, this.output) : this.dropLifetime(sim);
    const kept = this.writer.rewrite(slot, sim, this.output, key, inPort, mac, lifetime, rules, now);
    if (kept >= 0 && sim.verdict === VERDICT_FORWARD) core.connections.attach(kept, sim);
    else if (kept >= 0) core.connections.detach(kept);
    core.rules.release(rules);
    return FLOW_STANDS;
  }

  /**
   * Simulates the first packet of a known connection again, because filters have changed. What they refuse now ends; a flow of it that
   * is installed is looked at for itself.
   */
  lookAgain(key: Uint8Array, now: number): void {
    const { core, input } = this;
    const portId = core.bindings.portAt(keyInPort(key));
    if (portId === '') return;
    const sim = this.sims[0];
    input.key = key;
    input.frame = NO_FRAME;
    input.length = 0;
    input.port = core.view.handle(portId);
    input.now = now;
    core.simulator.simulate(input, sim);
    if (sim.verdict === VERDICT_DROP) this.endRefused(sim, key, now);
  }

  /**
   * Entry of the source MAC of a flow that entered by a bridge port, for the flow to hold; −1 if there is none. A frame that the port's
   * own filters keep from the bridge shows nothing: it may bear any MAC.
   */
  private holdMac(sim: Simulation, key: Uint8Array, portHandle: number, published: number, now: number): number {
    const { core } = this;
    const port = core.view.port(portHandle);
    if (sim.devices === 0 || port?.kind !== PORT_BRIDGE || key[K_ETH_SRC] & 1) return -1;
    const vlan = readU16(key, K_VLAN) & 0xfff;
    return core.macs.learn(port.device, vlan, macToNumber(key, K_ETH_SRC), portHandle, published, now);
  }
}

/** Bytes of a packet as the datapath counts them: a tag is not among them. */
function countedBytes(key: Uint8Array, length: number): number {
  return readU16(key, K_VLAN) === 0 ? length : length - VLAN_TAG;
}

/** How long the flow may live in ms; 0: no limit. */
function lifetimeOf(sim: Simulation, output: Output): number {
  return output.output === OUT_DROP && output.reason === PEER_UNREACHABLE ? UNREACHABLE_MS : sim.shortLived;
}

/**
 * Whether another host may know of a connection that would change what becomes of the packet: it is dropped for want of one,
 * would go on without being translated back, or takes part in a conversation whose beginning was not seen here. What opens a TCP
 * connection answers nothing.
 * @param arrived the port has just come from another host: then any packet but such a one may belong to what is known there
 */
export function isDoubtful(sim: Simulation, tcpFlags: number, key: Uint8Array, arrived: boolean): boolean {
  if (sim.missedCount === 0) return false;
  const tcp = key[K_IP_PROTO] === IPPROTO_TCP;
  if (tcp && (tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return false;
  return arrived || sim.verdict !== VERDICT_FORWARD || sim.missedBack || (tcp && sim.createdCount > 0);
}

/** True if the view has the packet's source MAC anywhere but at the port by which it entered. */
function sourceMoved(sim: Simulation, portHandle: number): boolean {
  for (let i = 0; i < sim.learnedMacCount; i++) if (sim.learnedMacs[i].port === portHandle) return true;
  return false;
}
