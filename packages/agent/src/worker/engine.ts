/**
 * The packet worker without its thread: one synchronous object that owns the datapath and takes turns. In a turn it applies
 * what the state database sent, handles a batch of packets, simulates invalidated flows anew and runs timers.
 *
 * A little longer than other files because it makes the parts and knows their order, and does nothing else.
 */
import type { Datapath, Upcall } from '@weft/datapath';
import { DROP_REASONS, TAG_INGRESS, tag, UPCALL_MISS } from '@weft/flow';
import type { FlowStateTable } from '@weft/flowstate';
import type { Batch } from '@weft/nsdb';
import { Simulator, VirtualTopology } from '@weft/simulator';
import type { AgentLimits } from '../config.ts';
import type { AgentError } from '../errors.ts';
import { EventLimit } from '../event-limit.ts';
import type { ConnectionQuery } from '../explain/connection-filter.ts';
import {
  type ConnectionList,
  type CutConnections,
  cutConnections,
  listConnections,
} from '../explain/connection-list.ts';
import { dumpFlows, type FlowList, type FlowQuery } from '../explain/flow-dump.ts';
import { clearRules, type RuleList, reportRules } from '../explain/rule-report.ts';
import type { Arrival, ArrivalRequest, PortLink, Trace, TraceRequest } from '../explain/trace.ts';
import { Tracer } from '../explain/tracer.ts';
import { RuleCounts } from '../flows/rule-counts.ts';
import { Bindings } from './bindings.ts';
import { BlockKeeper, type BlockStore } from './connections/block-keeper.ts';
import { Connections } from './connections/connections.ts';
import { FlowStates } from './connections/flow-states.ts';
import type { NatBlock } from './connections/nat-pools.ts';
import type { Restored } from './connections/restorer.ts';
import { StateSender } from './connections/state-sender.ts';
import { type Core, countDrop, newWorkerCounters, want } from './core.ts';
import type { Effects } from './effects.ts';
import { ExecutionQueue } from './execution-queue.ts';
import { type FlowBases, newFlowBases } from './flow-bases.ts';
import { Installer } from './installer.ts';
import { Latency, monotonicNs } from './latency.ts';
import { LearnedMacs } from './learned-macs.ts';
import { ReplicateLists } from './lists.ts';
import { Liveness } from './liveness.ts';
import { flushFlows, readFlows, sweepFlows, sweepWaiting, wake } from './maintenance.ts';
import { Moves } from './moves.ts';
import { Neighbours } from './neighbours.ts';
import { Overload } from './overload.ts';
import { PacketPath } from './packet-path.ts';
import type { PeerMacView } from './peer-macs.ts';
import type { Pinger } from './pinger.ts';
import type { StateIdentity } from './protocol.ts';
import { Revalidator } from './revalidator.ts';
import { RuleKeeper } from './rule-keeper.ts';
import { RuleLogger } from './rule-logger.ts';
import type { RuleStore } from './rule-state.ts';
import { coreStatus } from './status.ts';
import { KEYS_TABLE, type OwnEntry, TopologyFeed } from './topology-feed.ts';
import { Translator } from './translate.ts';
import { Tunnels } from './tunnels.ts';
import type { UnderlayView } from './underlay.ts';
import { WaitingRoom } from './waiting-room.ts';

/** Packets handled per turn: bounds how long an update waits. */
const BATCH = 256;
/** Batches per turn at most before the flows that they made are installed. */
const DRAIN_ROUNDS = 8;
/** Segments that open connections are short, but for what TCP Fast Open puts into them. */
const OPENINGS_ARENA = 512 << 10;
/** Flows whose counters are read at a time. */
const COUNTERS_READ = 4_096;
/** Flow-state datagrams of a turn. */
const STATES_ARENA = 1 << 20;
const TICK_MS = 50;
/** How long housekeeping waits at most for changes, which come first. */
const PATIENCE_MS = 200;
/** While packets wait for answers of other hosts, which have a few of these. */
const ASK_TICK_MS = 10;
const SWEEP_MS = 1_000;
const PEER_MAC_MS = 5_000;
const RELEASE_MS = 60_000;
/** Interests that nothing consulted for this long are given back. */
const UNUSED_MS = 600_000;
const MAX_OWN_ROUNDS = 16;
/** How long adopted flows wait for their topology once the agent knows its own ports. */
const ADOPTION_MS = 10_000;

