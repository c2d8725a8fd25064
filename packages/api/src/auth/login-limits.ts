/**
 * Slows guessing down. Every attempt counts against the name at its source, the source, and the name; beyond what each may
 * miss, the next attempt has to wait: 1 s, 2 s, 4 s … A right password gives the attempt back.
 */

/** Failed attempts that are free, and the longest wait in seconds. */
const LIMITS = {
  // One person who mistypes.
  pair: { free: 5, longest: 300 },
  // One source that tries many names.
  source: { free: 30, longest: 300 },
  // Many sources that try one name: a brake, but none that locks its owner out.
  name: { free: 50, longest: 15 },
} as const;

const FORGET_AFTER_MS = 15 * 60_000;
const MAX_KEYS = 10_000;

interface Misses {
  count: number;
  last: number;
  blockedUntil: number;
}

export class LoginLimits {
  readonly #misses = new Map<string, Misses>();
  readonly #now: () => number;

  /** `now`: milliseconds, rising. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Seconds that this attempt has to wait; 0: it may be made, and counts as missed until `succeeded` says otherwise. */
  attempt(name: string, source: string): number {
    const now = this.#now();
    const keys = keysOf(name, source);
    let wait = 0;
    for (const [key] of keys) wait = Math.max(wait, (this.#get(key, now)?.blockedUntil ?? 0) - now);
    if (wait > 0) return Math.ceil(wait / 1000);
    for (const [key, { free, longest }] of keys) {
      const misses = this.#get(key, now) ?? { count: 0, last: now, blockedUntil: 0 };
      misses.count++;
      misses.last = now;
      const beyond = misses.count - free;
      if (beyond >= 0) misses.blockedUntil = now + 1000 * Math.min(longest, 2 ** Math.min(beyond, 20));
      this.#put(key, misses);
    }
    return 0;
  }

  succeeded(name: string, source: string): void {
    for (const [key, { free }] of keysOf(name, source)) {
      const misses = this.#misses.get(key);
      if (!misses) continue;
      misses.count--;
      if (misses.count < free) misses.blockedUntil = 0;
      if (misses.count <= 0 || key.startsWith('pair')) this.#misses.delete(key);
    }
  }

  #get(key: string, now: number): Misses | undefined {
    const misses = this.#misses.get(key);
    if (!misses || now - misses.last < FORGET_AFTER_MS) return misses;
    this.#misses.delete(key);
    return undefined;
  }

  #put(key: string, misses: Misses): void {
    this.#misses.delete(key);
    this.#misses.set(key, misses);
    // Longest not tried first: whoever fills the table pushes out what is old, not what is being attacked.
    if (this.#misses.size > MAX_KEYS) this.#misses.delete(this.#misses.keys().next().value!);
  }
}

function keysOf(name: string, source: string) {
  return [
    [`pair ${source} ${name}`, LIMITS.pair],
    [`source ${source}`, LIMITS.source],
    [`name ${name}`, LIMITS.name],
  ] as const;
}
