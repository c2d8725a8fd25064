/** What the store knows of one number of a pool, when it is free, and which token comes next. Pure. */
import type { StoreNode } from '../backend.ts';
import { MAX_TOKEN } from './pool.ts';

/** Content of a number's node. It stays when the number is free, because of its token. */
export interface PoolNumber {
  /** Who holds it, or held it last. */
  readonly host: string;
  readonly token: number;
  /** Milliseconds that it stays unused after the host released it, or died. */
  readonly cool: number;
  /** When the host released it, in the store's clock; null: it did not. */
  readonly released: number | null;
  /** Taken over from its holder because of what stands on it: nothing new may. */
  readonly kept?: true;
}

/** Content of a host's node: whoever takes a dead host's number checks that it has not come back. */
export interface HostLife {
  readonly incarnation: number;
  /** When the host was given up, in the store's clock; null: it is alive. */
  readonly died: number | null;
}

export function parseNumber(node: StoreNode): PoolNumber {
  return JSON.parse(node.json) as PoolNumber;
}

export function parseLife(node: StoreNode): HostLife {
  return JSON.parse(node.json) as HostLife;
}

/** Since when the number is not held any longer; undefined: it is held. A host of which nothing is known counts as alive. */
export function cooledSince(number: PoolNumber, life: HostLife | undefined): number | undefined {
  return number.released ?? life?.died ?? undefined;
}

/** Highest token that is taken from the time: leaves room to count on from, also under a clock that is far ahead. */
const LAST_TIME_TOKEN = MAX_TOKEN - 0xffffff;

/** The least token at a time (ms since 1970): its second. So tokens rise also across what the store has forgotten. */
export function timeToken(now: number): number {
  return Math.min(Math.floor(now / 1_000), LAST_TIME_TOKEN);
}

/**
 * The token of a number's next allocation: above its last one and above `floor`, what was given to numbers that are
 * forgotten. Beyond `MAX_TOKEN` there is none (undefined).
 */
export function nextToken(last: number, floor: number, now: number): number | undefined {
  const token = Math.max(last + 1, floor + 1, timeToken(now), 1);
  return token <= MAX_TOKEN ? token : undefined;
}
