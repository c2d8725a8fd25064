/** What the long tests share: how long, which seed, and numbers of a process that must not grow for ever. */
import { readdirSync, readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { type Lab, runChecks } from '@weft/lab';

/** Seconds that each test of the soak lasts. */
export const SOAK_SECONDS = positive('SOAK_SECONDS', 60);

/** Choices follow from it; a failed run is repeated with `SOAK_SEED=…`. */
export const SOAK_SEED = positive('SOAK_SEED', Date.now() & 0x7fffffff || 1);

export const skip = process.getuid?.() === 0 ? false : 'needs root';

/** A run of less than the default is one in a hurry: it leaves out what takes minutes however short each fault is, and says so. */
export const skipInHaste = skip || (SOAK_SECONDS < 60 && 'takes minutes: run with SOAK_SECONDS=60 or more');

function positive(name: string, fallback: number): number {
  const text = process.env[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} must be a whole number above 0, not ${text}`);
  return value;
}

/** Numbers in [0, 1) that follow from a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The same elements in another order. */
export function shuffled<T>(elements: readonly T[], random: () => number): T[] {
  const out = [...elements];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

export interface Footprint {
  readonly residentMib: number;
  readonly descriptors: number;
}

export function footprint(pid: number): Footprint {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    residentMib: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/**
 * Names of the checks that are red, and red again when run at once a second time: in hundreds of runs a guest's own traffic falls
 * into some window. What was red only once is told, not hidden.
 */
export async function redTwice(t: TestContext, lab: Lab, names?: readonly string[]): Promise<string[]> {
  const red = async (wanted?: readonly string[]) =>
    (await runChecks(lab, wanted)).checks.filter((result) => !result.ok && result.skipped === undefined);
  const first = await red(names);
  if (first.length === 0) return [];
  const again = (await red(first.map(({ name }) => name))).map(({ name }) => name);
  for (const { name, expected, seen } of first) {
    t.diagnostic(`${name} ${again.includes(name) ? 'red twice' : 'red once'}: expected ${expected}; seen ${seen}`);
  }
  return again;
}
