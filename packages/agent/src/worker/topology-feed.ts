/**
 * From batches of the state database to everything in the worker that stands on them: the simulator's view, bindings,
 * tunnels. The agent subscribes to its own ports and the tunnel zones; the rest it asks for as packets need it.
 */
import type { Batch, Change, StoredObject, TableEntry } from '@weft/nsdb';
import type { Bridge, Port, TunnelZone, TunnelZoneHost } from '@weft/topology';
import { type Core, want } from './core.ts';
import { localPortTag, tunnelTag } from './translate.ts';

/** State table of the public keys by which hosts know each other's flow-state datagrams: key: host id, value: base64. */
export const KEYS_TABLE = 'flowstate/keys';
const KEYS_INTEREST = `t/${KEYS_TABLE}`;
/** What decides who may see a connection. */
const AUDIENCE = /^(?:o\/Port\/|o\/PortGroup\/|i\/Port\.portGroupIds\/)/;

/** Ports whose surroundings are fetched for a port that is about to come. */
const PORTS_AROUND = 64;

/** A table entry that this host publishes. */
export interface OwnEntry {
  readonly table: string;
  readonly key: string;
  readonly value: string;
}

export interface FeedResult {
  /** Flows with these tags are to be simulated anew. */
  readonly tags: number[];
  /** Interests that arrived: packets that wait for them may go on. */
  readonly needs: string[];
}

/** Whether there may be more behind what this is the first news of. What a rule names, but for chains, is asked for with it. */
function leadsOn(change: Change): boolean {
  if (change.kind !== 'object' || !change.interest.startsWith('o/Rule/')) return change.kind !== 'table';
  return change.object?.value.jumpChainId !== undefined;
}

export class TopologyFeed {
  private readonly core: Core;
  private readonly localPortsInterest: string;
  /** Where ports stand that name this host as the one that they move to, and as the one that they were on. */
  private readonly nextPortsInterest: string;
  private readonly previousPortsInterest: string;
  /** Ports by these interests; of the first one null: not known yet. */
  private localPorts: Set<string> | null = null;
  private readonly movingPorts = new Map<string, Set<string>>();
  /** Nothing that compiled devices need is on its way: flows can stand on the revision applied last. */
  complete = true;
  /** What packets that enter by live ports need: kept also while there are none. */
  private readonly warm = new Set<string>();
  private readonly delivered = new Set<string>();
  /** Handles of the live ports of this host; null: they have changed. */
  private livePorts: number[] | null = null;
  /** Whether `ready` holds; null: something that it stands on has changed. */
  private isReady: boolean | null = null;
  /** Zones or bindings have changed since they were brought in line; live ports or what they need, since they were warmed up. */
  private readonly due = { tunnels: true, bindings: true, warmUp: true };
  private readonly beforeDetach: (ifindex: number, portId: string) => void;

  constructor(core: Core, beforeDetach: (ifindex: number, portId: string) => void) {
    this.core = core;
    this.beforeDetach = beforeDetach;
    this.localPortsInterest = `i/Port.hostId/${core.hostId}`;
    this.nextPortsInterest = `i/Port.nextHostId/${core.hostId}`;
    this.previousPortsInterest = `i/Port.previousHostId/${core.hostId}`;
  }

  /** What every agent is subscribed to. */
  start(): void {
    want(this.core, this.always());
  }

  private always(): string[] {
    const ports = [this.localPortsInterest, this.nextPortsInterest, this.previousPortsInterest];
    return ['a/TunnelZone', 'a/TunnelZoneHost', ...ports, KEYS_INTEREST];
  }

  private isPortsInterest(interest: string): boolean {
    const { localPortsInterest, nextPortsInterest, previousPortsInterest } = this;
    return interest === localPortsInterest || interest === nextPortsInterest || interest === previousPortsInterest;
  }

  /** Whether a port names this host, as the one that it is on, was on, or is to be on. */
  private concernsUs(id: string): boolean {
    if (this.localPorts?.has(id)) return true;
    for (const ids of this.movingPorts.values()) if (ids.has(id)) return true;
    return false;
  }

  /** True once this host's own ports are known: before that, nothing adopted may be judged stale. */
  get ready(): boolean {
    this.isReady ??= this.isAllThere();
    return this.isReady;
  }

  private isAllThere(): boolean {
    if (!this.localPorts || !this.delivered.has('a/TunnelZone') || !this.delivered.has('a/TunnelZoneHost'))
      return false;
    for (const id of this.localPorts) if (!this.delivered.has(`o/Port/${id}`)) return false;
    for (const id of this.core.bindings.bridges()) if (!this.delivered.has(`o/Bridge/${id}`)) return false;
    return true;
  }

