/** Which gateway carries what: frames on the links of an outside network, seen from outside. */
import { overlaps, parseCidr } from '@weft/topology';
import { startCapture } from './capture.ts';
import { type Dissected, dissect } from './dissect.ts';
import { ipBatch } from './exec.ts';
import type { Lab } from './lab.ts';
import { readCapture } from './pcap.ts';
import type { ExternalLinkPlan, ExternalPlan, ExternalRoutePlan } from './plan-externals.ts';

/** A frame on one of the links. */
export interface Crossing extends Dissected {
  readonly link: number;
  /** Out of the cloud; else into it. */
  readonly isOut: boolean;
}

/** Starts to watch all links of an outside network; `stop` tells what has crossed them, link by link, in the order of time. */
export async function watchLinks(
  lab: Lab,
  external: ExternalPlan,
  filter: string,
): Promise<{ stop(): Promise<Crossing[]> }> {
  const captures = await Promise.all(
    external.links.map(({ device }) => startCapture(lab.plan.paths.captures, external.namespace, device, filter, 128)),
  );
  return {
    async stop() {
      const crossings: Crossing[] = [];
      for (const [link, capture] of captures.entries()) {
        for (const { bytes } of await readCapture(await capture.stop())) {
          const found = dissect(bytes);
          if (found) crossings.push({ ...found, link, isOut: found.sourceMac === external.links[link]!.portMac });
        }
      }
      return crossings;
    },
  };
}

/** The outside's routes to an address that is the cloud's, the one that counts first. */
export function waysBack(external: ExternalPlan, address: string): ExternalRoutePlan[] {
  const length = (route: ExternalRoutePlan) => parseCidr(route.dst)!.length;
  return external.routes
    .filter(({ dst }) => contains(dst, address))
    .sort((a, b) => length(b) - length(a) || a.metric - b.metric);
}

/** Number of the link by which packets to an address come back while it is up. */
export function wayBack(external: ExternalPlan, address: string): number {
  const [route] = waysBack(external, address);
  return external.links.findIndex((link) => link.device === route?.hops[0]?.device);
}

function contains(cidr: string, address: string): boolean {
  return overlaps(parseCidr(cidr)!, parseCidr(`${address}/${address.includes(':') ? 128 : 32}`)!);
}

/** Cuts a wire to an outside network, or mends it: both ends see the carrier go and come. */
export async function setExternalLink(lab: Lab, link: ExternalLinkPlan, state: 'up' | 'down'): Promise<void> {
  const host = lab.plan.hosts.find((candidate) => candidate.name === link.host)!;
  await ipBatch(host.namespace, [`link set ${link.hostInterface} ${state}`]);
}
