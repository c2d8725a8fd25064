/**
 * What the datapath refused (a table is full, an interface just went away): the rest goes on, the refused is tried again, and the
 * log hears of it without being flooded.
 */
import type { AgentEvent } from '../events.ts';
import type { Effects } from './effects.ts';

/** Failures of one pass after which the rest is not tried in this pass: a full table stays full. */
const MAX_FAILURES = 16;
/** The log hears of more refusals at most so often. */
const QUIET_MS = 60_000;

export class Refusals {
  private readonly effects: Effects;
  private readonly event: AgentEvent;
  /** Name → what was said of it. */
  private readonly refused = new Map<string, string>();
  private failures = 0;
  private quietUntil = Number.NEGATIVE_INFINITY;
  private told = 0;
  private latest = '';

  /** @param event of the log; it carries `refused` (how many by now), `example` and `error` */
  constructor(effects: Effects, event: AgentEvent) {
    this.effects = effects;
    this.event = event;
  }

  get size(): number {
    return this.refused.size;
  }

  /** Begins a pass over everything that is wanted. */
  begin(): void {
    this.failures = 0;
  }

  /** Runs `action` for `name`. @returns false if it failed, or was not tried because too much failed in this pass already */
  attempt(name: string, action: () => void): boolean {
    if (this.failures >= MAX_FAILURES) {
      if (!this.refused.has(name)) this.refused.set(name, 'not tried yet');
      return false;
    }
    try {
      action();
      this.refused.delete(name);
      return true;
    } catch (error) {
      this.failures++;
      this.latest = name;
      this.refused.set(name, (error as Error).message);
      return false;
    }
  }

  /** Forgets what is not wanted any more. */
  retain(wanted: (name: string) => boolean): void {
    for (const name of this.refused.keys()) if (!wanted(name)) this.refused.delete(name);
  }

  /** Ends a pass: tells of it if more is refused than was told before. `now` in ms. */
  end(now: number): void {
    const { size } = this.refused;
    if (size === 0) {
      this.told = 0;
      return;
    }
    if (size <= this.told || now < this.quietUntil) return;
    this.told = size;
    this.quietUntil = now + QUIET_MS;
    this.effects.log(this.event, {
      refused: size,
      example: this.latest,
      error: this.refused.get(this.latest),
    });
  }
}