  apply(batch: Batch, now: number): FeedResult {
    const { core } = this;
    const tags: number[] = [];
    const needs: string[] = [];
    let isNew = false;
    // Which ports are this host's comes first: a port that a bridge made known earlier arrives in the same batch.
    for (const change of batch.changes) {
      if (this.isPortsInterest(change.interest) && core.interests.has(change.interest)) this.ownConcerns(change, now);
    }
    for (const change of batch.changes) {
      if (!core.interests.has(change.interest)) continue;
      if (leadsOn(change) && !this.delivered.has(change.interest)) isNew = true;
      this.delivered.add(change.interest);
      needs.push(change.interest);
      if (!this.isPortsInterest(change.interest)) this.ownConcerns(change, now);
      if (change.kind === 'table' && change.interest.startsWith('t/arp/')) {
        for (const { key } of change.upserts) needs.push(...core.neighbours.noteEntry(change.interest, key));
      }
      if (change.kind === 'table' && change.interest === KEYS_INTEREST) {
        for (const { key, value } of change.upserts) core.connections.setKey(key, value);
      }
    }
    core.moves.note(batch.changes, now);
    const applied = core.view.apply(batch.changes);
    tags.push(...applied.tags);
    want(core, applied.wanted);
    if (batch.changes.some(({ interest }) => AUDIENCE.test(interest))) core.connections.audiencesChanged();
    if (applied.filters) core.connections.filtersChanged();
    // While parts of a changed device are on their way its last whole compilation stays in force: older than this revision.
    this.complete = applied.wanted.length === 0;
    if (this.isReady === false) this.isReady = null;
    if (batch.changes.some(({ kind }) => kind !== 'table')) this.due.warmUp = true;
    // Interfaces and routes are looked after with the timers: a batch pays for what it changes.
    if (this.due.tunnels) tags.push(...this.reconcileTunnels(now));
    if (this.due.bindings) tags.push(...this.reconcileBindings(now));
    // Behind what has come for the first time there is more to ask for; what a change of the rest asks for can wait for the timers.
    if (isNew || this.livePorts === null) this.warmUp();
    return { tags, needs };
  }

  /**
   * Takes in table entries that this host publishes, before the store has them: a neighbour just resolved or a MAC just seen is
   * used at once, also while the store is away. The store's own word comes later and has the last say.
   */
  applyOwn(entries: readonly OwnEntry[]): FeedResult {
    const { core } = this;
    const tags: number[] = [];
    const needs: string[] = [];
    let byInterest = new Map<string, TableEntry[]>();
    const take = (): void => {
      const changes = [...byInterest].map(([interest, upserts]) => ({
        interest,
        kind: 'table' as const,
        reset: false,
        upserts,
        removed: [],
      }));
      byInterest = new Map();
      const applied = core.view.apply(changes);
      want(core, applied.wanted);
      tags.push(...applied.tags);
    };
    for (const { table, key, value } of entries) {
      const interest = `t/${table}`;
      // Of a table that has not been delivered one entry would pass for all of it.
      if (!this.delivered.has(interest)) continue;
      // What changed to and fro within a turn has changed all the same: flows were made in between.
      if (byInterest.get(interest)?.some((one) => one.key === key)) take();
      const upserts = byInterest.get(interest) ?? [];
      byInterest.set(interest, upserts);
      upserts.push({ key, value, owner: core.hostId, version: 0 });
      needs.push(interest);
      if (interest.startsWith('t/arp/')) needs.push(...core.neighbours.noteEntry(interest, key));
    }
    if (byInterest.size > 0) take();
    return { tags, needs };
  }

  /** Brings tunnels and bindings in line with the topology and the interfaces there are. @returns tags to invalidate. */
  reconcile(now: number): number[] {
    return [...this.reconcileTunnels(now), ...this.reconcileBindings(now)];
  }

  private reconcileTunnels(now: number): number[] {
    const { view, tunnels } = this.core;
    this.due.tunnels = false;
    return tunnels.reconcile(now).map((host) => tunnelTag(view.handle(host)));
  }

  private reconcileBindings(now: number): number[] {
    const { bindings, view, connections, moves } = this.core;
    if (!this.ready) return [];
    this.due.bindings = false;
    const changed = bindings.reconcile(this.beforeDetach, now);
    this.livePorts = null;
    if (changed.length > 0) {
      // What a port that has gone was kept warm by is released when unused; what the others need is asked for again.
      this.warm.clear();
      this.due.warmUp = true;
    }
    for (const port of changed) {
      if (bindings.ifindex(port) === 0) continue;
      connections.portCame(port, bindings.previousHost(port), moves.tookReady(port), now);
    }
    return changed.map((port) => localPortTag(view.handle(port)));
  }

