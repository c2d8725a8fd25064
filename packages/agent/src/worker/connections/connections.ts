/**
 * The connections of this host: what the simulator looks up and begins, which flows keep them alive, who is told, and what follows for
 * flows when one comes or goes. The table, the pools of ports and the exchange with other hosts stand beside it, each for itself.
 *
 * Times of the table are milliseconds of CLOCK_MONOTONIC, which goes on through a restart of the agent; `stateNow` converts.
 */
import { K_IP_PROTO, KEY_SIZE } from '@weft/flow';
import {
  ConnectionRecord,
  DIR_RETURN,
  Exchange,
  FLAG_KEEP,
  type FlowStateTable,
  KIND_CONNTRACK,
  KIND_DNAT,
  KIND_SNAT,
  R_EGRESS,
  R_INGRESS,
  R_RETURN,
  R_RULE,
  RECORD_WORDS,
  stateTag,
  TUPLE_WORDS,
  tupleKind,
} from '@weft/flowstate';
import type { NatTarget, Simulation, StateView, VirtualTopologyView } from '@weft/simulator';
import type { Effects } from '../effects.ts';
import { HEARTBEAT_MS } from '../liveness.ts';
import type { Tunnels } from '../tunnels.ts';
import type { FlowStates } from './flow-states.ts';
import { NatPools } from './nat-pools.ts';
import { Numbers } from './numbers.ts';

/** Records that one tick looks at for expiry. */
const EXPIRE_STEP = 16_384;
/** Records whose audience is worked out anew per tick after a port group has changed. */
const AUDIENCE_STEP = 4_096;
/** A peer that was heard within this time counts as alive. */
const ALIVE_MS = 2_500;
const VOUCH_MS = 5_000;
/** From this share of its names on the table is asked to give back those that nothing has. */
const RECLAIM_ABOVE = 0.75;

export interface ConnectionsOptions {
  readonly table: FlowStateTable;
  readonly privateKey: Uint8Array;
  readonly hostId: string;
  readonly view: VirtualTopologyView;
  readonly tunnels: Tunnels;
  readonly flows: FlowStates;
  readonly effects: Effects;
  /** Flows with these tags are to be simulated anew. */
  readonly invalidate: (tags: readonly number[]) => void;
  /** Packets that wait for this may go on. */
  readonly wake: (need: string) => void;
  /** Sends a datagram to a peer of `tunnels`. */
  readonly send: (peer: number, bytes: Uint8Array, length: number) => void;
  /** What is added to the worker's clock to get the table's, ms. */
  readonly clockOffset: number;
  readonly now: number;
}

/** What the rest of the worker counts. */
export interface ConnectionCounters {
  created: number;
  refused: number;
  expired: number;
  /** Datagrams that no tunnel led to. */
  unsent: number;
  asked: number;
}

export class Connections implements StateView {
  readonly table: FlowStateTable;
  readonly flows: FlowStates;
  readonly pools: NatPools;
  readonly exchange: Exchange;
  readonly numbers: Numbers;
  readonly counters: ConnectionCounters = { created: 0, refused: 0, expired: 0, unsent: 0, asked: 0 };
  private readonly options: ConnectionsOptions;
  private readonly clockOffset: number;
  /** Audience by ports: ingress handle × 2^21 + egress handle. */
  private readonly audiences = new Map<number, number>();
  /** Translations that are to outlive their rule, by number of the filter. */
  private readonly kept = new Map<number, number>();
  /** Number in the table → host id, of peers. */
  private readonly hosts = new Map<number, string>();
  private readonly keys = new Map<string, string>();
  /** Keys of those that have left the tunnel zones. */
  private readonly departed = new Map<string, string>();
  private readonly scratch = new ConnectionRecord();
  private readonly reversed = new Int32Array(TUPLE_WORDS);
  private readonly gone: number[] = [];
  private readonly members = new Set<number>();
  private readonly needs: string[] = [];
  /** Per record that this process has begun: the key of its first packet, and the generation of the record's place. */
  private readonly firstKeys: Uint8Array;
  private readonly keyOf: Int32Array;
  /** Record from which on connections are to be looked at again because filters have changed; -1: none. */
  private lookAgainHand = -1;
  /** Record at which the audiences are worked out anew; -1: all are right. */
  private audienceHand = -1;
  private nextVouch = 0;
  private now: number;

