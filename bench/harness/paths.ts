/** Where traffic goes: two ends, and the two hosts' links that it has to cross when it really is tunnelled. */
import { getOffloads, type Offloads, setOffloads } from '@weft/sys';
import { inNamespace, run, runJson } from './exec.ts';

export const CONGESTION_CONTROL = 'cubic';

export interface End {
  readonly namespace: string;
  readonly device: string;
  readonly mac: string;
  readonly address: string;
}

export interface Host {
  readonly namespace: string;
  /** Its links into the fabric. */
  readonly uplinks: readonly string[];
}

export interface NetworkPath {
  readonly name: string;
  readonly client: End;
  readonly server: End;
  readonly clientHost: Host;
  readonly serverHost: Host;
  readonly fabric: Host;
  /** tcpdump filter that matches its frames in the fabric. */
  readonly onWire: string;
}

export interface LinkCounters {
  readonly txBytes: number;
  readonly txPackets: number;
  readonly rxBytes: number;
  readonly rxPackets: number;
}

interface IpLink {
  readonly ifname: string;
  readonly mtu: number;
  readonly stats64: {
    readonly rx: { readonly bytes: number; readonly packets: number };
    readonly tx: { readonly bytes: number; readonly packets: number };
  };
}

/** Sum over a host's uplinks. */
export async function uplinkCounters(host: Host): Promise<LinkCounters> {
  const links = await runJson<IpLink[]>(['ip', '-n', host.namespace, '-s', '-j', 'link']);
  const sum = { txBytes: 0, txPackets: 0, rxBytes: 0, rxPackets: 0 };
  for (const { ifname, stats64 } of links) {
    if (!host.uplinks.includes(ifname)) continue;
    sum.txBytes += stats64.tx.bytes;
    sum.txPackets += stats64.tx.packets;
    sum.rxBytes += stats64.rx.bytes;
    sum.rxPackets += stats64.rx.packets;
  }
  return sum;
}

export async function mtuOf(end: { namespace: string; device: string }): Promise<number> {
  const [link] = await runJson<IpLink[]>(['ip', '-n', end.namespace, '-j', 'link', 'show', end.device]);
  return link.mtu;
}

/** Super-packets on the underlay, or segments of wire size: tso and gso of every link between the two hosts. */
export function setSuperPackets(path: NetworkPath, on: boolean): void {
  for (const host of [path.clientHost, path.serverHost, path.fabric]) {
    for (const device of host.uplinks) setOffloads(device, { tso: on, gso: on }, host.namespace);
  }
}

/** GRO on the links by which the two hosts receive. */
export function setReceiveMerging(path: NetworkPath, on: boolean): void {
  for (const host of [path.clientHost, path.serverHost]) {
    for (const device of host.uplinks) setOffloads(device, { gro: on }, host.namespace);
  }
}

export interface OffloadRecord {
  readonly vm: Partial<Offloads>;
  readonly underlay: Partial<Offloads>;
}

export function offloadsOf(path: NetworkPath): OffloadRecord {
  return {
    vm: getOffloads(path.client.device, path.client.namespace),
    underlay: getOffloads(path.clientHost.uplinks[0], path.clientHost.namespace),
  };
}

interface IpRoute {
  readonly dst: string;
  readonly dev?: string;
  readonly prefsrc?: string;
  readonly nexthops?: readonly { readonly gateway: string; readonly dev: string }[];
}

/**
 * Both ends of a path take CUBIC, Linux' default, whatever this machine's is: BBR paces by timers, and its figure is theirs. By
 * a route: the namespaces may not choose it by sysctl.
 */
export async function useCubic({ client, server }: NetworkPath): Promise<void> {
  for (const [end, other] of [
    [client, server],
    [server, client],
  ] as const) {
    const [route] = await runJson<IpRoute[]>([
      'ip',
      '-n',
      end.namespace,
      '-j',
      'route',
      'show',
      'match',
      other.address,
    ]);
    const hops = (route.nexthops ?? []).flatMap(({ gateway, dev }) => ['nexthop', 'via', gateway, 'dev', dev]);
    const way = hops.length === 0 ? ['dev', route.dev!] : hops;
    const argv = ['ip', '-n', end.namespace, 'route', 'replace', `${other.address}/32`, 'src', end.address];
    await run([...argv, 'congctl', CONGESTION_CONTROL, ...way]);
  }
}

/** Resolves neighbours and flows of a path; throws when its ends do not reach one another. */
export async function warmUp(path: NetworkPath): Promise<void> {
  await run(
    inNamespace(path.client.namespace, ['ping', '-n', '-q', '-c', '3', '-i', '0.2', '-W', '2', path.server.address]),
  );
}
