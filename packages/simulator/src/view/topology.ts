/**
 * The view: what the agent knows of the virtual topology, compiled for the simulator, and changed only by `apply`.
 *
 * A device is compiled once all of it has been delivered. When a later change adds something that is not delivered yet (a
 * new port, a new rule), the last whole compilation stays in force until the rest arrives (`Applied.wanted`): a store that
 * goes away in between leaves a working network, not one that waits.
 *
 * Longer than other files because taking a change in, compiling what it touches and saying which tags that concerns have to be
 * seen together: a difference that is applied and not announced is a wrong flow.
 */
import {
  addressTag,
  routeTagLength,
  TAG_ACTIVE,
  TAG_BRIDGE,
  TAG_CHAIN,
  TAG_FLOOD,
  TAG_PORT,
  TAG_PORT_GROUPS,
  TAG_ROUTE,
  TAG_ROUTER,
  tag,
} from '@weft/flow';
import { ipFormat, ipParse, macFormat, macParse } from '@weft/packet';
import {
  type Applied,
  type Change,
  type LearnedMac,
  type LearnedNeighbour,
  PORT_BRIDGE,
  type SimPort,
  type VirtualTopologyView,
} from '../contract.ts';
import { AddressGroups } from './address-groups.ts';
import { Audiences } from './audience.ts';
import { ACTION_JUMP, RULE_STRIDE, type SimChain, sameChain } from './chain.ts';
import {
  chainOf,
  compileBridge,
  compileRouter,
  type Links,
  missingForBridge,
  missingForChain,
  missingForRouter,
  namedBy,
  type Sources,
  sameRoute,
} from './compile-devices.ts';
import type { SimBridge, SimRouter } from './devices.ts';
import { Handles } from './handles.ts';
import { MacTable, macTag } from './macs.ts';
import { isLinkLocal6, NeighbourTable, neighbourTag } from './neighbours.ts';
import { ANY_PORT_GROUPS_TAG, compilePort, sameFilters, sameGroups, samePort } from './port.ts';
import { parseInterest, Raw } from './raw.ts';
import { isInUse, unusedInterests } from './release.ts';
import type { ParsedRoute } from './route-table.ts';
import { SecurityChains, sameSecurity } from './security-chains.ts';

/** What kind of device a handle was asked for as. */
export const KIND_BRIDGE = 1;
export const KIND_ROUTER = 2;
export const KIND_CHAIN = 3;

export const ACTIVE_UNKNOWN = 0;
const ACTIVE_NO = 1;
export const ACTIVE_YES = 2;
/** Active on a host that is not heard any more. */
export const ACTIVE_LOST = 3;

const NO_LINKS: Links = { macs: [], ips: [] };

export class VirtualTopology implements VirtualTopologyView {
  readonly handles = new Handles();
  readonly macs = new MacTable();
  readonly neighbours = new NeighbourTable();
  readonly addressGroups = new AddressGroups();
  /** By handle. Undefined: missing or absent. */
  readonly ports: (SimPort | undefined)[] = [];
  readonly bridges: (SimBridge | undefined)[] = [];
  readonly routers: (SimRouter | undefined)[] = [];
  readonly chains: (SimChain | undefined)[] = [];
  /** By handle: when a simulation last consulted it. */
  used = new Float64Array(1024).fill(-Infinity);

  /** By port handle: ACTIVE_UNKNOWN (table not cached), ACTIVE_NO, ACTIVE_YES or ACTIVE_LOST. */
  active = new Uint8Array(1024);

  readonly raw = new Raw();
  /** Devices and chains that something asked for, by handle, with their kind. */
  readonly requested = new Map<number, number>();
  /** Those among them that wait for data. */
  private readonly pending = new Set<number>();
  private readonly links = new Map<number, Links>();
  private readonly routes = new Map<number, Map<string, ParsedRoute>>();
  /** Interest that rules and loggers name → interests of those that name it. */
  private readonly namers = new Map<string, Set<string>>();
  /** Port → ports that name it as their peer. */
  private readonly linkedBy = new Map<number, Set<number>>();
  private readonly sources: Sources;
  private readonly audiences: Audiences;
  private readonly security = new SecurityChains();
  /** Since the last `apply` returned. */
  private filtersChanged = false;
  /** Handles of hosts that this host does not hear any more. */
  private readonly failedHosts = new Set<number>();

