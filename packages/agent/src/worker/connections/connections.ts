/**
 * The connections of this host: what the simulator looks up and begins, which flows keep them alive, who is told, and what follows for
 * flows when one comes or goes. The table, the pools of ports and the exchange with other hosts stand beside it, each for itself.
 *
 * Longer than other files because a connection, its audience and the flows that rest on it change together or not at all.
 *
 * Times of the table are milliseconds of CLOCK_MONOTONIC, which goes on through a restart of the agent; `stateNow` converts.
 */
import { K_IP_PROTO, KEY_SIZE, TAG_CHAIN, tag } from '@weft/flow';
import {
  ConnectionRecord,
  DIR_RETURN,
  Exchange,
  FLAG_KEEP,
  type FlowStateTable,
  GONE_REPLACED,
  KIND_CONNTRACK,
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
import { Archiver } from './archiver.ts';
import { AudienceKeeper } from './audience-keeper.ts';
import { FirstPackets } from './first-packets.ts';
import type { FlowStates } from './flow-states.ts';
import { NatPools } from './nat-pools.ts';
import { Numbers } from './numbers.ts';
import { OrphanedBlocks } from './orphaned-blocks.ts';
import { Restorer } from './restorer.ts';

/** Records that one tick looks at for expiry. */
const EXPIRE_STEP = 16_384;
/** A peer that was heard within this time counts as alive. */
const ALIVE_MS = 2_500;
/** The session passes on as much of it as the store's grace time asks for, which may be one second. */
const VOUCH_MS = 200;
/** Who was not heard for so long may be gone for good: the state database knows. */
const SILENT_MS = 60_000;
/** So long the host that a port came from is asked about what is missing. */
const ARRIVAL_MS = 10_000;
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
  /** Asks the state database for interests. */
  readonly want: (interests: readonly string[]) => void;
  /** Whether a port (its id) is live on this host. */
  readonly isLive: (portId: string) => boolean;
  /** Whether a port that is or was here goes to another host. */
  readonly isLeaving: (portId: string) => boolean;
  /** Where connections are kept for a host that knows nothing; null: nowhere. `hand` as in `ArchiverOptions`. */
  readonly archive: { hand(entries: Uint8Array<ArrayBuffer>): boolean; read(portId: string): void } | null;
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
  asked: number;
}

/** Asks that a packet waits for, all of them. */
interface Wait {
  readonly need: string;
  left: number;
}

export class Connections implements StateView {
  readonly table: FlowStateTable;
  readonly flows: FlowStates;
  readonly pools: NatPools;
  readonly exchange: Exchange;
  readonly numbers: Numbers;
  readonly archiver: Archiver | null = null;
  readonly restorer: Restorer | null = null;
  readonly counters: ConnectionCounters = { created: 0, refused: 0, expired: 0, asked: 0 };
  private readonly options: ConnectionsOptions;
  private readonly clockOffset: number;
  private readonly audiences: AudienceKeeper;
  private readonly orphans: OrphanedBlocks;
  /** By number of an ask under way: who waits for it. */
  private readonly waits = new Map<number, Wait[]>();
  private lastWait = 0;
  /** Connections and translations that are to outlive their rule, by number of the filter. */
  private readonly kept = new Map<number, number>();
  /** Number in the table → host id, of peers. */
  private readonly hosts = new Map<number, string>();
  private readonly keys = new Map<string, string>();
  /** Keys of those that have left the tunnel zones. */
  private readonly departed = new Map<string, string>();
  private readonly scratch = new ConnectionRecord();
  private readonly reversed = new Int32Array(TUPLE_WORDS);
  private readonly gone: number[] = [];
  private readonly needs: string[] = [];
  private readonly firsts: FirstPackets;
  private readonly firstKey = new Uint8Array(KEY_SIZE);
  /** Per record: a peer has seen more of it. It tells the others, and with the next packet here so does the owner, for who has missed it. */
  private readonly retell: Uint8Array;
  /** Record from which on connections are to be looked at again because filters have changed; -1: none. */
  private lookAgainHand = -1;
  private nextVouch = 0;
  /** Time of the last tick, of the table's clock. */
  private tickedAt = 0;
  /** By port that has come from another host: that host is asked about what is missing, for a while. */
  private readonly arrivals = new Map<string, { readonly from: string; readonly until: number }>();
  /** Ports that have been live here since this process began. */
  private readonly cameBefore = new Set<string>();