export interface EngineOptions {
  readonly datapath: Datapath;
  readonly underlay: UnderlayView;
  readonly peerMacs: PeerMacView;
  readonly pinger: Pinger;
  readonly hostId: string;
  readonly limits: AgentLimits;
  readonly effects: Effects;
  /** Keeps what rules have matched for the next process; absent: it is forgotten. */
  readonly ruleStore?: RuleStore;
  /** Absent: they do not outlive the engine. */
  readonly flowBases?: FlowBases;
  /** Connections: their table, and what this host is to the others. `offset`: what is added to `clock` to get the table's time. */
  readonly connections: {
    readonly table: FlowStateTable;
    readonly identity: StateIdentity;
    readonly offset: number;
    /** Whether there is an archive to keep them in, and to ask. */
    readonly archived: boolean;
    /** Keeps which blocks of NAT ports are held for a start without the store; absent: they are not kept. */
    readonly blocks?: BlockStore;
  };
  /** Steady clock in ms. */
  readonly clock: () => number;
  /** The clock of `Upcall.time`, ns; default CLOCK_MONOTONIC. */
  readonly monotonicNs?: () => number;
}

export class Engine {
  private readonly core: Core;
  private readonly view: VirtualTopology;
  private readonly underlay: UnderlayView;
  private readonly peerMacs: PeerMacView;
  private readonly path: PacketPath;
  private readonly revalidator: Revalidator;
  private readonly feed: TopologyFeed;
  private readonly tracer: Tracer;
  private readonly clock: () => number;
  private readonly ruleKeeper: RuleKeeper;
  private readonly blockKeeper: BlockKeeper;
  private readonly gatherStates: () => ExecutionQueue;
  private readonly pinger: Pinger;
  private readonly liveness: Liveness;
  /** Waits that have ended since packets were looked after last. */
  private readonly woken: string[] = [];
  private readonly inbox: Batch[] = [];
  private readonly onTaken: (() => void)[] = [];
  /** Entries published since the view took them in. */
  private own: OwnEntry[] = [];
  private revision = 0;
  /** Since when the reported revision has been older than that; 0: it is not. */
  private behindSince = 0;
  private readonly latency: Latency;
  private readonly overload = new Overload();
  private readonly monotonicNs: () => number;
  /** When the packets at hand were handed over, ns on the clock of `Upcall.time`; 0: not looked at yet. */
  private handedOver = 0;
  private reported = 0;
  private nextTick = 0;
  private nextAskTick = 0;
  private nextSweep = 0;
  private nextPeerMacs = 0;
  private nextRelease: number;
  private adoptionDeadline = 0;

