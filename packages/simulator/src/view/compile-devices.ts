/**
 * Bridge, Router and Chain objects with all that belongs to them → what the simulator walks. Pure functions of what was
 * delivered; each first says what is still missing.
 */
import type { Bridge, Router } from '@weft/topology';
import { PORT_ROUTER, type SimPort } from '../contract.ts';
import { compileChain, LOG_ACCEPT, LOG_DROP, type SimChain } from './chain.ts';
import type { SimBridge, SimRouter } from './devices.ts';
import type { Handles } from './handles.ts';
import type { Raw } from './raw.ts';
import { type ParsedRoute, parseRoute, ROUTE_NORMAL, RouteTable } from './route-table.ts';

/** What compilation reads. */
export interface Sources {
  readonly raw: Raw;
  readonly handles: Handles;
  readonly ports: readonly (SimPort | undefined)[];
}

/** MACs and addresses of the routers linked to a bridge, with the bridge port that leads there. */
export interface Links {
  readonly macs: { readonly vlan: number; readonly mac: Uint8Array; readonly port: number }[];
  readonly ips: { readonly ip: Uint8Array; readonly port: number }[];
}

/** Interests that the bridge needs and that were not delivered. */
export function missingForBridge(id: string, { raw }: Sources): string[] {
  const missing: string[] = [];
  const need = (interest: string) => raw.has(interest) || missing.push(interest);
  need(`o/Bridge/${id}`);
  need(`i/Port.bridgeId/${id}`);
  need(`t/mac/${id}`);
  need(`t/arp/${id}`);
  for (const port of raw.indexes.get(`i/Port.bridgeId/${id}`) ?? []) {
    need(`o/Port/${port}`);
    const peer = raw.objects.get(`o/Port/${port}`)?.peerId;
    if (typeof peer === 'string') need(`o/Port/${peer}`);
  }
  return missing;
}

/** The bridge, or undefined: it does not exist. */
export function compileBridge(id: string, sources: Sources): { bridge: SimBridge; links: Links } | undefined {
  const { raw, handles, ports } = sources;
  const value = raw.objects.get(`o/Bridge/${id}`) as (Partial<Bridge> & { id: string }) | null | undefined;
  if (!value) return undefined;
  const members = [...(raw.indexes.get(`i/Port.bridgeId/${id}`) ?? [])]
    .sort()
    .map((portId) => ports[handles.of(portId)])
    .filter(
      (port) => port !== undefined && port.device === handles.of(id) && (port.hostId !== '' || port.peer !== 0),
    ) as SimPort[];
  const links: Links = { macs: [], ips: [] };
  let hasRouters = false;
  for (const port of members) {
    const peer = ports[port.peer];
    if (port.peer === 0 || peer === undefined || peer.kind !== PORT_ROUTER || peer.peer !== port.handle) continue;
    hasRouters = true;
    links.macs.push({ vlan: port.vlan, mac: peer.mac, port: port.handle });
    // ARP and ND are answered for untagged frames only.
    if (port.vlan !== 0) continue;
    for (let at = 0; at < peer.addresses.length; at += 16) {
      links.ips.push({ ip: peer.addresses.subarray(at, at + 16), port: port.handle });
    }
  }
  const bridge = {
    handle: handles.of(id),
    id,
    adminUp: value.adminStateUp !== false,
    inFilter: handles.of(value.inboundFilterId ?? ''),
    outFilter: handles.of(value.outboundFilterId ?? ''),
    floodKey: value.tunnelKey ?? 0,
    members: Int32Array.from(members, (port) => port.handle),
    exterior: members.filter((port) => port.hostId !== '').map((port) => port.handle),
    hasRouters,
  };
  return { bridge, links };
}

const parsedRoutes = new WeakMap<object, ParsedRoute | null>();

/** The route of an object's value, parsed once per value; null if it cannot be read. */
function routeOf(value: Record<string, unknown>): ParsedRoute | null {
  let parsed = parsedRoutes.get(value);
  if (parsed === undefined) {
    try {
      parsed = parseRoute(value);
    } catch {
      parsed = null;
    }
    parsedRoutes.set(value, parsed);
  }
  return parsed;
}

export function missingForRouter(id: string, { raw, handles, ports }: Sources): string[] {
  const missing = new Set<string>();
  const need = (interest: string) => raw.has(interest) || missing.add(interest);
  need(`o/Router/${id}`);
  need(`i/Route.routerId/${id}`);
  need(`t/arp/${id}`);
  for (const routeId of raw.indexes.get(`i/Route.routerId/${id}`) ?? []) {
    need(`o/Route/${routeId}`);
    const value = raw.objects.get(`o/Route/${routeId}`);
    const route = value ? routeOf(value) : null;
    if (route === null || route.type !== ROUTE_NORMAL || route.port === '') continue;
    need(`o/Port/${route.port}`);
    if (ports[handles.of(route.port)]?.hostId) need(`t/active/${route.port}`);
  }
  return [...missing];
}

