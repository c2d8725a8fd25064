/**
 * When to ping and when to give a connection up, from what was heard and sent. A link that is dead without saying so (a server that
 * stands still, a cable that is out) is noticed two thirds of the session timeout after the last sign of life: there is time left
 * to go to another server before the session expires.
 */
export class Liveness {
  /** Silence from the server after which the link counts as dead, ms. */
  readonly deadAfter: number;
  /** Silence towards the server after which a ping is due, ms. */
  readonly pingAfter: number;
  #heard: number;
  #sent: number;

  /** `sessionTimeout`: as the server granted it, ms. `now`: of a monotonic clock, ms; all other times are of the same. */
  constructor(sessionTimeout: number, now: number) {
    this.deadAfter = (sessionTimeout * 2) / 3;
    this.pingAfter = sessionTimeout / 3;
    this.#heard = now;
    this.#sent = now;
  }

  /** Bytes came. */
  heard(now: number): void {
    this.#heard = now;
  }

  /** A request or ping was sent. */
  sent(now: number): void {
    this.#sent = now;
  }

  /** What is due, or in how many milliseconds something will be. */
  check(now: number): 'dead' | 'ping' | number {
    const dead = this.#heard + this.deadAfter - now;
    if (dead <= 0) return 'dead';
    const ping = this.#sent + this.pingAfter - now;
    return ping <= 0 ? 'ping' : Math.min(dead, ping);
  }
}