  constructor(options: ConnectionsOptions) {
    const { table, privateKey, effects, wake } = options;
    this.options = options;
    this.table = table;
    this.clockOffset = options.clockOffset;
    this.now = options.now;
    this.flows = options.flows;
    this.firstKeys = new Uint8Array(table.capacity * KEY_SIZE);
    this.keyOf = new Int32Array(table.capacity).fill(-1);
    this.numbers = new Numbers(table, options.view);
    this.pools = new NatPools({ table, effects, wake, now: options.now });
    this.exchange = new Exchange({
      table,
      privateKey,
      send: (peer, bytes, length) => this.sendTo(peer, bytes, length),
      onApplied: (record, result) => this.applied(record, result),
      onAnswered: (ask) => wake(askNeed(ask)),
      onPeer: (peer, event) => effects.log('peer.state', { host: this.hostOf(peer), event }),
      settings: { heartbeat: HEARTBEAT_MS },
    });
    table.onGone = (record) => this.forget(record);
    table.onFence = () => this.fenced();
    for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
      if (table.isVisible(record)) this.countKept(record, 1);
    }
    // What this process inherited has no audience yet.
    if (table.size > 0) this.audienceHand = 0;
  }

  /** Time of the table. */
  stateNow(now: number): number {
    return now + this.clockOffset;
  }

  // ---- what the simulator asks

  number(handle: number): number {
    return this.numbers.keep(handle);
  }

  chooseSource(device: number, target: NatTarget, record: ConnectionRecord): number {
    return this.pools.choose(device, target, record);
  }

  keeps(filter: number): boolean {
    return (this.kept.get(filter) ?? 0) > 0;
  }

  sourceNeed(device: number, target: NatTarget): string {
    return this.pools.need(device, target);
  }

  // ---- what a packet does

  /**
   * Enters what a simulation has begun, all or nothing, and tells those who may see it.
   * @param origin handle of the port of entry; 0: a device's own packet
   * @returns false: there was no room, or another connection is in the way; nothing was entered
   */
  commit(sim: Simulation, key: Uint8Array, origin: number, tcpFlags: number, now: number): boolean {
    const { table, numbers } = this;
    const at = this.stateNow(now);
    const audience = this.audienceFor(sim, origin);
    const egress = sim.outputCount === 1 ? sim.outputs[0] : 0;
    for (let i = 0; i < sim.createdCount; i++) {
      const record = sim.created[i];
      record.ingress = numbers.of(origin);
      record.egress = numbers.of(egress);
      record.rule = numbers.of(sim.createdRules[i]);
      const done = table.insert(record, at, audience);
      if (done < 0) {
        this.counters.refused++;
        this.takeBack(sim, i);
        return false;
      }
      this.entered[i] = done;
    }
    for (let i = 0; i < sim.createdCount; i++) {
      const record = this.entered[i];
      table.touch(record, false, key[K_IP_PROTO] === 6 ? tcpFlags : 0, at);
      this.firstKeys.set(key.subarray(0, KEY_SIZE), record * KEY_SIZE);
      this.keyOf[record] = table.generation(record);
      this.countKept(record, 1);
      this.invalidate(record);
      this.exchange.publish(record);
      table.markTold(record, at);
      // What is created belongs to the packet's flow from now on.
      if (sim.stateCount < sim.states.length) sim.states[sim.stateCount++] = record << 1;
    }
    this.counters.created += sim.createdCount;
    sim.createdCount = 0;
    return true;
  }
  private readonly entered = new Int32Array(16);

  private takeBack(sim: Simulation, count: number): void {
    for (let i = 0; i < count; i++) this.table.remove(this.entered[i]);
    sim.createdCount = 0;
  }

  /** A packet of known connections was seen. */
  seen(sim: Simulation, tcpFlags: number, now: number): void {
    for (let i = 0; i < sim.stateCount; i++) this.touch(sim.states[i], tcpFlags, now);
  }

  /** A packet of a flow was seen that the datapath told of because of its TCP flags. */
  flagsSeen(slot: number, tcpFlags: number, now: number): void {
    const { flows, table } = this;
    for (let n = flows.first(slot); n >= 0; n = flows.following(n)) {
      const entry = flows.entry(n);
      if (table.generation(entry >>> 1) === flows.generation(n)) this.touch(entry, tcpFlags, now);
    }
  }

  private touch(entry: number, tcpFlags: number, now: number): void {
    const { table } = this;
    const record = entry >>> 1;
    if (!table.isVisible(record)) return;
    const at = this.stateNow(now);
    if (table.touch(record, (entry & 1) === DIR_RETURN, tcpFlags, at) === 0) return;
    this.exchange.publish(record);
    table.markTold(record, at);
  }

  /** The flow in a slot belongs to the connections of this simulation. */
  attach(slot: number, sim: Simulation): void {
    const { flows, table } = this;
    if (sim.stateCount === 0 && !flows.has(slot)) return;
    flows.drop(slot);
    for (let i = 0; i < sim.stateCount; i++) flows.add(slot, sim.states[i], table.generation(sim.states[i] >>> 1));
  }

  /** The counters of a flow have moved. */
  moved(slot: number, now: number): void {
    if (this.flows.has(slot)) this.flagsSeen(slot, 0, now);
  }

  /**
   * Asks those who may know what was not found.
   * @returns what to wait for, or '': nobody to ask, or too much is asked already
   */
  ask(sim: Simulation, origin: number, now: number): string {
    const hosts = this.peersOf(origin);
    if (hosts.length === 0) return '';
    let need = '';
    for (let i = 0; i < sim.missedCount && i < MAX_ASKS; i++) {
      const ask = this.exchange.ask(sim.missed, i * TUPLE_WORDS, hosts, this.stateNow(now));
      if (ask === 0) continue;
      this.counters.asked++;
      need = askNeed(ask);
    }
    return need;
  }

  /** Whether other hosts may see connections of a port: what is not found may be known there. */
  isShared(port: number): boolean {
    return this.peersOf(port).length > 0;
  }

  private peersOf(port: number): number[] {
    const { view, hostId } = this.options;
    this.needs.length = 0;
    const hosts = view.audience(port, this.needs) ?? [];
    const own = view.handle(hostId);
    return hosts.filter((host) => host !== own).map((host) => this.numbers.keep(host));
  }

  /** A datagram of another host has come. */
  receive(bytes: Uint8Array, length: number, now: number): void {
    this.exchange.receive(bytes, length, this.stateNow(now));
  }

  /** Sends what is to be sent: before the packets leave that it is about. */
  flush(): void {
    this.exchange.flush(this.stateNow(this.now));
  }

  // ---- hosts

  /** The host's public key for the exchange, as published; '' when it is not any more (then the last one goes on counting). */
  setKey(hostId: string, key: string): void {
    if (key === '' || hostId === this.options.hostId || this.keys.get(hostId) === key) return;
    try {
      const peer = this.exchange.setPeer(this.bytesOf(hostId), new Uint8Array(Buffer.from(key, 'base64')));
      this.hosts.set(peer, hostId);
      this.keys.set(hostId, key);
    } catch (error) {
      this.options.effects.log('peer.refused', { host: hostId, error: (error as Error).message });
    }
  }

  /** The members of the tunnel zones have changed: nothing is exchanged with who is none, until it is one again. */
  membersChanged(isMember: (hostId: string) => boolean): void {
    for (const [hostId, key] of this.keys) {
      if (isMember(hostId)) continue;
      this.keys.delete(hostId);
      this.departed.set(hostId, key);
      const peer = this.numbers.ofId(hostId);
      this.exchange.removePeer(peer);
      this.hosts.delete(peer);
    }
    for (const [hostId, key] of this.departed) {
      if (!isMember(hostId)) continue;
      this.departed.delete(hostId);
      this.setKey(hostId, key);
    }
  }

  private bytesOf(id: string): Uint8Array {
    return Uint8Array.from(Buffer.from(id.replaceAll('-', ''), 'hex'));
  }

  hostOf(peer: number): string {
    return this.hosts.get(peer) ?? this.table.uuids.text(peer);
  }

  private sendTo(peer: number, bytes: Uint8Array, length: number): void {
    const tunnel = this.options.tunnels.peer(this.hostOf(peer));
    if (tunnel === 0) this.counters.unsent++;
    else this.options.send(tunnel, bytes, length);
  }

  // ---- what changes

  /** Port groups or their members have changed: whom to tell is worked out anew. */
  audiencesChanged(): void {
    this.audiences.clear();
    this.audienceHand = 0;
  }

  /** About every 50 ms. */
  tick(now: number): void {
    this.now = now;
    this.pools.advance(now);
    const at = this.stateNow(now);
    const before = this.table.size;
    this.table.expire(at, EXPIRE_STEP);
    this.counters.expired += before - this.table.size;
    this.exchange.tick(at);
    if (this.audienceHand >= 0) this.renewAudiences();
    if (now >= this.nextVouch) this.vouch(now, at);
  }

  /** About once a second. */
  sweep(now: number): void {
    this.pools.tick(now);
    const { uuids, audiences } = this.table;
    if (uuids.size < uuids.capacity * RECLAIM_ABOVE) return;
    this.audiences.clear();
    audiences.reclaim();
    this.numbers.release();
    uuids.reclaim();
  }

  /** When a datagram of a host came last, on the worker's clock; -Infinity: never. */
  lastHeard(hostId: string): number {
    return this.exchange.lastHeard(this.numbers.ofId(hostId)) - this.clockOffset;
  }

  private vouch(now: number, at: number): void {
    this.nextVouch = now + VOUCH_MS;
    for (const [peer, hostId] of this.hosts) {
      if (at - this.exchange.lastHeard(peer) < ALIVE_MS) this.options.effects.vouch(hostId);
    }
  }

  private renewAudiences(): void {
    const { table } = this;
    let record = this.audienceHand;
    for (let n = 0; n < AUDIENCE_STEP; n++) {
      record = table.nextRecord(record);
      if (record < 0) {
        this.audienceHand = -1;
        return;
      }
      this.renewAudience(record);
      record++;
    }
    this.audienceHand = record;
  }

  private renewAudience(record: number): void {
    const { table, numbers } = this;
    const base = record * RECORD_WORDS;
    const ingress = numbers.handle(table.words[base + R_INGRESS]);
    const egress = numbers.handle(table.words[base + R_EGRESS]);
    const audience = this.audienceOf(ingress, egress);
    if (audience < 0 || audience === table.audience(record)) return;
    const before = new Set(table.audiences.members(table.audience(record)));
    table.setAudience(record, audience);
    if (table.owner(record) !== table.self) return;
    for (const host of table.audiences.members(audience)) if (!before.has(host)) this.exchange.sync(host);
    this.exchange.publish(record);
  }

  private audienceFor(sim: Simulation, origin: number): number {
    if (sim.outputCount <= 1) return Math.max(0, this.audienceOf(origin, sim.outputCount === 1 ? sim.outputs[0] : 0));
    this.members.clear();
    this.addHosts(origin);
    for (let i = 0; i < sim.outputCount; i++) this.addHosts(sim.outputs[i]);
    return this.table.audiences.of(this.members);
  }

  /** Number of the audience of a connection between two ports (handles, 0: none); -1: not all is known yet. */
  private audienceOf(ingress: number, egress: number): number {
    const name = ingress * 0x20_0000 + egress;
    const known = this.audiences.get(name);
    if (known !== undefined) return known;
    this.members.clear();
    const complete = this.addHosts(ingress) && this.addHosts(egress);
    const audience = this.table.audiences.of(this.members);
    if (!complete) return -1;
    this.audiences.set(name, audience);
    return audience;
  }

  private addHosts(port: number): boolean {
    if (port === 0) return true;
    this.needs.length = 0;
    const hosts = this.options.view.audience(port, this.needs);
    if (hosts === undefined) return false;
    const { self } = this.table;
    for (const host of hosts) {
      const n = this.numbers.keep(host);
      if (n !== self) this.members.add(n);
    }
    return true;
  }

  /** A peer's record came, or more is known of one. */
  private applied(record: number, result: number): void {
    if (this.table.isVisible(record) && result >= APPLY_NEWER_OR_NEW) {
      this.countKept(record, 1);
      this.renewAudience(record);
    }
    this.invalidate(record);
  }

  /** A record that lookups could find is about to go. */
  private forget(record: number): void {
    this.countKept(record, -1);
    this.invalidate(record);
  }

  private countKept(record: number, by: 1 | -1): void {
    const { table } = this;
    if ((table.flags(record) & FLAG_KEEP) === 0) return;
    const base = record * RECORD_WORDS;
    const kind = tupleKind(table.words[base]);
    if (kind !== KIND_SNAT && kind !== KIND_DNAT) return;
    const filter = table.words[base + R_RULE];
    const count = (this.kept.get(filter) ?? 0) + by;
    if (count > 0) this.kept.set(filter, count);
    else this.kept.delete(filter);
  }

  /** Flows that stood on the presence or absence of a record. */
  private invalidate(record: number): void {
    const { words } = this.table;
    const base = record * RECORD_WORDS;
    this.gone.length = 0;
    this.gone.push(stateTag(words, base));
    this.reversed[0] = words[base];
    for (let i = 1; i < TUPLE_WORDS; i++) this.reversed[i] = words[base + R_RETURN + i - 1];
    this.gone.push(stateTag(this.reversed, 0));
    this.options.invalidate(this.gone);
  }

  /** A block has a newer token: records of older ones are not found any more. Rare enough to look at all. */
  private fenced(): void {
    const { table } = this;
    for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
      if (table.isFenced(record)) this.invalidate(record);
    }
  }

  /** Filters have changed: what they once let begin is looked at again, also while it is idle. */
  filtersChanged(): void {
    if (this.table.size > 0) this.lookAgainHand = 0;
  }

  /** Connections wait to be looked at again. */
  get looksAgain(): boolean {
    return this.lookAgainHand >= 0;
  }

  /**
   * Hands the first packets of tracked connections that began on this host to `look`, at most `max` records a call.
   * @param look its argument is valid during the call
   */
  lookAgain(max: number, look: (key: Uint8Array) => void): void {
    const { table } = this;
    let record = this.lookAgainHand;
    for (let n = 0; n < max && record >= 0; n++) {
      record = table.nextRecord(record);
      if (record < 0) break;
      if (this.keyOf[record] === table.generation(record) && this.isOwnTracked(record)) {
        look(this.firstKeys.subarray(record * KEY_SIZE, (record + 1) * KEY_SIZE));
      }
      record++;
    }
    this.lookAgainHand = record;
  }

  private isOwnTracked(record: number): boolean {
    const { table } = this;
    if (!table.isVisible(record) || table.owner(record) !== table.self) return false;
    return tupleKind(table.words[record * RECORD_WORDS]) === KIND_CONNTRACK;
  }

  /** Ends a connection that the rules do not let through any more, for all its hosts. */
  cut(record: number, now: number): void {
    this.table.bury(record, this.stateNow(now), this.scratch);
    this.exchange.publish(record);
  }
}

/** APPLY_NEWER and APPLY_NEW. */
const APPLY_NEWER_OR_NEW = 2;
/** Tuples of one packet that peers are asked about. */
const MAX_ASKS = 4;

/** The waiting room's name of an ask. */
function askNeed(ask: number): string {
  return `s/${ask}`;
}