  constructor(options: EngineOptions) {
    const { datapath, underlay, hostId, limits } = options;
    const limit = new EventLimit();
    const effects: Effects = {
      ...options.effects,
      putEntry: (table, key, value) => {
        this.own.push({ table, key, value });
        options.effects.putEntry(table, key, value);
      },
      log: (event, fields) => {
        const suppressed = limit.take(event, this.clock());
        if (suppressed === 0) options.effects.log(event, fields);
        else if (suppressed > 0) options.effects.log(event, { ...fields, suppressed });
      },
    };
    this.clock = options.clock;
    this.monotonicNs = options.monotonicNs ?? monotonicNs;
    this.latency = new Latency(this.monotonicNs);
    this.underlay = underlay;
    this.nextRelease = this.clock() + RELEASE_MS;
    const view = new VirtualTopology();
    this.view = view;
    const counters = newWorkerCounters();
    const lists = new ReplicateLists(datapath);
    const tunnels = new Tunnels(datapath, underlay, effects, hostId);
    this.peerMacs = options.peerMacs;
    const bindings = new Bindings(datapath, underlay, effects, this.peerMacs, hostId, limits, (host) =>
      tunnels.peer(host),
    );
    bindings.adoptAttached(datapath.adopted().ports.map((p) => p.ifindex));
    const macBytes = new Uint8Array(6);
    const macEntry = (bridge: number, vlan: number, mac: number, port: number) => {
      for (let i = 5, rest = mac; i >= 0; i--, rest = Math.floor(rest / 256)) macBytes[i] = rest % 256;
      return view.macEntry({ bridge, vlan, mac: macBytes, port });
    };
    const macs = new LearnedMacs(
      {
        put(bridge, vlan, mac, port) {
          const { table, key, value } = macEntry(bridge, vlan, mac, port);
          effects.putEntry(table, key, value);
        },
        remove(bridge, vlan, mac) {
          const { table, key } = macEntry(bridge, vlan, mac, 0);
          effects.removeEntry(table, key);
        },
        capHit: (reason) => {
          counters.drops[DROP_REASONS.indexOf(reason)]++;
        },
      },
      limits,
    );
    const rules = new RuleCounts(datapath, this.clock);
    const flowStates = new FlowStates(datapath.options.maxFlows);
    const bases = options.flowBases ?? newFlowBases(datapath.options.maxFlows);
    const installer = new Installer(datapath, macs, lists, rules, flowStates, bases);
    const states = new ExecutionQueue(datapath, STATES_ARENA);
    const sender = new StateSender(states);
    const { table, identity, offset, archived } = options.connections;
    const connections = new Connections({
      table,
      privateKey: identity.privateKey,
      hostId,
      view,
      tunnels,
      flows: flowStates,
      effects,
      invalidate: (tags) => this.revalidator.invalidate(tags),
      wake: (need) => this.woken.push(need),
      want: (interests) => want(this.core, interests),
      send: (peer, bytes, length) => sender.send(peer, bytes, length),
      isLive: (port) => bindings.ifindex(port) !== 0,
      isLeaving: (port) => bindings.isLeaving(port),
      archive: archived
        ? { hand: (entries) => effects.archive(entries), read: (port) => effects.readArchive(port) }
        : null,
      clockOffset: offset,
      now: this.clock(),
    });
    const moves = new Moves({
      hostId,
      connections,
      effects,
      attached: (port) => bindings.preparedIfindex(port),
      isComplete: (port) => this.feed.isComplete(port),
      isLost: (host) => this.liveness.isLost(host),
      want: (interests) => want(this.core, interests),
      release: (interests) => {
        for (const interest of interests) this.core.interests.delete(interest);
        effects.removeInterests(interests);
      },
    });
    // What others have to know of a connection leaves before its packets.
    const gatherStates = () => {
      connections.flush(this.clock());
      return states;
    };
    const simulator = new Simulator(view, { state: connections });
    const neighbours = new Neighbours(
      view,
      {
        request: (port, ip) => {
          const frame = simulator.buildNeighbourRequest(port, ip);
          if (frame) this.path.leave(frame, port, 0, 0, 0, this.clock());
        },
        invalidate: (tags, need) => {
          this.revalidator.invalidate(tags);
          wake(this.core, this.path, [need], this.clock());
        },
        hasFlows: (t) => installer.tags.has(t),
        remove: (table, key) => effects.removeEntry(table, key),
      },
      limits,
    );
    this.core = {
      hostId,
      limits,
      datapath,
      view,
      simulator,
      effects,
      bindings,
      tunnels,
      lists,
      macs,
      neighbours,
      installer,
      rules,
      connections,
      moves,
      ruleLogger: new RuleLogger(view, limits, (ifindex) => underlay.link(ifindex)?.name ?? '', effects.ruleLog),
      translator: new Translator(view, bindings, tunnels, lists, hostId),
      waiting: new WaitingRoom(limits),
      queue: new ExecutionQueue(datapath, undefined, gatherStates),
      openings: new ExecutionQueue(datapath, OPENINGS_ARENA, gatherStates),
      counters,
      packets: new Float64Array(COUNTERS_READ),
      bytes: new Float64Array(COUNTERS_READ),
      interests: new Set(),
    };
    this.path = new PacketPath(this.core);
    this.revalidator = new Revalidator(this.core, this.path);
    this.feed = new TopologyFeed(this.core, (ifindex) => this.dropFlowsOf(ifindex));
    this.tracer = new Tracer(this.core, view, () => this.revision);
    this.revalidator.adopt(this.clock());
    this.ruleKeeper = new RuleKeeper(this.core, view, options.ruleStore, this.clock);
    this.ruleKeeper.restore();
    this.blockKeeper = new BlockKeeper(connections.pools, options.connections.blocks, this.clock);
    this.blockKeeper.restore();
    this.gatherStates = gatherStates;
    this.pinger = options.pinger;
    this.liveness = new Liveness(
      tunnels,
      options.pinger,
      effects,
      (host) => connections.lastHeard(host),
      (host, lost) => this.revalidator.invalidate(view.markHost(view.handle(host), lost)),
    );
    options.effects.putEntry(KEYS_TABLE, hostId, Buffer.from(identity.publicKey).toString('base64'));
    this.feed.start();
  }