  constructor() {
    this.sources = { raw: this.raw, handles: this.handles, ports: this.ports };
    this.audiences = new Audiences(this.sources);
  }

  handle(id: string): number {
    return this.handles.of(id);
  }

  id(handle: number): string {
    return this.handles.id(handle);
  }

  port(handle: number): SimPort | undefined {
    return this.ports[handle];
  }

  bridgePorts(bridge: number): readonly number[] | undefined {
    return this.bridges[bridge]?.exterior;
  }

  floodKey(bridge: number): number {
    return this.bridges[bridge]?.floodKey ?? 0;
  }

  activeHost(port: number): string | undefined {
    const table = this.raw.tables.get(`t/active/${this.handles.id(port)}`);
    if (table === undefined) return undefined;
    const host = this.ports[port]?.hostId ?? '';
    return host !== '' && table.has(host) ? host : '';
  }

  audience(port: number, needs: string[]): readonly number[] | undefined {
    return this.audiences.of(port, needs);
  }

  /** Marks a handle as consulted. */
  touch(handle: number, now: number): void {
    if (handle >= this.used.length) {
      const grown = new Float64Array(this.used.length * 2 + handle).fill(-Infinity);
      grown.set(this.used);
      this.used = grown;
    }
    this.used[handle] = now;
  }

  /**
   * The slow way to a bridge, router or chain that is not compiled: asks for it, and compiles it if it is all there.
   * @returns false if something is missing; its interests are appended to `needs`.
   */
  request(handle: number, kind: number, needs: string[]): boolean {
    this.requested.set(handle, kind);
    const secured = kind === KIND_CHAIN ? this.security.missing(handle) : 0;
    // Nothing stands on chains that were not there: no tags.
    if (secured !== 0) this.deriveSecurity(secured, new Set(), new Set());
    const missing = this.missing(handle, kind);
    if (missing.length > 0) {
      this.pending.add(handle);
      for (const interest of missing) if (!needs.includes(interest)) needs.push(interest);
      return false;
    }
    const filters = this.filtersChanged;
    this.compile(handle, kind, new Set());
    // What derives from a port has changed with it: that was told then.
    if (kind === KIND_CHAIN && this.security.holds(`o/Chain/${this.handles.id(handle)}`)) this.filtersChanged = filters;
    return true;
  }

  apply(changes: readonly Change[]): Applied {
    const tags = new Set<number>();
    const dirty = new Set<number>();
    for (const change of changes) {
      if (this.security.holds(change.interest)) continue;
      if (/^(?:o\/Port|i\/Port\.portGroupIds)/.test(change.interest)) this.audiences.forget();
      this.take(change, tags, dirty);
    }
    for (const handle of this.pending) dirty.add(handle);
    const wanted = new Set<string>();
    for (const handle of dirty) {
      const kind = this.requested.get(handle);
      if (kind === undefined) continue;
      const missing = this.missing(handle, kind);
      if (missing.length > 0) {
        this.pending.add(handle);
        for (const interest of missing) wanted.add(interest);
      } else {
        this.compile(handle, kind, tags);
      }
    }
    const filters = this.filtersChanged;
    this.filtersChanged = false;
    return { tags: [...tags], filters, wanted: [...wanted] };
  }

