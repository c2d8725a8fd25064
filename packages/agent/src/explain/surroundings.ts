/** What the view knows of the link behind a port: who is there, and who leads away. */
import { PORT_BRIDGE, type VirtualTopology } from '@weft/simulator';
import type { Surroundings } from './build-packet.ts';

type Value = Record<string, unknown>;

/** Stations at one port that are looked at: a port may have as many MACs as it likes. */
const MAX_STATIONS = 256;

/** Interests without which the port's link is not known well; those of them that the view does not have. */
export function missingAround(view: VirtualTopology, port: number): string[] {
  const missing = view.interestsFor(port);
  if (missing.length > 0) return missing;
  const compiled = view.port(port);
  if (compiled === undefined) return [];
  const routers = new Set<string>();
  if (compiled.kind === PORT_BRIDGE) for (const link of linksOf(view, compiled.device)) routers.add(link.router);
  else routers.add(view.id(compiled.device));
  return [...routers].map((id) => `t/arp/${id}`).filter((interest) => !view.raw.has(interest));
}

/** What is known around a port. */
export function surroundingsOf(view: VirtualTopology, port: number): Surroundings {
  const compiled = view.port(port);
  if (compiled === undefined) return { stations: [], gateways: [], neighbour: () => undefined };
  if (compiled.kind !== PORT_BRIDGE) return aroundRouterPort(view, compiled.id);
  const bridge = view.id(compiled.device);
  const links = linksOf(view, compiled.device);
  const tables = [`t/arp/${bridge}`, ...links.map(({ router }) => `t/arp/${router}`)];
  const macs: string[] = [];
  for (const [key, value] of view.raw.tables.get(`t/mac/${bridge}`) ?? []) {
    if (value === compiled.id && !key.includes('|') && macs.length < MAX_STATIONS) macs.push(key);
  }
  const ips = addressesOf(view, tables, new Set(macs));
  return {
    stations: macs
      .map((mac) => ({ mac, ips: ips.get(mac) ?? [] }))
      .sort((a, b) => b.ips.length - a.ips.length || (a.mac < b.mac ? -1 : 1)),
    gateways: links.map(({ mac, subnets, name }) => ({ mac, subnets, name })),
    neighbour: (ip) => {
      for (const table of tables) {
        const mac = view.raw.tables.get(table)?.get(ip);
        if (mac !== undefined) return mac;
      }
      return undefined;
    },
  };
}

/** Behind a router's own port outside: the router is the gateway, its neighbours are the stations. */
function aroundRouterPort(view: VirtualTopology, id: string): Surroundings {
  const value = object(view, 'Port', id);
  const router = String(value?.routerId ?? '');
  const subnets = (value?.portSubnet as string[] | undefined) ?? [];
  const table = view.raw.tables.get(`t/arp/${router}`);
  const byMac = new Map<string, string[]>();
  for (const [ip, mac] of table ?? []) {
    if (byMac.size >= MAX_STATIONS || ip.includes('%')) continue;
    byMac.set(mac, [...(byMac.get(mac) ?? []), ip]);
  }
  return {
    stations: [...byMac].map(([mac, ips]) => ({ mac, ips })),
    gateways: [{ mac: String(value?.portMac ?? ''), subnets, name: `router ${nameOf(view, 'Router', router)}` }],
    neighbour: (ip) => table?.get(ip),
  };
}

/** Routers linked to a bridge. */
function linksOf(
  view: VirtualTopology,
  bridge: number,
): { router: string; mac: string; subnets: string[]; name: string }[] {
  const out: { router: string; mac: string; subnets: string[]; name: string }[] = [];
  for (const id of view.raw.indexes.get(`i/Port.bridgeId/${view.id(bridge)}`) ?? []) {
    const peer = object(view, 'Port', String(object(view, 'Port', id)?.peerId ?? ''));
    if (peer?.routerId === undefined) continue;
    const router = String(peer.routerId);
    out.push({
      router,
      mac: String(peer.portMac),
      subnets: (peer.portSubnet as string[] | undefined) ?? [],
      name: `router ${nameOf(view, 'Router', router)}`,
    });
  }
  return out.sort((a, b) => (a.router < b.router ? -1 : 1));
}

function addressesOf(
  view: VirtualTopology,
  tables: readonly string[],
  macs: ReadonlySet<string>,
): Map<string, string[]> {
  const out = new Map<string, string[]>();
  for (const table of tables) {
    for (const [key, mac] of view.raw.tables.get(table) ?? []) {
      if (!macs.has(mac) || key.includes('%')) continue;
      const known = out.get(mac) ?? [];
      out.set(mac, known);
      if (!known.includes(key)) known.push(key);
    }
  }
  return out;
}

function object(view: VirtualTopology, type: string, id: string): Value | undefined {
  return view.raw.objects.get(`o/${type}/${id}`) ?? undefined;
}

function nameOf(view: VirtualTopology, type: string, id: string): string {
  const name = object(view, type, id)?.name;
  return typeof name === 'string' && name !== '' ? `"${name}"` : id.slice(0, 8);
}
