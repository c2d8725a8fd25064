/**
 * Tunnel keys: 24 bits, 1 to 0xFFFFFE, handed out cyclically. A freed key keeps a node whose version is the revision that
 * freed it, and is not given out again before every registered host has applied that revision: until then a stale flow
 * somewhere could still deliver to whoever gets it.
 */
import type { NodeStore, StoreNode } from '../backend.ts';
import type { Revision } from '../contract.ts';
import { NsdbError } from '../errors.ts';
import { tunnelKeyPath } from './paths.ts';

/** 0 is no key and 0xFFFFFF is reserved for flow state. */
export const FIRST_TUNNEL_KEY = 1;
export const LAST_TUNNEL_KEY = 0xfffffe;
const SEQUENCE = 'tunnel-key';
/** Keys that one allocation looks at before it gives up: bounds the time under a nearly full key space. */
const MAX_PROBES = 100_000;

export interface TunnelKeyRange {
  readonly first: number;
  readonly last: number;
}

export interface TunnelKeyReader {
  /** Reads a node so that the transaction checks it at commit. */
  read(path: string): Promise<StoreNode | undefined>;
  /** Whether every registered host has applied this revision. */
  passed(revision: Revision): Promise<boolean>;
  /** Whether this transaction has given the key away already. */
  taken(key: number): boolean;
}

/** Finds a key that nobody holds or may still follow. The caller writes its node. */
export async function allocateTunnelKey(
  store: NodeStore,
  reader: TunnelKeyReader,
  { first, last }: TunnelKeyRange = { first: FIRST_TUNNEL_KEY, last: LAST_TUNNEL_KEY },
): Promise<number> {
  const size = last - first + 1;
  for (let probe = 0; probe < Math.min(size, MAX_PROBES); probe++) {
    const key = first + ((await store.allocate(SEQUENCE)) % size);
    if (reader.taken(key)) continue;
    // Only the key that is taken need be checked at commit: peek first.
    const seen = await store.get(tunnelKeyPath(key));
    if (seen !== undefined && (seen.json !== '' || !(await reader.passed(seen.version)))) continue;
    const node = await reader.read(tunnelKeyPath(key));
    if (node?.version === seen?.version) return key;
  }
  throw new NsdbError('WEFT_KEYS_EXHAUSTED');
}