  interestsFor(port: number, asked = new Set<number>()): string[] {
    const needs: string[] = [];
    const id = this.handles.id(port);
    const compiled = this.ports[port];
    if (compiled === undefined) return this.raw.has(`o/Port/${id}`) || id === '' ? needs : [`o/Port/${id}`];
    const kind = compiled.kind === PORT_BRIDGE ? KIND_BRIDGE : KIND_ROUTER;
    const known = kind === KIND_BRIDGE ? this.bridges : this.routers;
    if (!asked.has(compiled.device)) {
      asked.add(compiled.device);
      // One that is compiled is whole, unless parts of its last change are on their way.
      if (known[compiled.device] === undefined || this.pending.has(compiled.device))
        this.request(compiled.device, kind, needs);
    }
    const device = known[compiled.device];
    const { inFilter, outFilter, securityIn, securityOut } = compiled;
    for (const chain of [inFilter, outFilter, securityIn, securityOut, device?.inFilter ?? 0, device?.outFilter ?? 0]) {
      if (chain !== 0 && !asked.has(chain)) this.requestChains(chain, needs, asked);
    }
    this.audiences.of(port, needs);
    return needs;
  }

  interestsAround(port: number, most: number): string[] {
    const needs = new Set<string>();
    const asked = new Set<number>();
    const reached = new Set([port]);
    for (const handle of reached) {
      for (const interest of this.interestsFor(handle, asked)) needs.add(interest);
      const compiled = this.ports[handle];
      if (compiled === undefined) continue;
      const next = [compiled.peer];
      // Of a bridge what leads out of it; a router may send by any of its ports.
      for (const member of this.bridges[compiled.device]?.members ?? [])
        if (this.ports[member]?.peer) next.push(member);
      for (const { port } of this.routes.get(compiled.device)?.values() ?? []) {
        if (port !== '') next.push(this.handles.of(port));
      }
      for (const one of next) if (one !== 0 && reached.size < most) reached.add(one);
    }
    return [...needs];
  }

  /** Asks for a chain and for those that it jumps to, but those asked for already. */
  private requestChains(chain: number, needs: string[], asked: Set<number>): void {
    const reached = [chain];
    asked.add(chain);
    for (const handle of reached) {
      if (this.chains[handle] === undefined) this.request(handle, KIND_CHAIN, needs);
      const rules = this.chains[handle]?.rules ?? [];
      for (let r = 0; r < rules.length; r += RULE_STRIDE) {
        if (rules[r] !== ACTION_JUMP || asked.has(rules[r + 1])) continue;
        asked.add(rules[r + 1]);
        reached.push(rules[r + 1]);
      }
    }
  }

  interests(): string[] {
    return this.raw.interests().filter((interest) => !this.security.holds(interest));
  }

  unused(olderThan: number, hasFlows: (tag: number) => boolean): string[] {
    // Derived chains are nobody's to give back; when they are needed again, they are derived again.
    const inUse = (id: string) => isInUse(this, this.handles.of(id), TAG_CHAIN, olderThan, hasFlows);
    for (const port of this.security.unused(inUse)) this.putSecurity(port, undefined, new Set(), new Set());
    return unusedInterests(this, olderThan, hasFlows);
  }

  forget(interests: Iterable<string>): number[] {
    const tags = new Set<number>();
    for (const interest of interests) {
      const parts = parseInterest(interest);
      if (parts === null || !this.raw.has(interest) || this.security.holds(interest)) continue;
      this.audiences.forget();
      if (parts.kind === 't') this.takeTable(parts, { reset: true, upserts: [], removed: [] }, tags);
      const value = this.raw.objects.get(interest);
      this.setNamer(interest, parts.name, value, null);
      this.raw.forget(interest);
      for (const handle of this.ownersOf(parts, value)) this.drop(handle, tags);
      if (parts.name === 'active') this.setActive(this.handles.of(parts.id));
      if (interest.startsWith('o/Port/')) {
        this.setPort(parts.id, undefined, tags, new Set());
        this.followSecurity(parts.id, value, tags, new Set());
      }
    }
    return [...tags];
  }

  markNeighbourFailed(port: number, ip: Uint8Array): number[] {
    return this.setFailed(port, ip, true);
  }

  clearNeighbourFailed(port: number, ip: Uint8Array): number[] {
    return this.setFailed(port, ip, false);
  }

  markHost(host: number, failed: boolean): number[] {
    if (this.failedHosts.has(host) === failed) return [];
    if (failed) this.failedHosts.add(host);
    else this.failedHosts.delete(host);
    const tags: number[] = [];
    const id = this.handles.id(host);
    for (const port of this.ports) {
      if (port === undefined || port.hostId !== id) continue;
      this.setActive(port.handle);
      tags.push(tag(TAG_ACTIVE, port.handle));
    }
    return tags;
  }

