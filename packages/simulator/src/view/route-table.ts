/**
 * Longest-prefix match over typed arrays: one hash lookup per prefix length in use, from the longest down. Routes to the
 * same destination prefix form a group of neighbouring indexes; which of a group counts is the router's decision.
 */
import { cidrParse, ipParse } from '@weft/packet';
import type { Route } from '@weft/topology';
import { type Handles, uuidHash } from './handles.ts';
import { WordTable } from './word-table.ts';

export const ROUTE_NORMAL = 1;
export const ROUTE_BLACKHOLE = 2;
export const ROUTE_REJECT = 3;
export const ROUTE_LOCAL = 4;

const TYPES: Record<string, number> = {
  normal: ROUTE_NORMAL,
  blackhole: ROUTE_BLACKHOLE,
  reject: ROUTE_REJECT,
  local: ROUTE_LOCAL,
};

/** A route as read from its object. */
export interface ParsedRoute {
  readonly id: string;
  readonly type: number;
  /** Next-hop port's UUID, '' if none. */
  readonly port: string;
  readonly dst: Uint8Array;
  /** Prefix lengths in the 16-byte form. */
  readonly dstBits: number;
  readonly src: Uint8Array;
  readonly srcBits: number;
  /** Leading bits that the source's family itself takes (96 for IPv4): a source prefix of this length says nothing. */
  readonly anyBits: number;
  readonly gateway: Uint8Array | null;
  readonly weight: number;
}

export function parseRoute(value: Record<string, unknown>): ParsedRoute {
  const route = value as unknown as Route & { id: string };
  const dst = cidrParse(route.dstSubnet, 'clear');
  const anyBits = dst.family === 4 ? 96 : 0;
  const src = route.srcSubnet ? cidrParse(route.srcSubnet, 'clear') : { ip: new Uint8Array(16), bits: anyBits };
  return {
    id: route.id,
    type: TYPES[route.type ?? 'normal'] ?? ROUTE_BLACKHOLE,
    port: route.nextHopPort ?? '',
    dst: dst.ip,
    dstBits: dst.bits,
    src: src.ip,
    srcBits: src.bits,
    anyBits,
    gateway: route.nextHopGateway ? ipParse(route.nextHopGateway) : null,
    weight: route.weight ?? 0,
  };
}

export class RouteTable {
  readonly count: number;
  /** Per route. */
  readonly types: Uint8Array;
  readonly ports: Int32Array;
  readonly handles: Int32Array;
  readonly weights: Int32Array;
  /** Depends on the route's UUID alone: the same on every host. */
  readonly hashes: Int32Array;
  /** Source prefix: 16 bytes each, and its length; 0: any. */
  readonly sources: Uint8Array;
  readonly sourceBits: Uint8Array;
  readonly gateways: Uint8Array;
  readonly hasGateway: Uint8Array;
  /** Prefix lengths in use (16-byte form), longest first. */
  readonly lengths4: Uint8Array;
  readonly lengths6: Uint8Array;
  /** Group found last: indexes [first, last). */
  first = 0;
  last = 0;
  private readonly groups: WordTable;

  constructor(routes: readonly ParsedRoute[], interned: Handles) {
    // Order by destination, then by UUID: indexes are the same whatever the order of arrival.
    const sorted = [...routes].sort(
      (a, b) => compareBytes(a.dst, b.dst) || a.dstBits - b.dstBits || (a.id < b.id ? -1 : 1),
    );
    const n = sorted.length;
    this.count = n;
    this.types = Uint8Array.from(sorted, (r) => r.type);
    this.ports = Int32Array.from(sorted, (r) => interned.of(r.port));
    this.handles = Int32Array.from(sorted, (r) => interned.of(r.id));
    this.weights = Int32Array.from(sorted, (r) => r.weight);
    this.hashes = Int32Array.from(sorted, (r) => uuidHash(r.id));
    this.sources = new Uint8Array(n * 16);
    this.sourceBits = Uint8Array.from(sorted, (r) => (r.srcBits === r.anyBits ? 0 : r.srcBits));
    this.gateways = new Uint8Array(n * 16);
    this.hasGateway = Uint8Array.from(sorted, (r) => (r.gateway ? 1 : 0));
    this.groups = new WordTable(5, 2, 16);
    const lengths = [new Set<number>(), new Set<number>()];
    sorted.forEach((route, i) => {
      this.sources.set(route.src, i * 16);
      if (route.gateway) this.gateways.set(route.gateway, i * 16);
      lengths[route.anyBits === 96 ? 0 : 1].add(route.dstBits);
      this.probe(route.dst, 0, route.dstBits);
      const at = this.groups.insert() + 5;
      if (this.groups.words[at + 1] === 0) this.groups.words[at] = i;
      this.groups.words[at + 1] = i + 1;
    });
    this.lengths4 = Uint8Array.from(lengths[0]).sort((a, b) => b - a);
    this.lengths6 = Uint8Array.from(lengths[1]).sort((a, b) => b - a);
  }

  /** Sets `first` and `last` to the routes to the prefix of `bits` bits that holds the address; false if there is none. */
  group(address: Uint8Array, offset: number, bits: number): boolean {
    this.probe(address, offset, bits);
    const at = this.groups.find();
    if (at < 0) return false;
    this.first = this.groups.words[at + 5];
    this.last = this.groups.words[at + 6];
    return true;
  }

  private probe(address: Uint8Array, offset: number, bits: number): void {
    const { probe } = this.groups;
    probe[0] = bits;
    for (let w = 0; w < 4; w++) {
      const o = offset + w * 4;
      const word = (address[o] << 24) | (address[o + 1] << 16) | (address[o + 2] << 8) | address[o + 3];
      const left = bits - w * 32;
      probe[w + 1] = left >= 32 ? word : left <= 0 ? 0 : word & (-1 << (32 - left));
    }
  }
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < 16; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}