  private ownConcerns(change: Change, now: number): void {
    const { tunnels, bindings } = this.core;
    if (change.kind === 'objects') {
      this.due.tunnels = true;
      this.zoneChange(change.interest, change);
    } else if (change.kind === 'index' && this.isPortsInterest(change.interest)) this.portsChange(change, now);
    else if (change.kind === 'object') {
      const [, type, id] = change.interest.split('/');
      if (type === 'Port' && this.concernsUs(id)) {
        this.setPort(id, (change.object?.value as unknown as Port | undefined) ?? null, now);
      } else if (type === 'Bridge') {
        this.bindingsChange();
        bindings.setFloodKey(id, (change.object?.value as unknown as Bridge | undefined)?.tunnelKey ?? 0);
      }
    }
    if (this.delivered.has('a/TunnelZone') && this.delivered.has('a/TunnelZoneHost')) tunnels.markKnown();
  }

  private bindingsChange(): void {
    this.due.bindings = true;
    this.isReady = null;
  }

  private portsChange(change: Extract<Change, { kind: 'index' }>, now: number): void {
    const { core } = this;
    this.bindingsChange();
    const isLocal = change.interest === this.localPortsInterest;
    const known = isLocal ? this.localPorts : this.movingPorts.get(change.interest);
    const ids = new Set(change.reset ? [] : known);
    for (const id of change.added) ids.add(id);
    for (const id of change.removed) ids.delete(id);
    if (isLocal) this.localPorts = ids;
    else this.movingPorts.set(change.interest, ids);
    for (const id of known ?? []) if (!ids.has(id) && !this.concernsUs(id)) this.setPort(id, null, now);
    want(
      core,
      [...ids].map((id) => `o/Port/${id}`),
    );
  }

  private setPort(id: string, port: Port | null, now: number): void {
    const { bindings, moves, hostId } = this.core;
    this.bindingsChange();
    const names = port !== null && [port.hostId, port.nextHostId, port.previousHostId].includes(hostId);
    bindings.setPort(id, names ? port : null);
    moves.setPort(id, names ? port : null, now);
    const isOrWillBeHere = port?.hostId === hostId || port?.nextHostId === hostId;
    if (isOrWillBeHere && port?.bridgeId) want(this.core, [`o/Bridge/${port.bridgeId}`]);
  }

  private zoneChange(
    interest: string,
    change: { reset: boolean; upserts: readonly StoredObject[]; removed: readonly string[] },
  ): void {
    const { tunnels } = this.core;
    if (interest === 'a/TunnelZone') {
      if (change.reset) tunnels.clearZones();
      for (const { id, value } of change.upserts) tunnels.setZone(id, (value as unknown as TunnelZone).type);
      for (const id of change.removed) tunnels.setZone(id, null);
    } else if (interest === 'a/TunnelZoneHost') {
      if (change.reset) tunnels.clearMembers();
      for (const { id, value } of change.upserts) {
        const member = value as unknown as TunnelZoneHost;
        tunnels.setMember(id, { zone: member.tunnelZoneId, host: member.hostId, address: member.ipAddress });
      }
      for (const id of change.removed) tunnels.setMember(id, null);
      this.core.connections.membersChanged((host) => tunnels.isMember(host));
    }
  }

  /** Asks for what a packet that enters by a local port will need, before it comes. */
  warmUp(): void {
    const { core } = this;
    if (!this.due.warmUp) return;
    this.due.warmUp = false;
    // Ports of one bridge or chain need the same.
    const asked = new Set<number>();
    this.livePorts ??= core.bindings.list().flatMap(({ portId, live }) => (live ? [core.view.handle(portId)] : []));
    for (const port of this.livePorts) this.keepWarm(core.view.interestsFor(port, asked));
  }

  private keepWarm(needed: readonly string[]): void {
    if (needed.length === 0) return;
    for (const interest of needed) this.warm.add(interest);
    want(this.core, needed);
  }

  /** Whether what packets may reach from a port that is about to come is here. What is not is asked for. */
  isComplete(portId: string): boolean {
    const { view } = this.core;
    const missing = view.interestsAround(view.handle(portId), PORTS_AROUND);
    this.keepWarm(missing);
    return missing.every((interest) => this.delivered.has(interest));
  }

  /** Gives back interests that nothing consulted since `olderThan`. @returns tags to invalidate. */
  release(olderThan: number): number[] {
    const { core } = this;
    const kept = new Set(this.always());
    for (const ids of [this.localPorts ?? [], ...this.movingPorts.values()]) {
      for (const id of ids) kept.add(`o/Port/${id}`);
    }
    for (const id of core.bindings.bridges()) kept.add(`o/Bridge/${id}`);
    for (const interest of this.warm) kept.add(interest);
    const unused = core.view.unused(olderThan, (t) => core.installer.tags.has(t)).filter((i) => !kept.has(i));
    if (unused.length === 0) return [];
    for (const interest of unused) {
      core.interests.delete(interest);
      this.delivered.delete(interest);
    }
    this.isReady = null;
    core.effects.removeInterests(unused);
    return core.view.forget(unused);
  }
}