  neighbourEntry(learned: LearnedNeighbour): { table: string; key: string; value: string } {
    const text = ipFormat(learned.ip);
    const key = learned.port !== 0 && isLinkLocal6(learned.ip, 0) ? `${text}%${this.handles.id(learned.port)}` : text;
    return { table: `arp/${this.handles.id(learned.device)}`, key, value: macFormat(learned.mac) };
  }

  macEntry(learned: LearnedMac): { table: string; key: string; value: string } {
    const mac = macFormat(learned.mac);
    const key = learned.vlan === 0 ? mac : `${learned.vlan}|${mac}`;
    return { table: `mac/${this.handles.id(learned.bridge)}`, key, value: this.handles.id(learned.port) };
  }

  private setFailed(port: number, ip: Uint8Array, failed: boolean): number[] {
    const router = this.ports[port]?.device ?? 0;
    const owner = isLinkLocal6(ip, 0) ? port : router;
    return this.neighbours.setFailed(owner, ip, failed) ? [neighbourTag(owner, ip, 0)] : [];
  }

  /** Takes one change in; collects tags of what changed at once and handles of what has to be compiled again. */
  private take(change: Change, tags: Set<number>, dirty: Set<number>): void {
    const parts = parseInterest(change.interest);
    if (parts === null || change.kind === 'objects') return;
    if (change.kind === 'table') {
      this.takeTable(parts, change, tags);
      this.raw.take(change);
      if (parts.name === 'active') this.setActive(this.handles.of(parts.id));
      for (const handle of this.ownersOf(parts, undefined)) if (this.pending.has(handle)) dirty.add(handle);
      return;
    }
    const before = this.raw.objects.get(change.interest);
    this.raw.take(change);
    if (change.kind === 'object') this.setNamer(change.interest, parts.name, before, change.object?.value);
    if (change.kind === 'object' && parts.name === 'Port') {
      this.setPort(
        parts.id,
        tolerant(() => change.object && compilePort(change.object.value, this.handles)),
        tags,
        dirty,
      );
      this.followSecurity(parts.id, before, tags, dirty);
    }
    for (const handle of this.ownersOf(parts, before)) dirty.add(handle);
    if (change.kind === 'object') for (const handle of this.ownersOf(parts, change.object?.value)) dirty.add(handle);
  }

  /** Devices and chains whose compilation reads this interest. */
  private ownersOf(
    parts: { kind: string; name: string; id: string },
    value: Record<string, unknown> | null | undefined,
  ): number[] {
    // Port groups: nothing is compiled of them.
    if (parts.name === 'Port.portGroupIds') return [];
    if (parts.kind === 'i') return [this.handles.of(parts.id)];
    if (parts.kind === 't' && parts.name === 'addresses') return this.chainsNaming(`t/addresses/${parts.id}`);
    if (parts.kind !== 'o') return parts.name === 'active' ? [] : [this.handles.of(parts.id)];
    switch (parts.name) {
      case 'Bridge':
      case 'Router':
      case 'Chain':
        return [this.handles.of(parts.id)];
      case 'Route':
        return typeof value?.routerId === 'string' ? [this.handles.of(value.routerId)] : [];
      case 'LoggingResource':
        return this.chainsNaming(`o/LoggingResource/${parts.id}`);
      case 'Rule':
      case 'RuleLogger':
        return typeof value?.chainId === 'string' ? [this.handles.of(value.chainId)] : [];
      default:
        return [];
    }
  }

  /** A rule or logger names something else than before. */
  private setNamer(
    interest: string,
    type: string,
    before: Record<string, unknown> | null | undefined,
    after: Record<string, unknown> | null | undefined,
  ): void {
    for (const named of namedBy(type, before)) {
      const namers = this.namers.get(named);
      namers?.delete(interest);
      if (namers?.size === 0) this.namers.delete(named);
    }
    for (const named of namedBy(type, after)) {
      const namers = this.namers.get(named);
      if (namers) namers.add(interest);
      else this.namers.set(named, new Set([interest]));
    }
  }

