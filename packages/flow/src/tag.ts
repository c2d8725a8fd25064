/**
 * Flow tags: what a flow's decision stood on. A tag is a 32-bit number mixed from a kind and up to five words; when two tags
 * happen to be the same number, a change invalidates some flows too many, which is sound. Never 0. The highest bit says whether it is
 * of one connection: hardly two flows share such a tag, and it is kept in another way than the tags of what many stand on.
 */

/** Kinds of things that a simulation consults, present or absent. */
export const TAG_PORT = 1;
export const TAG_BRIDGE = 2;
export const TAG_ROUTER = 3;
export const TAG_CHAIN = 4;
/** (bridge, vlan, MAC): where the MAC is, also that it is nowhere. */
export const TAG_MAC = 5;
/** (bridge): the members of a flood. */
export const TAG_FLOOD = 6;
/** (router, address block): the routes towards an address, also that there is none. See `routeTags`. */
export const TAG_ROUTE = 7;
/** (router port or bridge, address): the MAC of a neighbour. */
export const TAG_NEIGHBOUR = 8;
/** (host): where a peer's tunnel ends. */
export const TAG_HOST = 9;
/** (port): whether and where a port is active. */
export const TAG_ACTIVE = 10;
/** (ingress port): all flows that entered by a port of this host. */
export const TAG_INGRESS = 11;
/**
 * (address group, address): whether the address itself is a member. (address group): the prefixes among the members, and
 * whether there are members of both families. (): any of that, of any group: stands for many.
 */
export const TAG_GROUP = 12;
/** (state key): a connection-tracking or NAT key. */
export const TAG_STATE = 13;
/** (port): the groups that a port is in. (): of any port. */
export const TAG_PORT_GROUPS = 14;

/** Mixes one word into a running hash (the finaliser of MurmurHash3's family: multiply, rotate, multiply). */
function mix(h: number, word: number): number {
  h = Math.imul(h ^ Math.imul(word | 0, 0x85ebca6b), 0xc2b2ae35);
  return (h << 13) | (h >>> 19);
}

/** Set in tags of connections only. */
const OF_CONNECTION = 0x8000_0000;

/** The tag of `kind` over up to four words. Unsigned, never 0. */
export function tag(kind: number, a = 0, b = 0, c = 0, d = 0): number {
  const h = mix(mix(mix(mix(mix(kind, a), b), c), d), kind);
  return finish(h ^ (h >>> 16), kind);
}

function finish(h: number, kind: number): number {
  return kind === TAG_STATE ? (h | OF_CONNECTION) >>> 0 : h & ~OF_CONNECTION || 1;
}

/** Whether a tag is of one connection: of kind TAG_STATE. */
export function isStateTag(tag: number): boolean {
  return tag >= OF_CONNECTION;
}

/** Tag of `kind` over a handle and the 16-byte address at `offset`, of which only the first `prefixLength` bits count. */
export function addressTag(
  kind: number,
  handle: number,
  bytes: Uint8Array,
  offset: number,
  prefixLength = 128,
): number {
  let h = mix(mix(kind, handle), prefixLength);
  for (let w = 0; w < 4; w++) {
    const o = offset + w * 4;
    const word = (bytes[o] << 24) | (bytes[o + 1] << 16) | (bytes[o + 2] << 8) | bytes[o + 3];
    const bits = prefixLength - w * 32;
    h = mix(h, bits >= 32 ? word : bits <= 0 ? 0 : word & (-1 << (32 - bits)));
  }
  return finish(h ^ (h >>> 16), kind);
}

/**
 * The prefix lengths (in the 16-byte form) at which a route lookup leaves a tag. A changed route of length L invalidates the
 * tag of the longest listed length ≤ L that covers it: a few flows too many, never one too few, also for routes that did
 * not exist when the flow was made.
 */
export const ROUTE_TAG_LENGTHS = [0, 32, 48, 64, 96, 104, 112, 120, 128] as const;

/** The listed length to which a route of `prefixLength` (16-byte form) rounds down. */
export function routeTagLength(prefixLength: number): number {
  let best = 0;
  for (const l of ROUTE_TAG_LENGTHS) if (l <= prefixLength) best = l;
  return best;
}