  /** Queues a batch; `taken` is called when it has been applied to the view and the next one may come. */
  enqueue(batch: Batch, taken: () => void): void {
    this.inbox.push(batch);
    this.onTaken.push(taken);
  }

  /** One turn; waits for packets at most until the next timer, or not at all while there is other work. */
  turn(): void {
    let now = this.clock();
    const tookBatch = this.takeBatch(now);
    const { datapath, queue, openings, installer } = this.core;
    // What the batch woke is on its way out: it does not wait for the next packet.
    this.wakeDue(now);
    const woken = queue.size > 0 || openings.size > 0;
    const { connections } = this.core;
    const busy = woken || this.revalidator.pending > 0 || this.inbox.length > 0 || connections.looksAgain;
    const due = connections.isAsking ? Math.min(this.nextTick, this.nextAskTick) : this.nextTick;
    const timeout = busy ? 0 : Math.max(0, Math.min(TICK_MS, Math.ceil(due - now)));
    // Frames first, flows second, and what came up meanwhile before them too: a packet that meets the new flow must not overtake
    // those that made it. Last what opens connections: nothing can be behind it, and its answer's answer is to meet the flow.
    for (let round = 0, wait = timeout; round < DRAIN_ROUNDS; round++, wait = 0) {
      this.handedOver = 0;
      const handled = datapath.poll(wait, BATCH, this.onUpcall);
      queue.flush();
      if (handled === 0) break;
    }
    installer.flush();
    openings.flush();
    this.latency.done();
    now = this.clock();
    this.tracer.tick(now);
    if (this.revalidator.pending > 0) this.revalidator.run(this.core.limits.revalidateBatch, now);
    else if (connections.looksAgain) connections.lookAgain(this.core.limits.revalidateBatch, this.lookAgain);
    // A change is not to wait for housekeeping, nor housekeeping for ever.
    if (now >= this.nextTick + (tookBatch ? PATIENCE_MS : 0)) this.timers(now);
    else if (connections.isAsking && now >= this.nextAskTick) {
      this.nextAskTick = now + ASK_TICK_MS;
      connections.tickAsks(now);
    }
    this.wakeDue(now);
    this.takeOwn(now);
    queue.flush();
    installer.flush();
    openings.flush();
    this.gatherStates().flush();
    this.reportApplied();
  }

  private readonly lookAgain = (key: Uint8Array): void => this.path.lookAgain(key, this.clock());

  /** Packets whose wait for ports, or for what other hosts know, has ended. */
  private wakeDue(now: number): void {
    // What wakes may wait for something else, but ends by the number of its rounds.
    while (this.woken.length > 0) wake(this.core, this.path, this.woken.splice(0), now);
  }

  /** Answer to `Effects.allocateBlocks`; null: the store is away. */
  blocksGranted(pool: string, blocks: readonly NatBlock[] | null): void {
    this.core.connections.pools.granted(pool, blocks);
  }

  /** Answer to `Effects.keepBlocks`: those that this host holds now. */
  blocksKept(blocks: readonly NatBlock[]): void {
    this.core.connections.pools.keep(blocks);
  }

  /** All blocks of NAT ports that the store says are this host's. */
  blocksHeld(blocks: readonly NatBlock[]): void {
    this.core.connections.pools.confirm(blocks);
  }