  /** Chains of which a rule or logger names this. */
  chainsNaming(interest: string): number[] {
    const chains = new Set<number>();
    for (const namer of this.namers.get(interest) ?? []) {
      const chainId = this.raw.objects.get(namer)?.chainId;
      if (typeof chainId === 'string') chains.add(this.handles.of(chainId));
    }
    return [...chains];
  }

  private setPort(id: string, next: SimPort | null | undefined, tags: Set<number>, dirty: Set<number>): void {
    const handle = this.handles.of(id);
    const before = this.ports[handle];
    const after = next ?? undefined;
    if (!sameGroups(before, after)) {
      tags.add(tag(TAG_PORT_GROUPS, handle));
      tags.add(ANY_PORT_GROUPS_TAG);
      this.filtersChanged = true;
      this.ports[handle] = after;
    }
    if (samePort(before, after)) return;
    this.security.setPort(before, after);
    if (!sameFilters(before, after)) this.filtersChanged = true;
    this.ports[handle] = after;
    this.setActive(handle);
    tags.add(tag(TAG_PORT, handle));
    tags.add(tag(TAG_ACTIVE, handle));
    if (before?.peer) this.linkedBy.get(before.peer)?.delete(handle);
    if (after?.peer) {
      const by = this.linkedBy.get(after.peer);
      if (by) by.add(handle);
      else this.linkedBy.set(after.peer, new Set([handle]));
    }
    for (const port of [before, after]) {
      if (port === undefined) continue;
      if (port.kind === PORT_BRIDGE) tags.add(tag(TAG_FLOOD, port.device));
      // A router's compilation names its ports, but reads only where they are bound.
      else if (before?.hostId === after?.hostId) continue;
      dirty.add(port.device);
    }
    // Bridges at the other end of a link know this port's MAC and addresses.
    for (const other of this.linkedBy.get(handle) ?? []) {
      const port = this.ports[other];
      if (port?.kind !== PORT_BRIDGE) continue;
      dirty.add(port.device);
      tags.add(tag(TAG_FLOOD, port.device));
    }
  }

  /** A port has another value than `before`: what derives from it follows, if something has asked for it. */
  private followSecurity(
    id: string,
    before: Record<string, unknown> | null | undefined,
    tags: Set<number>,
    dirty: Set<number>,
  ): void {
    const after = this.raw.objects.get(`o/Port/${id}`);
    if (sameSecurity(before, after)) return;
    // Also while nothing has: a connection may be idle that the chains let begin.
    if (after) this.filtersChanged = true;
    const port = this.handles.of(id);
    if (this.security.isDerived(port)) this.deriveSecurity(port, tags, dirty);
  }

  /** Brings the chains of a port's security among what was delivered, or in line with the port. */
  private deriveSecurity(port: number, tags: Set<number>, dirty: Set<number>): void {
    const value = this.raw.objects.get(`o/Port/${this.handles.id(port)}`);
    const isSecured = value && this.ports[port]?.securityIn;
    this.putSecurity(port, isSecured ? value : undefined, tags, dirty);
  }

  private putSecurity(
    port: number,
    value: Record<string, unknown> | undefined,
    tags: Set<number>,
    dirty: Set<number>,
  ): void {
    const { changes, gone } = this.security.follow(port, value);
    for (const change of changes) this.take(change, tags, dirty);
    for (const interest of gone) {
      const parts = parseInterest(interest)!;
      this.setNamer(interest, parts.name, this.raw.objects.get(interest), null);
      this.raw.forget(interest);
      if (parts.name === 'Chain') this.drop(this.handles.of(parts.id), tags);
    }
  }

  private setActive(port: number): void {
    if (port >= this.active.length) {
      const grown = new Uint8Array(port * 2);
      grown.set(this.active);
      this.active = grown;
    }
    const host = this.activeHost(port);
    const lost = host !== undefined && host !== '' && this.failedHosts.has(this.handles.of(host));
    this.active[port] = host === undefined ? ACTIVE_UNKNOWN : host === '' ? ACTIVE_NO : lost ? ACTIVE_LOST : ACTIVE_YES;
  }

