/** Outside networks made concrete: namespaces, interfaces, ports, and how the parts reach each other. Pure. */
import { parseIp } from '@weft/topology';
import { externalPortId } from './ids.ts';
import { externalInterface, externalNamespace, labUuid } from './names.ts';
import type { Place } from './plan.ts';
import { gatewayOf, subnetOfLink } from './scenario/external.ts';
import type { External, ExternalLink } from './scenario/types.ts';

export interface ExternalLinkPlan extends ExternalLink {
  readonly portId: string;
  /** Of the router's port. */
  readonly portMac: string;
  /** Name in the gateway host's namespace. */
  readonly hostInterface: string;
  /** Name and MAC at the far end. */
  readonly device: string;
  readonly deviceMac: string;
  /** Addresses of the far end with prefix length. */
  readonly peerCidrs: readonly string[];
}

/** The wire from an outside network to the one that it is behind. */
export interface BehindPlan {
  readonly namespace: string;
  /** Device names there and here. */
  readonly outerDevice: string;
  readonly device: string;
  readonly outerAddress4: string;
  readonly address4: string;
  readonly outerAddress6: string;
  readonly address6: string;
}

/** A way back into the cloud, as `ip route` takes it. */
export interface ExternalRoutePlan {
  readonly dst: string;
  readonly metric: number;
  /** Own address that packets of its own bear. */
  readonly source: string | undefined;
  readonly hops: readonly { readonly gateway: string; readonly device: string }[];
}

export interface ExternalPlan extends Place {
  readonly forward: boolean;
  readonly mtu: number;
  readonly links: readonly ExternalLinkPlan[];
  readonly behind: BehindPlan | undefined;
  readonly routes: readonly ExternalRoutePlan[];
}

/** @param hostOf the host that stands for one of the scenario's */
export function planExternals(
  lab: string,
  externals: readonly External[],
  hostOf: (host: string) => string,
): ExternalPlan[] {
  return externals.map((external, number): ExternalPlan => {
    const links = external.links.map(
      (link, i): ExternalLinkPlan => ({
        ...link,
        host: hostOf(link.host),
        portId: externalPortId(external.name, i),
        portMac: mac('ac:ca:ba', 'external-mac', external.name, String(i)),
        hostInterface: externalInterface(external.name, i),
        device: `link${i}`,
        deviceMac: mac('02:78:74', 'external-peer-mac', external.name, String(i)),
        peerCidrs: link.peer.map((peer) => `${peer}/${subnetOfLink(peer, link.addresses)!.split('/')[1]}`),
      }),
    );
    return {
      name: external.name,
      namespace: externalNamespace(lab, external.name),
      addresses: external.addresses,
      forward: external.forward,
      mtu: external.mtu,
      links,
      behind: external.behind === undefined ? undefined : planBehind(lab, external.name, external.behind, number),
      routes: external.routes.map(({ dst, via }, i) => {
        const family = familyOf(dst.split('/')[0]!);
        return {
          dst,
          metric: 100 + i,
          source: external.addresses.find((address) => familyOf(address) === family),
          hops: via.map((link) => ({
            gateway: gatewayOf(external.links[link]!, family)!,
            device: links[link]!.device,
          })),
        };
      }),
    };
  });
}

function planBehind(lab: string, name: string, front: string, number: number): BehindPlan {
  const prefix6 = `fd00:fffd:${number.toString(16)}:`;
  return {
    namespace: externalNamespace(lab, front),
    outerDevice: `to-${name}`,
    device: 'front',
    // Shared address space (RFC 6598): nobody else's here.
    outerAddress4: `100.64.${number}.1`,
    address4: `100.64.${number}.2`,
    outerAddress6: `${prefix6}:1`,
    address6: `${prefix6}:2`,
  };
}

function familyOf(ip: string): 4 | 6 {
  return parseIp(ip)!.length === 4 ? 4 : 6;
}

/** Follows from names; the first half says whose it is. */
function mac(prefix: string, ...names: string[]): string {
  const hex = labUuid(...names).slice(0, 6);
  return `${prefix}:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}`;
}
