/**
 * Which server is tried next, and when. The servers are shuffled once, so that clients spread. After a loss the next one is tried at
 * once; when all were tried in vain, the client waits, longer each round, by a random part, so that clients do not come in step.
 */
import type { ServerAddress } from './connect-string.ts';

export interface Attempt {
  readonly server: ServerAddress;
  /** Milliseconds to wait before. */
  readonly delay: number;
  /** Milliseconds that the attempt may take, from name resolution to the server's answer. */
  readonly timeout: number;
}

/** Longest wait after the first vain round, and after any. */
const FIRST_DELAY = 100;
const MAX_DELAY = 5_000;
const MIN_TIMEOUT = 250;

export class ServerList {
  readonly #servers: readonly ServerAddress[];
  readonly #random: () => number;
  #next = 0;
  /** Attempts since the last success. */
  #tried = 0;

  /** `random`: numbers in [0, 1). */
  constructor(servers: readonly ServerAddress[], random: () => number) {
    const shuffled = [...servers];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
    }
    this.#servers = shuffled;
    this.#random = random;
  }

  /**
   * The next attempt, for a session of `sessionTimeout` ms. A lost link is noticed after two thirds of the session; in what is
   * left all servers are tried once. Later rounds give each server longer: it may be slow, not dead.
   */
  next(sessionTimeout: number): Attempt {
    const count = this.#servers.length;
    const server = this.#servers[this.#next];
    const round = Math.floor(this.#tried / count);
    const startsRound = this.#tried > 0 && this.#tried % count === 0;
    this.#next = (this.#next + 1) % count;
    this.#tried++;
    const cap = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** Math.min(round - 1, 10));
    const share = Math.max(MIN_TIMEOUT, sessionTimeout / (3 * count));
    return {
      server,
      delay: startsRound ? cap * (0.5 + this.#random() / 2) : 0,
      timeout: Math.min(Math.max(sessionTimeout, MIN_TIMEOUT), share * 2 ** Math.min(round, 10)),
    };
  }

  /** The last attempt led to a session. */
  succeeded(): void {
    this.#tried = 0;
  }
}