  /** Compares what a table is told to become with what is held and passes the differences on. */
  private takeTable(
    parts: { name: string; id: string },
    change: {
      readonly reset: boolean;
      readonly upserts: readonly { readonly key: string; readonly value: string }[];
      readonly removed: readonly string[];
    },
    tags: Set<number>,
  ): void {
    const held = this.raw.tables.get(`t/${parts.name}/${parts.id}`) ?? new Map<string, string>();
    const owner = this.handles.of(parts.id);
    const next = new Map<string, string>();
    for (const { key, value } of change.upserts) next.set(key, value);
    // What comes before what goes: a group that is never empty has not changed in that.
    for (const [key, value] of next) {
      if (held.get(key) !== value) this.setEntry(parts.name, owner, key, value, tags, !held.has(key));
    }
    // Of a large table a small change costs no more than itself.
    for (const key of change.reset ? held.keys() : change.removed) {
      if (held.has(key) && !next.has(key)) this.setEntry(parts.name, owner, key, null, tags);
    }
  }

  /** One entry of a state table; an entry that cannot be read counts as none. */
  private setEntry(
    table: string,
    owner: number,
    key: string,
    value: string | null,
    tags: Set<number>,
    isNew = true,
  ): void {
    if (table === 'addresses') {
      // Whoever is a member is one whatever the value says.
      if (isNew) this.addressGroups.set(owner, key, value !== null, tags);
      this.filtersChanged = true;
      return;
    }
    if (table === 'active') {
      tags.add(tag(TAG_ACTIVE, owner));
      const port = this.ports[owner];
      if (port?.kind === PORT_BRIDGE) tags.add(tag(TAG_FLOOD, port.device));
      return;
    }
    if (table === 'mac') {
      const bar = key.indexOf('|');
      const vlan = bar < 0 ? 0 : Number(key.slice(0, bar));
      const mac = tolerant(() => macParse(key.slice(bar + 1)));
      if (!mac || !(vlan >= 0 && vlan < 4096)) return;
      const port = value === null ? 0 : this.handles.of(value);
      if (this.macs.setTable(owner, vlan, mac, port)) tags.add(macTag(owner, vlan, mac, 0));
      return;
    }
    if (table === 'arp') {
      const percent = key.indexOf('%');
      const ip = tolerant(() => ipParse(percent < 0 ? key : key.slice(0, percent)));
      const mac = value === null ? null : (tolerant(() => macParse(value)) ?? null);
      if (!ip) return;
      const link = percent < 0 ? owner : this.handles.of(key.slice(percent + 1));
      if (this.neighbours.setMac(link, ip, mac)) tags.add(neighbourTag(link, ip, 0));
    }
  }

  private missing(handle: number, kind: number): string[] {
    const id = this.handles.id(handle);
    if (kind === KIND_BRIDGE) return missingForBridge(id, this.sources);
    return kind === KIND_ROUTER ? missingForRouter(id, this.sources) : missingForChain(id, this.sources);
  }

  private compile(handle: number, kind: number, tags: Set<number>): void {
    this.pending.delete(handle);
    if (kind === KIND_BRIDGE) this.compileBridge(handle, tags);
    else if (kind === KIND_ROUTER) this.compileRouter(handle, tags);
    else this.compileChain(handle, tags);
  }

  private compileBridge(handle: number, tags: Set<number>): void {
    const compiled = compileBridge(this.handles.id(handle), this.sources);
    const before = this.bridges[handle];
    const after = compiled?.bridge;
    this.bridges[handle] = after;
    if (
      before?.adminUp !== after?.adminUp ||
      before?.inFilter !== after?.inFilter ||
      before?.outFilter !== after?.outFilter ||
      before?.floodKey !== after?.floodKey
    ) {
      tags.add(tag(TAG_BRIDGE, handle));
      this.filtersChanged = true;
    }
    if (String(before?.members) !== String(after?.members) || before?.hasRouters !== after?.hasRouters) {
      tags.add(tag(TAG_FLOOD, handle));
    }
    this.setLinks(handle, compiled?.links ?? NO_LINKS, tags);
  }