  constructor(options: ConnectionsOptions) {
    const { table, privateKey, effects, wake } = options;
    this.options = options;
    this.table = table;
    this.clockOffset = options.clockOffset;
    this.flows = options.flows;
    this.firsts = new FirstPackets(table.words, table.capacity);
    this.retell = new Uint8Array(table.capacity);
    this.numbers = new Numbers(table, options.view);
    this.pools = new NatPools({ table, effects, wake, now: options.now });
    this.exchange = new Exchange({
      table,
      privateKey,
      send: (peer, bytes, length) => this.sendTo(peer, bytes, length),
      onApplied: (record, result) => this.applied(record, result),
      onAnswered: (ask) => this.answered(ask),
      onPeer: (peer, event) => effects.log('peer.state', { host: this.hostOf(peer), event }),
      settings: { heartbeat: HEARTBEAT_MS },
    });
    options.tunnels.onChange = (hostId) => this.pathChanged(hostId);
    table.onGone = (record, reason) => this.forget(record, reason);
    table.onFence = () => this.fenced();
    const { numbers, exchange } = this;
    const isLeaving = (port: number) => options.isLeaving(options.view.id(port));
    this.audiences = new AudienceKeeper({
      table,
      numbers,
      exchange,
      view: options.view,
      want: options.want,
      isLeaving,
    });
    this.countAllKept();
    const isHere = (port: number) => port !== 0 && options.isLive(options.view.id(numbers.handle(port)));
    this.orphans = new OrphanedBlocks({
      table,
      pools: this.pools,
      isHere,
      isSilent: (host) => this.silence(host) > SILENT_MS,
      keepBlocks: (blocks) => effects.keepBlocks(blocks),
      takeOver: (record) => this.takeOver(record),
    });
    const { archive } = options;
    if (archive === null) return;
    this.archiver = new Archiver({ table, isHere, hand: (entries) => archive.hand(entries) });
    this.restorer = new Restorer({
      table,
      read: (port) => archive.read(port),
      onApplied: (record, result) => this.applied(record, result),
      wake,
    });
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
    const audience = this.audiences.of(sim, origin);
    const egress = sim.outputCount === 1 ? sim.outputs[0] : 0;
    for (let i = 0; i < sim.createdCount; i++) {
      const record = sim.created[i];
      record.ingress = numbers.keep(origin);
      record.egress = numbers.keep(egress);
      record.rule = numbers.keep(sim.createdRules[i]);
      const done = table.insert(record, at, audience);
      if (done < 0) {
        this.counters.refused++;
        this.takeBack(sim, i);
        return false;
      }
      this.entered[i] = done;
      this.countKept(done, 1);
    }
    for (let i = 0; i < sim.createdCount; i++) {
      const record = this.entered[i];
      table.touch(record, false, key[K_IP_PROTO] === 6 ? tcpFlags : 0, at);
      if (tupleKind(table.words[record * RECORD_WORDS]) === KIND_CONNTRACK) {
        this.firsts.keep(record, table.generation(record), key);
      }
      this.invalidate(record);
      this.exchange.publish(record);
      this.archiver?.changed(record);
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
    this.orphans.seen(record);
    const at = this.stateNow(now);
    if (table.touch(record, (entry & 1) === DIR_RETURN, tcpFlags, at) + this.retell[record] === 0) return;
    this.retell[record] = 0;
    if (table.audience(record) === 0) this.audiences.renewOne(record, true);
    this.exchange.publish(record);
    this.archiver?.changed(record);
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

  /** The flow in a slot drops: its packets keep nothing alive. */
  detach(slot: number): void {
    this.flows.drop(slot);
  }

  /**
   * Asks those who may know what was not found.
   * @param needs gets what to wait for; nothing: nobody is to be asked, or too much is asked already
   * @returns false: it is not known yet who is to be asked; `needs` are interests
   */
  ask(sim: Simulation, origin: number, now: number, needs: string[]): boolean {
    const hosts = this.peersOf(origin);
    if (hosts === undefined) {
      needs.push(...this.needs);
      return false;
    }
    if (hosts.length === 0) return true;
    const wait: Wait = { need: `s/${++this.lastWait}`, left: 0 };
    for (let i = 0; i < sim.missedCount && i < MAX_ASKS; i++) {
      const ask = this.exchange.ask(sim.missed, i * TUPLE_WORDS, hosts, this.stateNow(now));
      if (ask === 0) continue;
      this.counters.asked++;
      const waits = this.waits.get(ask);
      if (waits === undefined) this.waits.set(ask, [wait]);
      else if (waits.includes(wait)) continue;
      else waits.push(wait);
      wait.left++;
    }
    if (wait.left > 0) needs.push(wait.need);
    return true;
  }

  /** An ask has ended. A packet goes on when all of its asks have: it may need the answers of several. */
  private answered(ask: number): void {
    for (const wait of this.waits.get(ask) ?? []) if (--wait.left === 0) this.options.wake(wait.need);
    this.waits.delete(ask);
  }

  /** Packets wait for answers of other hosts. */
  get isAsking(): boolean {
    return this.waits.size > 0;
  }

  /** While asking, every some ms: asks again, and ends what was asked for long enough. */
  tickAsks(now: number): void {
    this.exchange.tick(this.stateNow(now));
  }

  /** What a packet of a port waits for that has missed a connection while the archive is giving them back; '': nothing. */
  restoring(portId: string): string {
    return this.restorer?.isHolding ? this.restorer.needOf(portId) : '';
  }

  /**
   * A port has become live on this host: what is not known of it may be known to the host that it was on, or be in the archive.
   * @param from that host @param isTold its connections were told before the port came
   */
  portCame(portId: string, from: string | undefined, isTold: boolean, now: number): void {
    const isFirst = !this.cameBefore.has(portId);
    this.cameBefore.add(portId);
    if (from !== undefined) this.arrivals.set(portId, { from, until: now + ARRIVAL_MS });
    const nothingKnown = isFirst && this.table.adoption.adopted === 0;
    if (nothingKnown || (from !== undefined && !isTold && !this.knowsAny(portId))) this.restorer?.begin(portId, now);
  }

  private knowsAny(portId: string): boolean {
    const { table, numbers } = this;
    const port = numbers.ofId(portId);
    for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
      const base = record * RECORD_WORDS;
      if (table.words[base + R_INGRESS] === port || table.words[base + R_EGRESS] === port) return true;
    }
    return false;
  }

  /** All connections are told to those whom ports and groups name now. */
  get audiencesSettled(): boolean {
    return this.audiences.isSettled;
  }

  /** Nothing of what a host has told is known to be missing here. */
  isLevel(hostId: string): boolean {
    return this.exchange.isLevel(this.numbers.ofId(hostId));
  }

  /** Whether other hosts may see connections of a port: what is not found may be known there. Unless known, they may. */
  isShared(port: number): boolean {
    return this.peersOf(port)?.length !== 0;
  }

  /** Other hosts that may see connections of a port, or did before it came here; undefined: `needs` is missing to tell. */
  private peersOf(port: number): number[] | undefined {
    this.needs.length = 0;
    const hosts = this.options.view.audience(port, this.needs);
    const { self } = this.table;
    const peers = hosts?.map((host) => this.numbers.keep(host)).filter((host) => host !== self);
    const from = this.arrivals.size > 0 ? this.cameFrom(this.options.view.id(port)) : undefined;
    if (from !== undefined) peers?.push(this.numbers.ofId(from));
    return peers;
  }

  /** The host that a port has just come from, where more than usual may be known that is not known here. */
  cameFrom(portId: string): string | undefined {
    return this.arrivals.size > 0 ? this.arrivals.get(portId)?.from : undefined;
  }

  /** A datagram of another host has come. */
  receive(bytes: Uint8Array, length: number, now: number): void {
    this.exchange.receive(bytes, length, this.stateNow(now));
  }

  /** Sends what is to be sent: before the packets leave that it is about. */
  flush(now: number): void {
    this.exchange.flush(this.stateNow(now));
  }

  // ---- hosts

  /** The host's public key for the exchange, as published; '' when it is not any more (then the last one goes on counting). */
  setKey(hostId: string, key: string): void {
    if (key === '' || hostId === this.options.hostId || this.keys.get(hostId) === key) return;
    try {
      const peer = this.exchange.setPeer(this.bytesOf(hostId), new Uint8Array(Buffer.from(key, 'base64')));
      this.hosts.set(peer, hostId);
      this.keys.set(hostId, key);
      this.pathChanged(hostId);
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

  /** A host has gained or lost its tunnel, or become a peer: nothing is said to whom none leads to. */
  private pathChanged(hostId: string): void {
    this.exchange.setPath(this.numbers.ofId(hostId), this.options.tunnels.peer(hostId) !== 0);
  }

  private bytesOf(id: string): Uint8Array {
    return Uint8Array.from(Buffer.from(id.replaceAll('-', ''), 'hex'));
  }

  hostOf(peer: number): string {
    return this.hosts.get(peer) ?? this.table.uuids.text(peer);
  }

  private sendTo(peer: number, bytes: Uint8Array, length: number): void {
    const tunnel = this.options.tunnels.peer(this.hostOf(peer));
    if (tunnel !== 0) this.options.send(tunnel, bytes, length);
  }

  // ---- what changes

  /** Port groups or their members have changed: whom to tell is worked out anew. */
  audiencesChanged(): void {
    this.audiences.changed();
  }

  /** About every 50 ms. */
  tick(now: number): void {
    this.pools.advance(now);
    const at = this.stateNow(now);
    this.tickedAt = at;
    const before = this.table.size;
    this.table.expire(at, EXPIRE_STEP);
    this.counters.expired += before - this.table.size;
    this.exchange.tick(at);
    this.audiences.renew();
    this.orphans.tick(now);
    this.archiver?.tick(at);
    this.restorer?.tick(now);
    for (const [port, { until }] of this.arrivals) if (now >= until) this.arrivals.delete(port);
    if (now >= this.nextVouch) this.vouch(now, at);
  }

  /** About once a second. */
  sweep(now: number): void {
    this.pools.tick(now);
    const { uuids, audiences } = this.table;
    if (uuids.size < uuids.capacity * RECLAIM_ABOVE) return;
    this.audiences.forget();
    audiences.reclaim();
    this.numbers.release();
    uuids.reclaim();
  }

  /** When a datagram of a host came last, on the worker's clock; -Infinity: never. */
  lastHeard(hostId: string): number {
    return this.exchange.lastHeard(this.numbers.ofId(hostId)) - this.clockOffset;
  }

  /** For how long a host has said nothing, ms, as of the last tick; Infinity: since this process began. */
  private silence(host: number): number {
    return this.tickedAt - this.exchange.lastHeard(host);
  }

  private vouch(now: number, at: number): void {
    this.nextVouch = now + VOUCH_MS;
    const alive: string[] = [];
    for (const [peer, hostId] of this.hosts) if (at - this.exchange.lastHeard(peer) < ALIVE_MS) alive.push(hostId);
    if (alive.length > 0) this.options.effects.vouch(alive);
  }

  /** A peer's record came, or more is known of one. */
  private applied(record: number, result: number): void {
    const { table } = this;
    if (result < APPLY_NEWER_OR_NEW) {
      // No verdict hangs on what was seen.
      if (table.owner(record) === table.self) this.retell[record] = 1;
      this.archiver?.seen(record);
      return;
    }
    this.archiver?.changed(record);
    if (table.isVisible(record)) {
      this.countKept(record, 1);
      this.audiences.renewOne(record);
    } else this.firsts.drop(record);
    this.invalidate(record);
  }

  /** A record that lookups could find is about to go. */
  private forget(record: number, reason: number): void {
    if (reason !== GONE_REPLACED) {
      this.firsts.drop(record);
      this.archiver?.forget(record);
    }
    this.countKept(record, -1);
    this.invalidate(record);
  }

  private countAllKept(): void {
    const { table, kept } = this;
    const before = [...kept.keys()];
    kept.clear();
    for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
      if (table.isVisible(record)) this.addKept(record, 1);
    }
    for (const filter of before) if (!kept.has(filter)) this.keptChanged(filter);
  }

  private countKept(record: number, by: 1 | -1): void {
    const filter = this.table.words[record * RECORD_WORDS + R_RULE];
    const before = this.kept.has(filter);
    this.addKept(record, by);
    if (this.kept.has(filter) !== before) this.keptChanged(filter);
  }

  private addKept(record: number, by: 1 | -1): void {
    const { table, kept } = this;
    if ((table.flags(record) & FLAG_KEEP) === 0) return;
    const filter = table.words[record * RECORD_WORDS + R_RULE];
    const count = (kept.get(filter) ?? 0) + by;
    if (count > 0) kept.set(filter, count);
    else kept.delete(filter);
  }

  /** Whether a filter's packets are looked up at all may hang on whether it has any. */
  private keptChanged(filter: number): void {
    this.options.invalidate([tag(TAG_CHAIN, this.numbers.handle(filter))]);
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
    this.countAllKept();
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
      if (this.firsts.has(record, table.generation(record)) && this.isOwnTracked(record)) {
        this.firsts.read(record, this.firstKey);
        look(this.firstKey);
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

  /** Becomes the owner of a connection that goes on here, while its owner seems to be gone. */
  private takeOver(record: number): void {
    const { table } = this;
    this.keepOwnerTold(record);
    const done = table.takeOver(record, this.tickedAt, this.scratch);
    if (done < 0) return;
    this.countKept(done, 1);
    this.exchange.publish(done);
    this.archiver?.changed(done);
  }

  /** The owner of a record is told of it like its audience, before this host becomes the owner: it is to hear of that. */
  private keepOwnerTold(record: number): void {
    const { table } = this;
    const owner = table.owner(record);
    const audience = table.audiences.members(table.audience(record));
    if (owner === table.self || audience.includes(owner)) return;
    table.setAudience(record, table.audiences.of([...audience, owner]));
  }

  /** Ends a connection that the rules do not let through any more, for all its hosts. */
  cut(record: number, now: number): void {
    const { table } = this;
    this.firsts.drop(record);
    // Also where it is not known yet who else is to hear of it.
    this.keepOwnerTold(record);
    if (table.bury(record, this.stateNow(now), this.scratch) < 0) return;
    this.exchange.publish(record);
    this.archiver?.changed(record);
  }
}

/** APPLY_NEWER and APPLY_NEW. */
const APPLY_NEWER_OR_NEW = 2;
/** Tuples of one packet that peers are asked about. */
const MAX_ASKS = 4;