  /** Records that the archive has of a port: an answer to `Effects.readArchive`. */
  restored(records: readonly Restored[]): void {
    const { connections } = this.core;
    connections.restorer?.take(records, connections.stateNow(this.clock()));
  }

  /** The archive has no more of a port. @param whole false: it could not be read to its end */
  restoreEnded(port: string, whole: boolean): void {
    this.core.connections.restorer?.end(port, whole);
  }

  private readonly onUpcall = (upcall: Upcall): void => {
    const { counters } = this.core;
    const { postponed } = counters;
    if (upcall.time > 0 && upcall.inPort !== 0) {
      // One look at the clock for all that one call hands over.
      if (this.handedOver === 0) this.handedOver = this.monotonicNs();
      if (this.overload.sheds(upcall.inPort, this.handedOver - upcall.time)) {
        countDrop(counters, 'upcall_overload');
        return;
      }
    }
    try {
      this.path.upcall(upcall, this.clock());
      // How long a packet waits for data is not the agent's doing.
      if (upcall.reason === UPCALL_MISS && counters.postponed === postponed) this.latency.note(upcall.time);
    } catch (error) {
      counters.errors++;
      this.core.effects.log('packet.failed', { error: (error as Error).stack });
    }
  };

  /** Applies the next batch, once the flows that the last one touched are done. @returns whether there was one */
  private takeBatch(now: number): boolean {
    if (this.inbox.length === 0 || this.revalidator.pending > 0) return false;
    const batch = this.inbox.shift()!;
    const taken = this.onTaken.shift()!;
    const { tags, needs } = this.feed.apply(batch, now);
    this.revision = batch.revision;
    this.revalidator.invalidate(tags);
    this.adoptionProgress(now, true);
    wake(this.core, this.path, needs, now);
    taken();
    return true;
  }

  /** Before the turn ends: an entry taken in after a later batch would undo what that one said. */
  private takeOwn(now: number): void {
    // What wakes may teach something in turn; a packet cannot go round for ever, since it learns the same only once.
    for (let round = 0; this.own.length > 0 && round < MAX_OWN_ROUNDS; round++) {
      const { tags, needs } = this.feed.applyOwn(this.own.splice(0));
      this.revalidator.invalidate(tags);
      wake(this.core, this.path, needs, now);
    }
  }

  private adoptionProgress(now: number, changed: boolean): void {
    if (this.revalidator.unverified === 0 || !this.feed.ready) return;
    if (this.adoptionDeadline === 0) this.adoptionDeadline = now + ADOPTION_MS;
    if (changed) this.revalidator.retryAdopted();
    if (now >= this.adoptionDeadline) this.revalidator.abandonAdopted(now);
  }

  private reportApplied(): void {
    if (this.reported === this.revision) return;
    if (this.behindSince === 0) this.behindSince = this.clock();
    if (this.revalidator.pending > 0 || this.core.connections.looksAgain) return;
    if (this.revalidator.unverified > 0 || !this.feed.ready || !this.feed.complete) return;
    this.reported = this.revision;
    this.behindSince = 0;
    this.core.effects.applied(this.revision);
  }

  private timers(now: number): void {
    const { core } = this;
    this.nextTick = now + TICK_MS;
    if (this.underlay.drain()) this.revalidator.invalidate(this.feed.reconcile(now));
    this.feed.warmUp();
    core.neighbours.tick(now);
    core.connections.tick(now);
    core.moves.tick(now);
    this.liveness.tick(now);
    sweepWaiting(core, now);
    if (now >= this.nextSweep) {
      this.nextSweep = now + SWEEP_MS;
      sweepFlows(core, now);
      this.ruleKeeper.tick(now);
      core.ruleLogger.tick(now);
      core.connections.sweep(now);
      this.blockKeeper.tick(now);
      core.macs.expire(now);
      core.lists.collect();
      this.path.collect(now);
      this.adoptionProgress(now, false);
      // Path MTUs age, and a route may have changed without an event that we saw.
      this.revalidator.invalidate(this.feed.reconcile(now));
    }
    if (now >= this.nextPeerMacs) {
      this.nextPeerMacs = now + PEER_MAC_MS;
      if (this.peerMacs.refresh()) this.revalidator.invalidate(this.feed.reconcile(now));
    }
    if (now >= this.nextRelease) {
      this.nextRelease = now + RELEASE_MS;
      this.revalidator.invalidate(this.feed.release(now - UNUSED_MS));
    }
  }