  /** Of two routers with the same MAC or address the one behind the lower port UUID counts: `links` is in that order. */
  private setLinks(bridge: number, next: Links, tags: Set<number>): void {
    const before = this.links.get(bridge) ?? NO_LINKS;
    const macs = new Map<string, { vlan: number; mac: Uint8Array; port: number }>();
    for (const { vlan, mac } of before.macs) macs.set(`${vlan}|${mac}`, { vlan, mac, port: 0 });
    for (const link of next.macs.toReversed()) macs.set(`${link.vlan}|${link.mac}`, link);
    for (const { vlan, mac, port } of macs.values()) {
      if (this.macs.setLinked(bridge, vlan, mac, port)) tags.add(macTag(bridge, vlan, mac, 0));
    }
    const ips = new Map<string, { ip: Uint8Array; port: number }>();
    for (const { ip } of before.ips) ips.set(String(ip), { ip, port: 0 });
    for (const link of next.ips.toReversed()) ips.set(String(link.ip), link);
    for (const { ip, port } of ips.values()) {
      if (this.neighbours.setLinked(bridge, ip, port)) tags.add(neighbourTag(bridge, ip, 0));
    }
    if (next === NO_LINKS) this.links.delete(bridge);
    else this.links.set(bridge, next);
  }

  private compileRouter(handle: number, tags: Set<number>): void {
    const compiled = compileRouter(this.handles.id(handle), this.sources);
    const before = this.routers[handle];
    const after = compiled?.router;
    this.routers[handle] = after;
    if (
      before?.adminUp !== after?.adminUp ||
      before?.inFilter !== after?.inFilter ||
      before?.outFilter !== after?.outFilter ||
      before?.redirectChain !== after?.redirectChain ||
      before?.forwardChain !== after?.forwardChain
    ) {
      tags.add(tag(TAG_ROUTER, handle));
      this.filtersChanged = true;
    }
    const held = this.routes.get(handle) ?? new Map<string, ParsedRoute>();
    const next = compiled?.routes ?? new Map<string, ParsedRoute>();
    for (const [id, route] of held) {
      const now = next.get(id);
      if (now === undefined || !sameRoute(now, route)) tags.add(routeTag(handle, route));
    }
    for (const [id, route] of next) {
      const had = held.get(id);
      if (had === undefined || !sameRoute(had, route)) tags.add(routeTag(handle, route));
    }
    if (compiled) this.routes.set(handle, next);
    else this.routes.delete(handle);
  }

  private compileChain(handle: number, tags: Set<number>): void {
    const before = this.chains[handle];
    const after = chainOf(this.handles.id(handle), this.sources);
    if (before !== undefined && after !== undefined && sameChain(before, after)) return;
    if (before !== after) tags.add(tag(TAG_CHAIN, handle));
    this.filtersChanged = true;
    this.chains[handle] = after;
  }

  /** A device or chain of which something was forgotten: not compiled, not asked for. */
  private drop(handle: number, tags: Set<number>): void {
    const kind = this.requested.get(handle);
    if (kind === undefined) return;
    this.requested.delete(handle);
    this.pending.delete(handle);
    tags.add(tag(kind === KIND_BRIDGE ? TAG_BRIDGE : kind === KIND_ROUTER ? TAG_ROUTER : TAG_CHAIN, handle));
    this.bridges[handle] = undefined;
    this.routers[handle] = undefined;
    this.chains[handle] = undefined;
    this.routes.delete(handle);
    if (kind === KIND_BRIDGE) this.setLinks(handle, NO_LINKS, tags);
  }
}

/** The tag that a changed route invalidates. */
function routeTag(router: number, route: ParsedRoute): number {
  return addressTag(TAG_ROUTE, router, route.dst, 0, routeTagLength(route.dstBits));
}

/** What the store holds has been validated, but an operator's entry of a table, or an older version's object, may not parse. */
function tolerant<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
