/** Pools of numbers: how they are named, whom they belong to, what may be asked of them. */
import type { Allocation } from '../contract.ts';
import { NsdbError } from '../errors.ts';

const POOL = /^[a-z][a-z0-9-]{0,31}(\/[A-Za-z0-9][A-Za-z0-9._:-]{0,127}){2,3}$/;

/** Numbers of a pool are 0 to this: what one allocation has to look through stays bounded. */
export const LAST_NUMBER = 65_535;
/** Numbers that one call takes at most. */
export const MAX_COUNT = 1_024;
/** Longest cooling time, ms: 30 days. */
const MAX_COOL = 30 * 86_400_000;
/** Tokens are unsigned 32-bit numbers from 1 on, because that is how records of connections carry them. */
export const MAX_TOKEN = 0xffffffff;

/** Which objects own the pools of a kind: without them nothing is allocated, and their deletion drops what was. Other kinds have no owner. */
export const POOL_OWNERS: Readonly<Record<string, readonly string[]>> = { nat: ['Router', 'Bridge'] };

export interface NumberRange {
  readonly first: number;
  readonly last: number;
}

/** Kind and owner's id of a pool: `nat/<router>/<address>` belongs to the router. */
export function poolOwner(pool: string): { kind: string; id: string } {
  const parts = pool.split('/');
  return { kind: parts[0], id: parts[1] };
}

export function checkPool(pool: string): void {
  if (typeof pool !== 'string' || !POOL.test(pool))
    throw invalid(`"${String(pool).slice(0, 200)}" is not a pool`, 'pool', '<kind>/<id of its owner>/<name>');
}

/** Refuses what one call of `allocate` may not ask for. */
export function checkRequest(pool: string, { first, last }: NumberRange, count: number, coolMs: number): void {
  checkPool(pool);
  if (!isWithin(first, 0, LAST_NUMBER) || !isWithin(last, first, LAST_NUMBER))
    throw invalid(`Bad range for pool ${pool}`, 'range', `0 ≤ first ≤ last ≤ ${LAST_NUMBER}`);
  if (!isWithin(count, 1, MAX_COUNT)) throw invalid(`Bad count for pool ${pool}`, 'count', `1 to ${MAX_COUNT}`);
  checkCooling(pool, coolMs);
}

export function checkCooling(pool: string, coolMs: number): void {
  if (!isWithin(coolMs, 0, MAX_COOL))
    throw invalid(`Bad cooling time for pool ${pool}`, 'coolMs', `0 to ${MAX_COOL} whole milliseconds`);
}

export function checkAllocation({ pool, index, token }: Allocation): void {
  checkPool(pool);
  if (!isWithin(index, 0, LAST_NUMBER) || !isWithin(token, 1, MAX_TOKEN))
    throw invalid(`Bad allocation of pool ${pool}`, 'index', `0 to ${LAST_NUMBER}, with a token of 32 bits`);
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isSafeInteger(value) && value >= least && value <= most;
}

function invalid(detail: string, property: string, message: string): NsdbError {
  return new NsdbError('WEFT_INVALID', detail, [{ property, message }]);
}
