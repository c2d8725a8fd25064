/** Where traffic goes: two ends, and the two hosts' links that it has to cross when it really is tunnelled. */
import { getOffloads, type Offloads, setOffloads } from '@weft/sys';
import { inNamespace, run, runJson } from './exec.ts';

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

/** Resolves neighbours and flows of a path; throws when its ends do not reach one another. */
export async function warmUp(path: NetworkPath): Promise<void> {
  await run(
    inNamespace(path.client.namespace, ['ping', '-n', '-q', '-c', '3', '-i', '0.2', '-W', '2', path.server.address]),
  );
}