/** The router and its routes by id, or undefined: it does not exist. */
export function compileRouter(
  id: string,
  { raw, handles }: Sources,
): { router: SimRouter; routes: Map<string, ParsedRoute> } | undefined {
  const value = raw.objects.get(`o/Router/${id}`) as (Partial<Router> & { id: string }) | null | undefined;
  if (!value) return undefined;
  const routes = new Map<string, ParsedRoute>();
  for (const routeId of raw.indexes.get(`i/Route.routerId/${id}`) ?? []) {
    const object = raw.objects.get(`o/Route/${routeId}`);
    const route = object ? routeOf(object) : null;
    if (route !== null) routes.set(routeId, route);
  }
  const router = {
    handle: handles.of(id),
    id,
    adminUp: value.adminStateUp !== false,
    inFilter: handles.of(value.inboundFilterId ?? ''),
    outFilter: handles.of(value.outboundFilterId ?? ''),
    redirectChain: handles.of(value.localRedirectChainId ?? ''),
    forwardChain: handles.of(value.forwardChainId ?? ''),
    routes: new RouteTable([...routes.values()], handles),
  };
  return { router, routes };
}

export function sameRoute(a: ParsedRoute, b: ParsedRoute): boolean {
  return (
    a.type === b.type &&
    a.port === b.port &&
    a.dstBits === b.dstBits &&
    a.srcBits === b.srcBits &&
    a.weight === b.weight &&
    String(a.dst) === String(b.dst) &&
    String(a.src) === String(b.src) &&
    String(a.gateway) === String(b.gateway)
  );
}

function ruleIds(value: Record<string, unknown> | null | undefined): readonly string[] {
  return Array.isArray(value?.ruleIds) ? (value.ruleIds as string[]) : [];
}

/** Interests that a rule or a rule logger makes necessary: what it names and is looked into. */
export function namedBy(type: string, value: Record<string, unknown> | null | undefined): string[] {
  const named: string[] = [];
  if (type === 'Rule') {
    for (const field of ['ipAddrGroupSrc', 'ipAddrGroupDst']) {
      if (typeof value?.[field] === 'string') named.push(`t/addresses/${value[field]}`);
    }
  }
  if (type === 'RuleLogger' && typeof value?.loggingResourceId === 'string') {
    named.push(`o/LoggingResource/${value.loggingResourceId}`);
  }
  return named;
}

export function missingForChain(id: string, { raw }: Sources): string[] {
  const missing = new Set<string>();
  const need = (interest: string) => raw.has(interest) || missing.add(interest);
  const part = (type: string, partId: string) => {
    need(`o/${type}/${partId}`);
    for (const interest of namedBy(type, raw.objects.get(`o/${type}/${partId}`))) need(interest);
  };
  need(`o/Chain/${id}`);
  need(`i/RuleLogger.chainId/${id}`);
  for (const rule of ruleIds(raw.objects.get(`o/Chain/${id}`))) part('Rule', rule);
  for (const logger of raw.indexes.get(`i/RuleLogger.chainId/${id}`) ?? []) part('RuleLogger', logger);
  return [...missing];
}

const LOGS: Readonly<Record<string, number>> = { accept: LOG_ACCEPT, drop: LOG_DROP, all: LOG_ACCEPT | LOG_DROP };

/** LOG_… bits of the chain's loggers whose resource is enabled. */
function logsOf(id: string, raw: Raw): number {
  let logs = 0;
  for (const loggerId of raw.indexes.get(`i/RuleLogger.chainId/${id}`) ?? []) {
    const logger = raw.objects.get(`o/RuleLogger/${loggerId}`);
    const resource = raw.objects.get(`o/LoggingResource/${logger?.loggingResourceId}`);
    if (resource && resource.enabled !== false) logs |= LOGS[String(logger?.event)] ?? 0;
  }
  return logs;
}

/** The chain, or undefined: it does not exist. */
export function chainOf(id: string, { raw, handles }: Sources): SimChain | undefined {
  const value = raw.objects.get(`o/Chain/${id}`);
  if (!value) return undefined;
  const rules: Record<string, unknown>[] = [];
  for (const ruleId of ruleIds(value)) {
    const rule = raw.objects.get(`o/Rule/${ruleId}`);
    if (rule) rules.push(rule);
  }
  return compileChain(id, rules, logsOf(id, raw), handles);
}