  /** Takes out all flows that entered by an interface, before it is detached. */
  private dropFlowsOf(ifindex: number): void {
    const { installer, macs, bindings, view } = this.core;
    const now = this.clock();
    const slots: number[] = [];
    installer.tags.forEach(tag(TAG_INGRESS, ifindex), (slot) => slots.push(slot));
    for (const slot of slots) installer.remove(slot, now);
    installer.flush();
    const portId = bindings.portAt(ifindex);
    // Who has moved is known by these until the other host has seen them: nobody has to announce anything.
    if (portId !== '' && !bindings.isLeaving(portId)) macs.dropPort(view.handle(portId));
  }

  /** Nothing is left to do but packets: all batches applied, all flows simulated since. */
  get idle(): boolean {
    return (
      this.inbox.length === 0 &&
      this.woken.length === 0 &&
      !this.core.connections.looksAgain &&
      this.own.length === 0 &&
      this.revalidator.pending === 0
    );
  }

  /** Says what would become of a packet. `done` is called at once, or in a later turn when data has to be fetched. */
  trace(request: TraceRequest, done: (answer: Trace | AgentError) => void): void {
    this.tracer.trace(request, this.clock(), done);
  }

  /** Installed flows in words. */
  flows(query: FlowQuery): FlowList {
    return dumpFlows(this.core, this.tracer, query, this.clock(), this.clock);
  }

  /** Removes all flows; known connections stay, and the next packets are decided by them. */
  flushFlows(): { removed: number } {
    return { removed: flushFlows(this.core, this.clock()) };
  }

  /** Connections in words. @throws AgentError WEFT_AGENT_CONTROL */
  connections(query: ConnectionQuery): ConnectionList {
    return listConnections(this.core, this.tracer.connections, query, this.clock(), this.clock);
  }

  /** Ends connections, on all hosts that know them. @throws AgentError WEFT_AGENT_CONTROL */
  cutConnections(query: ConnectionQuery): CutConnections {
    return cutConnections(this.core, this.tracer.connections, query, this.clock(), this.clock);
  }

  /** What rules have matched. `chain`: an id, the beginning of one, or a name; absent: all that this host knows. */
  rules(chain: string | undefined): RuleList {
    readFlows(this.core, this.clock());
    return reportRules(this.view, this.core.rules, chain, this.ruleKeeper.toWall);
  }

  /** Starts the rules of a chain, or all, again at 0. @throws AgentError WEFT_AGENT_CONTROL */
  clearRules(chain: string | undefined): RuleList {
    readFlows(this.core, this.clock());
    clearRules(this.view, this.core.rules, chain);
    return this.rules(chain);
  }

  /** What becomes of a tunnel packet that arrives here. */
  arrival(request: ArrivalRequest): Arrival {
    return this.tracer.arrival(request);
  }

  /** Who is known behind a port of this host. @throws AgentError WEFT_AGENT_NO_PORT */
  link(port: string): PortLink {
    return this.tracer.link(port);
  }

  /** Numbers for status and metrics. */
  status(): Record<string, unknown> {
    return {
      revision: this.revision,
      applied: this.reported,
      behindSeconds: this.behindSince === 0 ? 0 : (this.clock() - this.behindSince) / 1000,
      ready: this.feed.ready,
      revalidationPending: this.revalidator.pending,
      unverified: this.revalidator.unverified,
      peersLost: this.liveness.lost,
      firstPacket: this.latency.report(),
      ...coreStatus(this.core),
    };
  }

  /** Leaves everything in the kernel for the next process. */
  close(): void {
    this.core.queue.flush();
    this.core.installer.flush();
    this.core.openings.flush();
    this.gatherStates().flush();
    readFlows(this.core, this.clock());
    this.ruleKeeper.save();
    this.blockKeeper.save(this.clock());
    this.pinger.close();
    this.peerMacs.close();
    this.underlay.close();
    this.core.datapath.close();
  }
}
